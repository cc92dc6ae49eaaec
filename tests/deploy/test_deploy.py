"""The deployment files name commands, options, settings and ports that exist."""

import dataclasses
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from alerts.settings import EvaluatorSettings
from collector.settings import CollectorSettings
from dashboards.settings import WebSettings
from detectors.settings import DetectorsSettings
from driftline import names
from driftline.cli.app import app
from driftline.durations import parse_duration
from driftline.settings import load
from logger_sidecar.inject.bounds import read_cluster
from logger_sidecar.inject.options import ANNOTATIONS, InjectOptions, with_cluster
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings
from serving.settings import ServingSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS: Mapping[str, Any] = {
    "SIDECAR": SidecarSettings,
    "SHIPPER": ShipperSettings,
    "COLLECTOR": CollectorSettings,
    "DETECTORS": DetectorsSettings,
    "WEB": WebSettings,
    "ALERTS": EvaluatorSettings,
    "SERVING": ServingSettings,
}
#: What the roof itself reads.
ROOF = {
    "DRIFTLINE_MONITORS",
    "DRIFTLINE_DATA_DIR",
    "DRIFTLINE_DATABASE_URL",
    "DRIFTLINE_CONFIG",
    "DRIFTLINE_ANNOTATIONS_FILE",
}


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def own_services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = compose()["services"]
    return {name: service for name, service in services.items() if "build" in service}


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def containers() -> list[dict[str, Any]]:
    pods = [each["spec"]["template"]["spec"] for each in manifests() if each["kind"] == "Deployment"]
    return [container for pod in pods for container in pod["containers"]]


def unknown_parts(words: list[str]) -> list[str]:
    """Of a command line, what driftline does not know."""
    command: Any = typer.main.get_command(app)
    options = {"--help"}
    for position, word in enumerate(words):
        if word.startswith("--"):
            break
        if word not in getattr(command, "commands", {}):
            return words[position:]
        command = command.commands[word]
    options |= {option for parameter in command.params for option in parameter.opts}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]


def test_the_check_of_command_lines_can_fail() -> None:
    assert unknown_parts(["colector"]) == ["colector"]
    assert unknown_parts(["collector", "--prot=1"]) == ["--prot=1"]


@pytest.mark.parametrize("name", sorted(own_services()))
def test_every_compose_command_is_one_of_driftlines(name: str) -> None:
    assert unknown_parts(own_services()[name]["command"]) == []


def test_docker_gives_the_sidecar_the_time_that_it_takes_for_its_end() -> None:
    assert parse_duration(own_services()["sidecar"]["stop_grace_period"]) > SidecarSettings().grace_period_s


def test_every_kubernetes_command_is_one_of_driftlines() -> None:
    assert containers()
    assert [unknown_parts(container["args"]) for container in containers()] == [[]] * len(containers())


def check_environment(environment: Mapping[str, str], tmp_path: Path) -> None:
    for prefix, settings in SETTINGS.items():
        found = {name: value for name, value in environment.items() if name.startswith(f"DRIFTLINE_{prefix}_")}
        if found:
            # The directory is inside the container; any that is here shows that the rest holds.
            changed = {name: str(tmp_path) if name.endswith("MODELS_DIR") else value for name, value in found.items()}
            assert dataclasses.is_dataclass(load(settings, prefix, environ=changed))
    known = {f"DRIFTLINE_{prefix}_" for prefix in SETTINGS}
    others = [name for name in environment if not name.startswith(tuple(known))]
    assert set(others) <= ROOF


@pytest.mark.parametrize("name", sorted(own_services()))
def test_every_compose_environment_is_of_settings_that_exist(name: str, tmp_path: Path) -> None:
    check_environment(own_services()[name].get("environment", {}), tmp_path)


def test_every_kubernetes_environment_is_of_settings_that_exist(tmp_path: Path) -> None:
    (settings,) = [each for each in manifests() if each["kind"] == "ConfigMap"]
    check_environment(settings["data"], tmp_path)


def test_prometheus_scrapes_ports_that_the_parts_listen_on() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    found = {target for job in config["scrape_configs"] for each in job["static_configs"] for target in each["targets"]}
    expected = {
        f"sidecar:{SidecarSettings.__dataclass_fields__['admin_port'].default}",
        f"sidecar:{ShipperSettings.__dataclass_fields__['admin_port'].default}",
        f"collector:{CollectorSettings.__dataclass_fields__['port'].default}",
        f"detectors:{DetectorsSettings.__dataclass_fields__['port'].default}",
        f"web:{WebSettings.__dataclass_fields__['port'].default}",
        "model-server:8000",
    }
    assert found == expected


def test_alertmanager_posts_to_the_page_desk() -> None:
    command = own_services()["build-rules"]["command"]
    assert f"--page-url=http://web:9086{names.PAGE_DESK_PATH}" in command


def test_the_image_holds_every_package_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    containerfile = (DEPLOY / "Containerfile").read_text()
    assert [name for name in packages if f"COPY {name} {name}" not in containerfile] == []


def extras_of_the_sidecars_image() -> list[str]:
    found = re.search(r"^ARG SIDECAR_EXTRAS=(\S+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1].split(",")


def test_the_images_install_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (DEPLOY / "Containerfile").read_text()
    named = [word for group in re.findall(r"'\.\[([\w,]+)\]'|SIDECAR_EXTRAS=([\w,]+)", text) for word in group if word]
    assert len(named) >= 3  # both images, and what the comment offers
    assert {extra for words in named for extra in words.split(",")} <= set(project["optional-dependencies"])


def test_the_sidecars_image_has_the_cheaper_client_of_kafka_and_no_library_of_tables() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = extras_of_the_sidecars_image()
    assert {"sidecar", "confluent"} <= set(extras)
    required = " ".join(word for extra in extras for word in project["optional-dependencies"][extra])
    assert [name for name in ("pyarrow", "numpy", "pandas", "sqlalchemy", "fastapi") if name in required] == []


def test_what_the_images_install_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    extras = [*extras_of_the_sidecars_image(), "objects"]
    required = [re.match(r"[\w-]+", word) for extra in extras for word in project["optional-dependencies"][extra]]
    assert {found[0].lower() for found in required if found} <= pinned


def test_every_file_that_the_build_needs_is_in_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hooks = project["tool"]["hatch"].get("build", {}).get("hooks", {})
    needed = [project["project"]["readme"], "constraints.txt", *(["hatch_build.py"] if "custom" in hooks else [])]
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    assert set(needed) <= {name for line in copied for name in line.split()}


def has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed")
def test_docker_compose_accepts_the_file() -> None:
    command = ["docker", "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "-q"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_builds_the_central_parts() -> None:
    result = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes")], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    built = list(yaml.safe_load_all(result.stdout))
    assert sorted(each["kind"] for each in built) == ["ConfigMap", *["Deployment"] * 3, "Namespace", *["Service"] * 3]


def test_promtool_accepts_the_scrape_configuration(promtool: Path) -> None:
    command = [str(promtool), "check", "config", "--syntax-only", str(DEPLOY / "prometheus.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


def test_the_clusters_file_of_the_injection_gives_defaults_and_bounds_that_hold() -> None:
    options = with_cluster(read_cluster(DEPLOY / "inject" / "cluster.yaml", ANNOTATIONS), InjectOptions())
    assert options.settings["ready_path"] == "/v2/health/ready"
    assert options.bounds["run_as_user"].locked
