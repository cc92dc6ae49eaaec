"""The examples do what they say."""

from pathlib import Path

import pytest
import yaml

from alerts.rules import build_rules
from detectors.evaluating.catalogue import check_detectors
from driftline.monitors import parse_monitor
from logger_sidecar.inject.manifests import inject_yaml
from logger_sidecar.inject.options import InjectOptions

EXAMPLES = Path(__file__).parent.parent / "examples"
MONITORS = sorted((EXAMPLES / "monitors").glob("*.yaml"))


@pytest.mark.parametrize("path", MONITORS, ids=lambda path: str(path.stem))
def test_every_monitor_can_be_watched_and_ruled_on(path: Path) -> None:
    monitor = parse_monitor(path.read_text(), path.name)
    check_detectors(monitor)
    rules = build_rules([monitor])
    assert len([group for group in rules["groups"] if monitor.model in group["name"]]) >= len(monitor.slos.objectives)


def test_the_deployment_takes_the_sidecar_in_front_of_its_server() -> None:
    injected = list(yaml.safe_load_all(inject_yaml((EXAMPLES / "deployment.yaml").read_text(), InjectOptions())))
    pod = injected[0]["spec"]["template"]["spec"]
    assert [container["restartPolicy"] for container in pod["initContainers"]] == ["Always"]
    assert injected[1]["spec"]["ports"][0]["targetPort"] == "http"
    assert [port.get("name") for port in pod["containers"][0]["ports"]] == [None]
    assert "http" in [port["name"] for port in pod["initContainers"][0]["ports"]]
