import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftline.settings import load
from logger_sidecar.inject.manifests import InjectError, InjectOptions, inject, inject_yaml
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings

GOLDEN = Path(__file__).parent / "golden"
OPTIONS = InjectOptions()


def deployment(**changes: Any) -> dict[str, Any]:
    container = {"name": "server", "image": "x", "ports": [{"containerPort": 8000}], **changes}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "annotations": {"driftline.io/inject": "true"}},
        "spec": {
            "selector": {"matchLabels": {"app": "app"}},
            "template": {"metadata": {"labels": {"app": "app"}}, "spec": {"containers": [container]}},
        },
    }


def service(**changes: Any) -> dict[str, Any]:
    port = {"port": 80, "targetPort": 8000}
    spec = {"selector": {"app": "app"}, "ports": [port], **changes}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "app"}, "spec": spec}


def sidecar(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]["template"]["spec"]
    (found,) = [each for each in spec.get("initContainers", []) if each["name"] == "driftline-sidecar"]
    return dict(found)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "from the pod") for variable in container["env"]}


@pytest.mark.parametrize("name", ["inject", "inject-crd"])
def test_the_injected_manifests_are_the_golden_ones(name: str) -> None:
    found = inject_yaml((GOLDEN / f"{name}-input.yaml").read_text(), OPTIONS)
    assert found == (GOLDEN / f"{name}-output.yaml").read_text()


@pytest.mark.parametrize("name", ["inject", "inject-crd"])
def test_injecting_twice_changes_nothing(name: str) -> None:
    once = inject_yaml((GOLDEN / f"{name}-input.yaml").read_text(), OPTIONS)
    assert inject_yaml(once, OPTIONS) == once


@pytest.mark.parametrize("name", ["inject", "inject-crd"])
def test_injecting_again_with_other_options_is_like_injecting_with_them_at_first(name: str) -> None:
    text = (GOLDEN / f"{name}-input.yaml").read_text()
    other = InjectOptions(image="registry/sidecar:2", listen_port=9100, admin_port=9101, spool_max_bytes=10**9)
    assert inject_yaml(inject_yaml(text, OPTIONS), other) == inject_yaml(text, other)


@pytest.mark.parametrize("name", ["inject", "inject-crd"])
def test_all_of_the_input_that_is_not_about_ports_is_kept(name: str) -> None:
    before = list(yaml.safe_load_all((GOLDEN / f"{name}-input.yaml").read_text()))
    after = inject(before, OPTIONS)
    assert [document["metadata"]["name"] for document in after] == [document["metadata"]["name"] for document in before]
    assert before == list(yaml.safe_load_all((GOLDEN / f"{name}-input.yaml").read_text()))
    for old, new in zip(before, after, strict=True):
        if "driftline.io/inject" not in old["metadata"].get("annotations", {}) and old["kind"] != "Service":
            assert new == old


def test_the_environment_is_read_by_the_sidecars_own_settings() -> None:
    found = environment(sidecar(inject([deployment()], InjectOptions(sample_rate=0.25, model_version="7"))[0]))
    settings = load(SidecarSettings, "SIDECAR", environ=found)
    assert settings.upstream == "http://127.0.0.1:8000"
    assert (settings.sample_rate, settings.model_version, settings.workload) == (0.25, "7", "app")
    assert load(ShipperSettings, "SHIPPER", environ=found).bootstrap_servers == ("kafka:9092",)


@pytest.mark.parametrize("spool_max_bytes", [1024 * 1024, 10**12])
def test_a_spool_of_any_size_gives_settings_that_hold(spool_max_bytes: int) -> None:
    found = environment(sidecar(inject([deployment()], InjectOptions(spool_max_bytes=spool_max_bytes))[0]))
    assert load(SidecarSettings, "SIDECAR", environ=found).spool_max_bytes == spool_max_bytes


def test_without_a_broker_nothing_is_shipped() -> None:
    found = environment(sidecar(inject([deployment()], InjectOptions(kafka_bootstrap=""))[0]))
    assert load(SidecarSettings, "SIDECAR", environ=found).sinks == ()


def test_the_sidecar_is_bounded_unprivileged_and_probed() -> None:
    found = sidecar(inject([deployment()], OPTIONS)[0])
    assert found["restartPolicy"] == "Always"
    security = found["securityContext"]
    assert (security["runAsNonRoot"], security["readOnlyRootFilesystem"]) == (True, True)
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert set(found["resources"]) == {"requests", "limits"}
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(found)


@pytest.mark.parametrize("target", [8000, "8000"])
def test_a_service_that_targets_the_number_is_pointed_at_the_sidecar(target: int | str) -> None:
    changed = inject([service(ports=[{"port": 80, "targetPort": target}]), deployment()], OPTIONS)
    assert changed[0]["spec"]["ports"] == [{"port": 80, "targetPort": "driftline"}]
    assert sidecar(changed[1])["ports"][0] == {"name": "driftline", "containerPort": 9000, "protocol": "TCP"}


def test_a_service_without_a_target_goes_by_its_own_port() -> None:
    changed = inject([deployment(), service(ports=[{"port": 8000}])], OPTIONS)
    assert changed[1]["spec"]["ports"][0]["targetPort"] == "driftline"


@pytest.mark.parametrize(
    "other",
    [
        service(selector={"app": "other"}),
        service(selector={}),
        {**service(), "metadata": {"name": "app", "namespace": "elsewhere"}},
        service(ports=[{"port": 80, "targetPort": 8001}]),
    ],
)
def test_services_of_other_pods_or_ports_stay(other: dict[str, Any]) -> None:
    assert inject([deployment(), other], OPTIONS)[1] == other


