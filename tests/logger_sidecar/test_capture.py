"""Capture: one outcome for each inference, the same sampling everywhere, names that stay bounded."""

import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from driftline import names
from logger_sidecar.http1.request_ids import body_id
from logger_sidecar.http1.routes import RouteTable, read_paths
from logger_sidecar.recording.sampling import is_sampled
from logger_sidecar.spool.source import SpoolSource
from tests.logger_sidecar.wire import OK, Upstream, answering, post, sidecar


def samples(text: str, metric: names.Metric) -> list[tuple[dict[str, str], float]]:
    wanted = metric.name.removesuffix("_total")
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        if family.name == wanted
        for sample in family.samples
    ]


def test_every_inference_has_exactly_one_outcome(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    SpoolSource(tmp_path, "test", lambda _partition: None).close()  # somebody reads, and has read nothing
    changes = {"sample_rate": 0.5, "spool_max_bytes": 20_000, "segment_bytes": 4000, "buffer_bytes": 5000}
    with sidecar(upstream.url, tmp_path, **changes) as running, running.connect() as client:
        for number in range(200):
            client.sendall(post(b"{}", f"x-request-id: {number}"))
            while not client.recv(65536).endswith(b"{}"):
                pass
            while running.sidecar.recorder.buffered_bytes > 3000:  # no faster than they can be written
                time.sleep(0.001)
        client.close()
        events = running.events()
        outcomes = running.outcomes()
    upstream.close()
    requests = outcomes.pop("requests")
    assert requests == 200 == sum(outcomes.values())
    assert outcomes["logged"] == len(events) > 0
    assert outcomes["spool_full"] > 0
    assert set(outcomes) == {"logged", "sampled_out", "spool_full"}
    assert outcomes["sampled_out"] == sum(not is_sampled(str(number), 0.5) for number in range(200))
    assert all(event.sample_rate == 0.5 for event in events)


def test_what_finds_no_room_in_memory_has_another_reason_than_what_finds_none_on_the_disk(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with sidecar(upstream.url, tmp_path, buffer_bytes=4000) as running:
        for size in (10, 4000):
            assert running.ask(post(b"x" * size)).startswith(b"HTTP/1.1 200")
        running.stop()
        assert running.outcomes() == {"requests": 2, "logged": 1, "sampled_out": 0, "buffer_full": 1}
    upstream.close()


def test_without_a_spool_inference_goes_on_and_the_loss_is_counted(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    place.write_text("not a directory")
    upstream = Upstream(answering(OK))
    with sidecar(upstream.url, place) as running:
        for _ in range(5):
            assert running.ask(post()).startswith(b"HTTP/1.1 200")
        running.stop()
        assert running.outcomes() == {"requests": 5, "logged": 0, "sampled_out": 0, "disk_error": 5}
    upstream.close()


def test_label_values_are_bounded_and_unknown_models_share_one(tmp_path: Path) -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    def script(upstream: Upstream, connection: object) -> None:
        while request := upstream.read(connection):  # type: ignore[arg-type]
            connection.sendall(missing if b"/models/scan" in request else OK)  # type: ignore[attr-defined]

    upstream = Upstream(script)
    with sidecar(upstream.url, tmp_path, max_models=3) as running:
        for model in ("y" * 257, "a", "b", "scan1", "scan2", "c", "d", "e"):
            running.ask(post(path=f"/v2/models/{model}/infer"))
        text = running.admin("/metrics")
    upstream.close()
    counts = {
        (labels["model"], labels["code"]): value for labels, value in samples(text, names.SIDECAR_REQUESTS) if value
    }
    assert counts == {
        ("a", "200"): 1,
        ("b", "200"): 1,
        ("c", "200"): 1,
        ("other", "200"): 3,
        ("other", "404"): 2,
    }


def test_metrics_have_the_names_and_labels_that_rules_and_boards_use(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with sidecar(upstream.url, tmp_path) as running:
        running.ask(post(b"12345678"))
        running.ask(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
        text = running.admin("/metrics")
        assert running.admin("/healthz") == "ok\n"
        assert running.admin("/readyz") == "ok\n"
    upstream.close()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    # Devices are watched only where their library is installed.
    own = {name for name in families if name.startswith("driftline_") and not name.startswith("driftline_gpu_")}
    emitted = {name: families[name] for name in own}
    beginnings = tuple(
        f"driftline_{part}_" for part in ("sidecar", "capture", "spool", "config", "build", "redaction", "finishing")
    )
    expected = [metric for metric in names.ALL_METRICS if metric.name.startswith(beginnings)]
    assert {metric.name.removesuffix("_total") for metric in expected} == set(emitted)
    for metric in expected:
        family = emitted[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
    latency = samples(text, names.SIDECAR_LATENCY)
    assert [float(labels["le"]) for labels, _ in latency if "le" in labels] == [
        *names.LATENCY_BUCKETS_S,
        float("inf"),
    ]
    assert ({"direction": "in"}, 8.0) in samples(text, names.SIDECAR_BYTES)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v2/models/iris/infer", ("v2", "iris", "7")),
        (b"/prefix/v2/models/a%20b/versions/3/infer?x=/infer", ("v2", "a b", "3")),
        (b"/v2/models/org%2Fname/infer", ("v2", "org%2Fname", "7")),
        (b"/v2/models/llm/generate_stream", ("generate", "llm", "7")),
        (b"/v1/models/m:predict", ("v1", "m", "7")),
        (b"http://host/v1/models/m:predict", ("v1", "m", "7")),
        (b"/seldon/ns/dep/api/v1.0/predictions", ("seldon", "app", "7")),
        (b"/openai/v1/embeddings", ("openai", "app", "7")),
        (b"/v1/responses", ("openai", "app", "7")),
        (b"/v1/responses/r1", None),
        (b"/v2/models/llm/infer_stream", ("v2", "llm", "7")),
        (b"/invocations", ("invocations", "app", "7")),
        (b"/v1/models/tf/labels/canary:classify", ("v1", "tf", "canary")),
        (b"/v1/models/tf:regress", ("v1", "tf", "7")),
        (b"/predictions/resnet", ("torchserve", "resnet", "7")),
        (b"/predictions/resnet/2.0", ("torchserve", "resnet", "2.0")),
        (b"/predict", None),
        (b"/v2/models/a%00b/infer", ("v2", "a%00b", "7")),
        (b"/v2/models/iris", None),
        (b"/v2/models/iris/ready", None),
        (b"/v1/models", None),
        (b"/api/v1.0/feedback", None),
    ],
)
def test_the_path_says_protocol_model_and_version(target: bytes, expected: tuple[str, str, str] | None) -> None:
    routes = RouteTable("app", "7")
    assert routes.lookup(target) == expected
    assert routes.lookup(target) == expected


def test_paths_of_a_server_of_ones_own_are_inferences_where_they_are_named() -> None:
    rules, faults = read_paths(["/predict", "/a.b/score=fraud", "/serve/{model}/run", "/v2/models/iris/infer=other"])
    assert faults == []
    routes = RouteTable("app", "7", rules)
    assert routes.lookup(b"/predict?verbose=1") == ("http", "app", "7")
    assert routes.lookup(b"/a.b/score") == ("http", "fraud", "7")
    assert routes.lookup(b"/serve/my%20model/run") == ("http", "my model", "7")
    assert routes.lookup(b"/v2/models/iris/infer") == ("http", "other", "7")
    for target in (b"/predict/", b"/x/predict", b"/aXb/score", b"/serve/a/b/run", b"/serve//run"):
        assert routes.lookup(target) is None
    for wrong in ("predict", "/a b", "/a?b", "/a=", "/{model}/{model}", "/{model}=x", "/x{model}", "/{other}", ""):
        [fault] = read_paths([wrong])[1]
        assert f"'{wrong}'" in fault


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"inputs": [{"id": "a"}]}', ""),
        (b'{"id": 7}', ""),
        (b'{"id": ""}', ""),
        (b'{"x": "\\"id\\"", "id" : "b"}', "b"),
        (b'{"x": "' + b"y" * 1200 + b'", "id": "far"}', ""),
        (b'{"id": "new\\nline"}', ""),
        (b'"id": "bare"', ""),
        (b"\xff\x00id", ""),
    ],
)
def test_only_a_plain_top_level_id_near_the_start_counts(body: bytes, expected: str) -> None:
    assert body_id(body) == expected


def test_many_clients_at_once_are_all_logged_once(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    with sidecar(upstream.url, tmp_path) as running:

        def ask_some(client: int) -> None:
            for number in range(20):
                running.ask(post(b"{}", f"x-request-id: {client}-{number}"))

        threads = [threading.Thread(target=ask_some, args=(client,)) for client in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ids = [event.request_id for event in running.events()]
    upstream.close()
    assert sorted(ids) == sorted(f"{client}-{number}" for client in range(8) for number in range(20))
