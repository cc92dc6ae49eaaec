"""What a workload chooses by annotation, what its cluster gives and bounds, and what is read while it runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from logger_sidecar.config_file import Chosen, Sources
from logger_sidecar.inject.bounds import ClusterError, read_cluster
from logger_sidecar.inject.manifests import InjectError, InjectOptions, inject
from logger_sidecar.inject.options import ANNOTATIONS, with_cluster
from logger_sidecar.pod_annotations import LIVE_ANNOTATIONS
from tests.logger_sidecar.test_inject import deployment, environment, service, sidecar

CLUSTER = """
defaults:
  image: registry/driftline-sidecar:1
  capture-headers: [x-team, x-user]
  redact-key-file: /etc/key
  shipper-topic: cluster
bounds:
  memory-limit: {max: 1Gi}
  cpu-limit: {max: "2"}
  sample-rate: {min: 0.01}
  image: {one_of: ["registry/driftline-*"]}
  shipper-topic: {locked: true}
"""


def asked(**annotations: str) -> dict[str, Any]:
    document = deployment()
    found = {f"driftline.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
    document["metadata"]["annotations"] |= found
    return document


def faults(options: InjectOptions, **annotations: str) -> str:
    with pytest.raises(InjectError) as caught:
        inject([asked(**annotations)], options)
    return str(caught.value)


@pytest.fixture
def cluster(tmp_path: Path) -> InjectOptions:
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    return with_cluster(read_cluster(file, ANNOTATIONS), InjectOptions())


def test_any_setting_of_sidecar_and_shipper_is_an_annotation_that_they_read_back() -> None:
    document = asked(
        max_body_bytes="2048",
        capture_headers="X-Team, x-user",
        keep_headers="x-debug=1",
        keep_slower_than_s="0.5",
        ready_path="/v2/health/ready",
        sinks="kafka,https://broker/shop",
        drop_policy="oldest",
        shipper_acks="1",
    )
    found = environment(sidecar(inject([document], InjectOptions())[0]))
    chosen = Sources(found).read()
    assert chosen.sidecar.max_body_bytes == 2048
    assert chosen.sidecar.capture_headers == ("X-Team", "x-user")
    assert chosen.sidecar.kept_for == (("x-debug", "1"),)
    assert chosen.sidecar.sinks == ("kafka", "https://broker/shop")
    assert (chosen.sidecar.drop_policy, chosen.sidecar.ready_path) == ("oldest", "/v2/health/ready")
    assert chosen.shipper is not None
    assert chosen.shipper.acks == "1"


@pytest.mark.parametrize("value", ["$(HOME)", "$$", "$$(HOME)$", "json:$.a", "$", "a$(b"])
def test_what_kubernetes_would_take_for_a_variable_stays_what_it_is(value: str) -> None:
    found = environment(sidecar(inject([asked(metadata=f"note={value}")], InjectOptions())[0]))
    told = found["DRIFTLINE_SIDECAR_METADATA"]
    # What Kubernetes makes of it (Expand in third_party/forked/golang/expansion), where no such variable is set.
    assert re.sub(r"\$\$|\$\(HOME\)", lambda part: "$" if part[0] == "$$" else "expanded", told) == f"note={value}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kafka_bootstrap", "kafka"),
        ("kafka_bootstrap", "a:1,b"),
        ("spool_max_bytes", str(2**63)),
        ("spool_max_bytes", "3"),
        ("model", "a\0"),
    ],
)
def test_what_the_sidecar_would_not_start_with_is_refused(name: str, value: str) -> None:
    assert f"driftline.io/{name.replace('_', '-')}'] is '{value}', which is not" in faults(
        InjectOptions(), **{name: value}
    )


def test_an_unknown_annotation_is_named_with_the_nearest() -> None:
    told = faults(InjectOptions(), sample_rat="1", max_body_byte="5")
    assert (
        "'driftline.io/sample-rat'] is not an annotation of driftline; did you mean 'driftline.io/sample-rate'?" in told
    )
    assert "did you mean 'driftline.io/max-body-bytes'?" in told


def test_a_setting_that_the_sidecar_would_refuse_is_refused_by_the_injection_with_its_annotation() -> None:
    told = faults(
        InjectOptions(), max_body_bytes="much", capture_headers="Cookie", drop_policy="some", upstream_port="x"
    )
    assert "metadata.annotations['driftline.io/max-body-bytes'] is 'much', which is not a whole number" in told
    assert "'Cookie', which holds credentials and is never captured" in told
    assert "metadata.annotations['driftline.io/drop-policy'] is 'some', which is not one of newest, oldest" in told
    assert "upstream-port'] is 'x'" in told


@pytest.mark.parametrize("name", ["upstream", "spool_directory", "workload", "shipper_sasl_password"])
def test_what_the_injection_decides_is_no_annotation(name: str) -> None:
    assert "is not an annotation of driftline" in faults(InjectOptions(), **{name: "x"})


@pytest.mark.parametrize("name", ["cpu", "cpu_limit", "memory", "memory_limit"])
def test_an_amount_that_kubernetes_would_refuse_is_refused(name: str) -> None:
    told = faults(InjectOptions(), **{name: "lots"})
    assert f"driftline.io/{name.replace('_', '-')}'] is 'lots'" in told
    assert "such as 250m or 256Mi" in told


def test_a_cluster_gives_defaults_that_annotations_override_within_bounds(cluster: InjectOptions) -> None:
    document = asked(memory_limit="512Mi", sample_rate="0.5", capture_headers="x-own")
    found = sidecar(inject([document], cluster)[0])
    variables = environment(found)
    assert found["image"] == "registry/driftline-sidecar:1"
    assert found["resources"]["limits"]["memory"] == "512Mi"
    assert variables["DRIFTLINE_SIDECAR_CAPTURE_HEADERS"] == "x-own"
    assert variables["DRIFTLINE_SHIPPER_TOPIC"] == "cluster"
    plain = environment(sidecar(inject([asked()], cluster)[0]))
    assert plain["DRIFTLINE_SIDECAR_CAPTURE_HEADERS"] == "x-team,x-user"


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ({"memory_limit": "2Gi"}, "memory-limit'] is '2Gi', which must not be above 1Gi"),
        ({"cpu_limit": "2500m"}, "cpu-limit'] is '2500m', which must not be above 2"),
        ({"sample_rate": "0.001"}, "sample-rate'] is '0.001', which must not be below 0.01"),
        # What bounds the rate of all bounds that of one model.
        ({"model_sample_rates": "iris=0.5,wine=0.001"}, "wine=0.001', which must not be below 0.01"),
        (
            {"image": "elsewhere/driftline:1"},
            "image'] is 'elsewhere/driftline:1', which must be one of registry/driftline-*",
        ),
        ({"shipper_topic": "own"}, "shipper-topic'] is 'own', which cannot be chosen here"),
        ({"memory_limit": "lots"}, "memory-limit'] is 'lots', which must be a number"),
    ],
)
def test_an_annotation_beyond_its_bound_is_refused(
    cluster: InjectOptions, annotations: dict[str, str], told: str
) -> None:
    assert told in faults(cluster, **annotations)


def test_every_fault_of_a_clusters_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("defaults: {imag: x}\nbounds: {cpu-limit: {max: lots}, image: [x], memory: {most: 1}}\nother: 1\n")
    with pytest.raises(ClusterError) as caught:
        read_cluster(file, ANNOTATIONS)
    told = str(caught.value)
    parts = ("cluster.yaml", "'other' is neither", "did you mean 'image'?", "cpu-limit.max is 'lots'")
    for part in (*parts, "bounds.image is", "bounds.memory is"):
        assert part in told
    file.write_text("defaults: {max-body-bytes: many}")
    with pytest.raises(InjectError, match=r"max-body-bytes'\] is 'many'"):
        with_cluster(read_cluster(file, ANNOTATIONS), InjectOptions())


def test_a_config_map_a_secret_and_the_pods_annotations_become_files_that_are_watched() -> None:
    document = asked(config_map="capture", tls_secret="cert", env_secret="passwords", live_annotations="true")
    injected = inject([document], InjectOptions())[0]
    found = sidecar(injected)
    variables = environment(found)
    mounted = {mount["mountPath"]: mount["name"] for mount in found["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in injected["spec"]["template"]["spec"]["volumes"]}
    assert variables["DRIFTLINE_CONFIG"] == "/etc/driftline/config/sidecar.yaml"
    assert volumes[mounted["/etc/driftline/config"]]["configMap"] == {"name": "capture"}
    assert volumes[mounted["/etc/driftline/tls"]]["secret"] == {"secretName": "cert"}
    (item,) = volumes[mounted["/etc/driftline/podinfo"]]["downwardAPI"]["items"]
    assert variables["DRIFTLINE_ANNOTATIONS_FILE"] == f"/etc/driftline/podinfo/{item['path']}"
    assert item["fieldRef"]["fieldPath"] == "metadata.annotations"
    assert variables["DRIFTLINE_ANNOTATIONS_FOLLOWED"] == ",".join(LIVE_ANNOTATIONS)
    assert found["envFrom"] == [{"secretRef": {"name": "passwords"}}]
    assert float(variables["DRIFTLINE_SIDECAR_WATCH_CONFIG_S"]) > 0
    assert inject([injected], InjectOptions()) == [injected]
    without = asked()
    assert inject([{**injected, "metadata": without["metadata"]}], InjectOptions()) == inject(
        [without], InjectOptions()
    )


def test_what_no_annotation_says_is_left_to_the_config_map(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.yaml"
    file.write_text(
        "sidecar: {sample_rate: 0.1, variant: canary, sinks: ['file:///data']}\nshipper: {bootstrap_servers: ['a:1']}"
    )

    def read(**annotations: str) -> Chosen:
        made = inject([asked(config_map="capture", **annotations)], InjectOptions())[0]
        return Sources(environment(sidecar(made)), file).read()

    left = read()
    assert (left.sidecar.sample_rate, left.sidecar.variant) == (0.1, "canary")
    assert left.shipper is not None
    assert (left.sidecar.sinks, left.shipper.bootstrap_servers) == (("file:///data",), ("a:1",))
    said = read(sample_rate="1", variant="stable", kafka_bootstrap="b:2")
    assert (said.sidecar.sample_rate, said.sidecar.variant) == (1.0, "stable")
    assert said.shipper is not None
    assert said.shipper.bootstrap_servers == ("b:2",)
    assert read(kafka_bootstrap="").sidecar.sinks == ()


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        ("{min: 2Gi, max: 1Gi}", "bounds.memory.min is '2Gi', which is above max '1Gi'"),
        ('{one_of: "any*"}', r"bounds.memory.one_of is 'any\*', which is not a list"),
        ('{locked: "false"}', "bounds.memory.locked is 'false', which is neither true nor false"),
    ],
)
def test_a_bound_that_would_not_hold_what_it_says_is_refused(tmp_path: Path, bound: str, told: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"bounds: {{memory: {bound}}}\n")
    with pytest.raises(ClusterError, match=told):
        read_cluster(file, ANNOTATIONS)


def test_what_the_cluster_bounds_is_not_followed_past_the_injection(cluster: InjectOptions) -> None:
    variables = environment(sidecar(inject([asked(live_annotations="true")], cluster)[0]))
    followed = variables["DRIFTLINE_ANNOTATIONS_FOLLOWED"].split(",")
    assert set(followed) == set(LIVE_ANNOTATIONS) - {"sample_rate", "model_sample_rates"}


def test_grpc_goes_through_the_sidecar_too_where_it_has_a_port_of_its_own() -> None:
    document = asked(grpc_port="8001")
    container = document["spec"]["template"]["spec"]["containers"][0]
    container["ports"] = [{"containerPort": 8000}, {"containerPort": 8001, "name": "grpc"}]
    ports = [{"name": "rest", "port": 80, "targetPort": 8000}, {"name": "rpc", "port": 90, "targetPort": 8001}]
    changed = inject([document, service(ports=ports)], InjectOptions())
    variables = environment(sidecar(changed[0]))
    assert Sources(variables).read().sidecar.grpc_upstream == "http://127.0.0.1:8001"
    assert variables["DRIFTLINE_SIDECAR_GRPC_LISTEN_PORT"] == "9003"
    assert {"name": "grpc", "containerPort": 9003, "protocol": "TCP"} in sidecar(changed[0])["ports"]
    assert changed[0]["spec"]["template"]["spec"]["containers"][0]["ports"] == [
        {"containerPort": 8000},
        {"containerPort": 8001},
    ]
    assert [port["targetPort"] for port in changed[1]["spec"]["ports"]] == ["driftline", "grpc"]
    assert inject(changed, InjectOptions()) == changed


def test_devices_are_shown_to_the_sidecar_only_when_asked() -> None:
    assert "NVIDIA_VISIBLE_DEVICES" not in environment(sidecar(inject([asked()], InjectOptions())[0]))
    variables = environment(sidecar(inject([asked(watch_gpu="true")], InjectOptions())[0]))
    assert variables["NVIDIA_DRIVER_CAPABILITIES"] == "utility"


def test_the_injected_manifest_is_yaml_that_reads_back() -> None:
    made = inject([asked(config_map="c", grpc_port="8001")], InjectOptions())
    assert yaml.safe_load(yaml.safe_dump(made)) == made