def test_a_named_port_moves_to_the_sidecar_and_probes_keep_their_target() -> None:
    probe = {"httpGet": {"path": "/", "port": "rest"}}
    named = deployment(ports=[{"containerPort": 8000, "name": "rest"}], livenessProbe=probe)
    changed = inject([named], OPTIONS)[0]
    (model,) = changed["spec"]["template"]["spec"]["containers"]
    assert model["ports"] == [{"containerPort": 8000}]
    assert model["livenessProbe"]["httpGet"]["port"] == 8000
    assert sidecar(changed)["ports"][0]["name"] == "rest"


def test_all_injects_without_annotation_but_obeys_a_no() -> None:
    plain, refusing = deployment(), deployment()
    del plain["metadata"]["annotations"]
    refusing["metadata"]["annotations"]["driftline.io/inject"] = "false"
    assert inject([plain], OPTIONS) == [plain]
    changed = inject([plain, refusing], InjectOptions(everything=True))
    assert sidecar(changed[0])["name"] == "driftline-sidecar"
    assert changed[1] == refusing


def test_the_shippers_port_is_declared_where_something_is_shipped() -> None:
    def ports(options: InjectOptions) -> list[str]:
        return [port["name"] for port in sidecar(inject([deployment()], options)[0])["ports"]]

    assert ports(OPTIONS) == ["driftline", "driftline-admin", "driftline-ship"]
    assert ports(InjectOptions(kafka_bootstrap="")) == ["driftline", "driftline-admin"]
    assert ports(InjectOptions(grpc_port=8001)) == ["driftline", "driftline-admin", "driftline-grpc", "driftline-ship"]


def test_a_list_is_looked_into_and_stays_a_list() -> None:
    changed = inject([{"apiVersion": "v1", "kind": "List", "items": [service(), deployment()]}], OPTIONS)
    assert changed[0]["items"][0]["spec"]["ports"][0]["targetPort"] == "driftline"
    assert sidecar(changed[0]["items"][1])


def test_the_models_own_metrics_keep_their_scrape_annotations() -> None:
    scraped = deployment()
    scraped["spec"]["template"]["metadata"]["annotations"] = {"prometheus.io/port": "8002"}
    annotations = inject([scraped], OPTIONS)[0]["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"prometheus.io/port": "8002"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (deployment(ports=[]), ["Deployment 'app'", "spec.containers", "driftline.io/upstream-port"]),
        (deployment(ports=[{"containerPort": 9000}]), ["9000", "driftline.io/listen-port"]),
        (deployment(ports=[{"containerPort": "http"}]), ["containerPort", "'http'"]),
        ({**deployment(), "spec": {"template": {"spec": {"containers": []}}}}, ["spec.containers"]),
        ({**deployment(), "spec": {"template": {"spec": {"hostNetwork": True, "containers": [{}]}}}}, ["hostNetwork"]),
    ],
)
def test_what_cannot_be_is_refused_with_document_path_and_value(document: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InjectError) as found:
        inject([document], OPTIONS)
    for word in words:
        assert word in str(found.value)


def test_every_wrong_annotation_is_named() -> None:
    wrong = deployment()
    wrong["metadata"]["annotations"] |= {"driftline.io/upstream-port": "http", "driftline.io/sample-rate": "2"}
    with pytest.raises(InjectError) as found:
        inject([wrong], OPTIONS)
    assert "driftline.io/upstream-port'] is 'http'" in str(found.value)
    assert "driftline.io/sample-rate'] is '2'" in str(found.value)


@pytest.mark.parametrize(
    ("annotations", "fault"),
    [
        ({"driftline.io/inject": "yes"}, "driftline.io/inject'] is 'yes', which is neither true nor false"),
        ({"driftline.io/injct": "true"}, "did you mean 'driftline.io/inject'?"),
        ({"driftline.io/inject": "false", "driftline.io/sampel-rate": "1"}, "did you mean 'driftline.io/sample-rate'?"),
    ],
)
def test_a_misspelt_wish_is_named_where_nothing_would_be_injected(annotations: dict[str, str], fault: str) -> None:
    wrong = deployment()
    wrong["metadata"]["annotations"] = annotations
    with pytest.raises(InjectError) as found:
        inject([wrong], OPTIONS)
    assert fault in str(found.value)


@pytest.mark.parametrize("text", ["a: [", "- 1"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(InjectError):
        inject_yaml(text, OPTIONS)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_reads_the_result_back_as_it_is() -> None:
    # kubectl parses and re-prints without a cluster: `create --dry-run=client` would ask one for its types.
    text = inject_yaml((GOLDEN / "inject-input.yaml").read_text(), OPTIONS)
    command = ["kubectl", "label", "--local", "-f", "-", "-o", "json", "checked=yes"]
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    decoder, rest = json.JSONDecoder(), result.stdout.strip()
    printed: list[dict[str, Any]] = []
    while rest:
        document, end = decoder.raw_decode(rest)
        printed.extend(document["items"] if document["kind"] == "List" else [document])
        rest = rest[end:].strip()
    expected = list(yaml.safe_load_all(text))
    assert [each["kind"] for each in printed] == [each["kind"] for each in expected]
    injected = printed[1]["spec"]["template"]["spec"]["initContainers"][0]
    assert injected == expected[1]["spec"]["template"]["spec"]["initContainers"][0]
