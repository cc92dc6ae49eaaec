"""What /metrics says of the sidecar itself, in both formats, and what the stopwatches leave untouched."""

import asyncio
import random
import time
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_metrics

from driftline import names
from logger_sidecar.recording.meters import StreamMeters
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.resources import resource_attributes
from logger_sidecar.traces import parse_traceparent
from tests.logger_sidecar.wire import OK, Running, Upstream, answering, post, read_message, sidecar
from tests.parts.http import get_json
from tests.parts.processes import wait_until
from tests.parts.prometheus import Prometheus

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def upstream():
    made = Upstream(answering(OK))
    yield made
    made.close()


def values(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in plain_metrics(text)
        for sample in family.samples
    }


def in_open_metrics(running: Running) -> list:
    address = f"http://127.0.0.1:{running.sidecar.admin_port}/metrics"
    request = urllib.request.Request(address, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        return list(open_metrics(answer.read().decode()))


def test_time_added_is_measured_in_both_directions_and_everything_still_arrives(
    upstream: Upstream, tmp_path: Path
) -> None:
    with sidecar(upstream.url, tmp_path) as running:
        for number in range(40):
            assert running.ask(post(b"{}", f"x-request-id: {number}")).endswith(b"{}")
        found = values(running.admin("/metrics"))
        assert len(running.events()) == 40
    assert found["driftline_sidecar_overhead_seconds_count[('direction', 'in')]"] >= 16
    assert found["driftline_sidecar_overhead_seconds_bucket[('direction', 'in'), ('le', '+Inf')]"] >= 16


def test_a_kept_connection_is_measured_now_and_then_and_gives_exemplars(upstream: Upstream, tmp_path: Path) -> None:
    with sidecar(upstream.url, tmp_path, response_timeout_s=2.5) as running, running.connect() as connection:

        def seen() -> bool:
            connection.sendall(post(b"{}", "x-request-id: r1", f"traceparent: {TRACEPARENT}"))
            assert read_message(connection).endswith(b"{}")
            found = values(running.admin("/metrics"))
            return found["driftline_sidecar_overhead_seconds_count[('direction', 'out')]"] >= 2

        wait_until(seen)
        families = {family.name: family for family in in_open_metrics(running)}
    latency = families["driftline_sidecar_request_duration_seconds"]
    exemplars = [sample.exemplar for sample in latency.samples if sample.exemplar is not None]
    assert exemplars
    assert exemplars[0].labels == {"trace_id": TRACE}


def test_an_exemplar_without_a_trace_names_the_request_and_a_long_id_none() -> None:
    meters = StreamMeters("m", "", "stable")
    meters.example(0.3, 1.0, "r1", "00-malformed-01")
    meters.example(20.0, 1.0, "r" * 200, None)
    ((_, example),) = meters.examples.items()
    assert (example.labels, example.value, example.timestamp) == ({"request_id": "r1"}, 0.3, 1.0)


def test_both_formats_are_read_by_prometheus_own_parsers_and_say_the_same(upstream: Upstream, tmp_path: Path) -> None:
    with sidecar(upstream.url, tmp_path, pod="pod-1") as running:
        running.ask(post())
        families = {family.name: family for family in in_open_metrics(running)}
        text = running.admin("/metrics")
        found = values(text)
    for name in (
        "driftline_capture_queue_events",
        "driftline_capture_queue_bytes",
        "driftline_config_last_reload_successful",
        "process_resident_memory_bytes",
        "process_open_fds",
    ):
        assert f"{name}[]" in found, name
        assert name in families
    assert found["driftline_spool_write_errors_total[]"] == 0
    assert found["driftline_sidecar_upstream_connections[('state', 'busy')]"] == 0
    assert {"idle", "opening", "awaited"} <= {key.split("'")[3] for key in found if "upstream_connections" in key}
    (target,) = families["target"].samples
    assert target.name == "target_info"
    assert target.labels["service_name"] == "model-server"
    assert target.labels["k8s_pod_name"] == "pod-1"
    assert any(key.startswith("driftline_build_info") and "'sidecar'" in key for key in found)


def test_resource_attributes_of_the_environment_win_and_are_decoded() -> None:
    settings = SidecarSettings(workload="w", namespace="n", pod="p")
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,team=x%2Cy, k8s.node.name = node ,broken"}
    assert resource_attributes(environ, settings.resource) == {
        "service.name": "a",
        "service.namespace": "n",
        "service.instance.id": "p",
        "k8s.namespace.name": "n",
        "k8s.pod.name": "p",
        "team": "x,y",
        "k8s.node.name": "node",
    }
    assert resource_attributes({**environ, "OTEL_SERVICE_NAME": "b"}, {})["service.name"] == "b"


# The examples of the specification, https://www.w3.org/TR/trace-context/ (sections 3.2.2 and 3.2.4).
@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (TRACEPARENT, True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", False),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like", True),
    ],
)
def test_a_traceparent_that_fits_is_read(text: str, sampled: bool) -> None:
    assert parse_traceparent(text) == (TRACE, "00f067aa0ba902b7", sampled)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01-more",
        f"00-{TRACE}-00f067aa0ba902b7-0",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"cc-{TRACE}-00f067aa0ba902b7-01.more",
        f" {TRACEPARENT}",
    ],
)
def test_a_malformed_traceparent_is_ignored(text: str | None) -> None:
    assert parse_traceparent(text) is None


