"""The house rules, as tests: who may import whom, where, how long things are, and what must not be in the files."""

import re
import subprocess
import sys

import pytest

from driftline.names import ALL_METRICS
from tests.house import ROOT, Module, modules, own_files, packages, project, rooms

LONGEST_FILE = 500
LONGEST_FUNCTION = 60

#: Clients of the outside world, each imported in one module per room, so that it can be replaced there.
VENDORS = ("kafka", "httpx", "grafana_foundation_sdk", "alibi_detect", "evidently", "jax", "torch", "boto3", "grpc")
#: Where a vendor needs more than one module of a room, and why.
SEVERAL = {
    ("dashboards", "grafana_foundation_sdk"): "every board is built with it; the boards are the adapter",
    ("collector", "kafka"): "two topics of ours as fast as can be; others by pattern, read only, and the inbox written",
}


def house() -> tuple[Module, ...]:
    """All modules of the floor, the roof and the rooms."""
    return modules(*packages())


def test_the_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_every_folder_with_python_is_under_contract() -> None:
    apart = {"tests", "benchmarks", "examples", "deploy", "docs", "scripts"}
    folders = {path.relative_to(ROOT).parts[0] for path in own_files() if path.suffix == ".py" and path.parent != ROOT}
    assert folders - apart == set(packages())
    assert set(project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(packages())
    assert set(project()["tool"]["mypy"]["files"]) >= set(packages())


@pytest.mark.parametrize("package", packages())
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").read_bytes() == b""
    assert (ROOT / package / "__init__.py").is_file()


def test_only_the_roof_imports_late() -> None:
    late = [
        f"{module.name}:{line} imports {name} inside a function"
        for module in house()
        if not module.name.startswith("driftline/cli/")
        for name, line, inside in module.imports
        if inside
    ]
    assert late == []


def test_no_file_is_too_long() -> None:
    lengths = {
        module.name: module.text.count("\n") for module in (*house(), *modules("tests", "benchmarks", "examples"))
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    long = [
        f"{module.name}: {name} has {lines} lines"
        for module in house()
        if "/migrations/" not in module.name  # a migration is a list of tables
        for name, lines in module.functions
        if lines > LONGEST_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("room", rooms())
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_client_is_imported_in_one_module_of_a_room(room: str, vendor: str) -> None:
    if (room, vendor) in SEVERAL:
        return
    importers = {
        module.name for module in modules(room) for name, _, _ in module.imports if name.split(".")[0] == vendor
    }
    assert len(importers) <= 1, f"{vendor} is imported in {sorted(importers)}"


def test_only_the_store_of_the_collector_speaks_sql() -> None:
    importers = {
        module.name
        for module in house()
        for name, _, _ in module.imports
        if name.split(".")[0] in {"sqlalchemy", "alembic"}
    }
    strangers = {
        name for name in importers if not re.match(r"collector/(store/|keeping/(retention|erasure)\.py)", name)
    }
    assert strangers == set()


@pytest.mark.parametrize("room", rooms())
def test_metric_names_are_spelt_only_in_names(room: str) -> None:
    known = {metric.name for metric in ALL_METRICS}
    spelt = [
        f"{module.name}:{line} spells {found!r}"
        for module in modules(room)
        for text, line in module.strings
        for found in re.findall(r"\bdriftline_[a-z_]+", text)
        if found in known or re.search(r"_(total|seconds|bytes|ratio|bucket|count|sum)$", found)
    ]
    assert spelt == []


def test_tests_use_no_mocks() -> None:
    # In two pieces each, so that this test does not find itself.
    forbidden = re.compile(
        "|".join(["unittest" + r"\.mock", "Magic" + "Mock", "monkeypatch" + r"\.setattr", "mocker" + r"\."])
    )
    found = [
        f"{module.name}:{number}"
        for module in modules("tests", "benchmarks")
        for number, line in enumerate(module.text.splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    words = ["/" + "work/", "/ro" + "ot/", "/ho" + "me/", "files.python" + "hosted", "pypi" + ".org", "repo" + ".maven"]
    words += ["registry.npm" + "js", "proxy.golang" + ".org", "deb.deb" + "ian", "/tmp/pytest-" + "of"]
    forbidden = re.compile("|".join(map(re.escape, words)))
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in own_files()
        if path.suffix not in {".png", ".parquet", ".ico", ".woff2", ".gz"}
        for match in [forbidden.search(path.read_text(errors="replace"))]
        if match is not None
    ]
    assert found == []


def test_no_generated_file_is_in_the_repository() -> None:
    generated = re.compile(
        r"(^|/)(__pycache__|\.venv|node_modules|build|dist|\.mypy_cache)/|\.(pyc|sqlite|db|log|lock)$"
    )
    names = [str(path.relative_to(ROOT)) for path in own_files()]
    assert [name for name in names if generated.search(name)] == []


def test_print_is_for_the_roof() -> None:
    found = [
        f"{module.name}:{number}"
        for module in modules(*rooms())
        for number, line in enumerate(module.text.splitlines(), 1)
        if re.match(r"\s*print\(", line)
    ]
    assert found == []
