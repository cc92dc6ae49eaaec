"""What is installed is a checkout, under names that nobody else has; a wheel holds all of it and no more."""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from driftline import __version__
from tests.house import ROOT, own_files, packages, project, rooms
from tests.parts.programs import find_uv


def test_no_other_distribution_owns_a_name_of_ours() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {package: set(owners.get(package, ["driftline"])) for package in packages()} == {
        package: {"driftline"} for package in packages()
    }


@pytest.mark.parametrize("package", packages())
def test_a_package_is_imported_from_the_checkout_that_is_installed(package: str) -> None:
    origin = importlib.metadata.distribution("driftline").read_text("direct_url.json")
    assert origin is not None
    # Mostly this checkout; another where several share an environment.
    installed = Path(url2pathname(urlsplit(json.loads(origin)["url"]).path))
    # Isolated, so that the answer comes from what is installed, not from the working directory or PYTHONPATH.
    code = f"import {package}; print({package}.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == installed / package / "__init__.py"


def test_the_version_is_said_once_for_all() -> None:
    assert importlib.metadata.version("driftline") == project()["project"]["version"] == __version__


def test_the_command_is_where_the_project_file_says() -> None:
    target = project()["project"]["scripts"]["driftline"]
    module, _, function = target.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_there_is_a_group_of_dependencies_for_every_room_and_all_holds_them() -> None:
    groups = project()["project"]["optional-dependencies"]
    wanted = {"sidecar" if room == "logger_sidecar" else room for room in rooms()}
    assert wanted | {"demo", "all", "alibi", "evidently", "dev"} <= set(groups)
    held = re.search(r"\[(.*)\]", groups["all"][0])
    assert held is not None
    assert wanted | {"demo"} == set(held.group(1).split(","))


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-extras.txt", "constraints-alibi.txt"])
def test_every_direct_dependency_is_held_by_the_constraints(name: str) -> None:
    pinned = {re.split(r"[=<>!; \[]", line)[0].lower() for line in (ROOT / name).read_text().splitlines() if line}
    groups = project()["project"]["optional-dependencies"]
    # Spark has an environment of its own, with what constraints.txt pins; so has TensorFlow, with pins of its own.
    apart = {
        "constraints.txt": {"all", "alibi", "alibi-tensorflow", "evidently", "jax"},
        "constraints-extras.txt": {"all", "alibi-tensorflow", "spark"},
        "constraints-alibi.txt": {"all", "evidently", "fuzz", "jax", "spark"},
    }[name]
    wanted = list(project()["project"]["dependencies"])
    wanted += [requirement for group, found in groups.items() if group not in apart for requirement in found]
    direct = {re.split(r"[=<>!; \[]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert direct - pinned == set(), "run make constraints"


@pytest.mark.slow
def test_a_wheel_holds_every_file_of_the_packages_and_nothing_else(tmp_path: Path) -> None:
    command = [str(find_uv()), "build", "--quiet", "--wheel", "--no-create-gitignore", "--out-dir", str(tmp_path)]
    source = tmp_path / "source"
    for path in own_files():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    subprocess.run([*command, str(source)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    own = {str(path.relative_to(ROOT)) for path in own_files() if path.relative_to(ROOT).parts[0] in packages()}
    assert names == own
    assert tomllib.loads((source / "pyproject.toml").read_text()) == project()