def test_a_stopwatch_is_not_in_the_way_of_pieces_pipelining_and_streams(tmp_path: Path) -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"]

    def script(upstream: Upstream, connection) -> None:
        while upstream.read(connection):
            for piece in pieces:
                connection.sendall(piece)

    upstream = Upstream(script)
    rng = random.Random(7)
    with sidecar(upstream.url, tmp_path) as running:
        for turns in range(1, 61):
            with running.connect() as connection:
                request = post(b"{}", f"x-request-id: {turns}") + post(b"[1]", f"x-request-id: {turns}-again")
                cut = rng.randrange(1, len(request))
                connection.sendall(request[:cut])
                if turns % 10 == 0:  # as it looks by itself once a second
                    looked = asyncio.run_coroutine_threadsafe(running.sidecar._look_after_all(1.0), running.loop)
                    looked.result(60)
                connection.sendall(request[cut:])
                data = b""
                while data.count(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") < 2 and (piece := connection.recv(65536)):
                    data += piece
                assert data.count(b"abc") == 2
        assert len(running.events()) == 2 * turns
    upstream.close()


@pytest.mark.real
def test_prometheus_takes_the_exemplars_with_the_metrics(
    prometheus_binary: Path, upstream: Upstream, tmp_path: Path
) -> None:
    assert prometheus_binary.exists()
    with sidecar(upstream.url, tmp_path / "spool", response_timeout_s=2.5) as running, running.connect() as connection:
        targets = {"targets": [f"127.0.0.1:{running.sidecar.admin_port}"]}
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "s", "static_configs": [targets]}],
        }
        directory = tmp_path / "prometheus"
        directory.mkdir()
        with Prometheus(directory, config, flags=("--enable-feature=exemplar-storage",)) as prometheus:
            query = "api/v1/query_exemplars?query=driftline_sidecar_request_duration_seconds_bucket"

            def traces() -> set[str]:
                connection.sendall(post(b"{}", f"traceparent: {TRACEPARENT}"))
                read_message(connection)
                found = get_json(f"{prometheus.url}/{query}&start={time.time() - 300}&end={time.time() + 60}")
                return {each["labels"]["trace_id"] for series in found["data"] for each in series["exemplars"]}

            wait_until(lambda: traces() == {TRACE}, 120, "an exemplar", pause_s=0.2)


@given(
    st.lists(st.sampled_from([*names.LATENCY_BUCKETS_S, 0.0, 1e-9, 0.0151, 1e9]) | st.floats(0.0, 100.0)),
    st.integers(1, 20),
)
def test_many_counted_at_once_are_counted_as_one_by_one(some: list[float], times: int) -> None:
    seconds = some * times
    once, each = StreamMeters("m", "1", "stable"), StreamMeters("m", "1", "stable")
    for one in seconds:
        each.answered(("v2", 200), one)
    if seconds:
        once.answered_many(("v2", 200), list(seconds))
    assert (once.requests, once.buckets) == (each.requests, each.buckets)
    assert once.seconds == pytest.approx(each.seconds)
