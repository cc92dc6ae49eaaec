"""Real gRPC clients at real model servers, through the sidecar: the same answers, and events that can be read."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from driftline.events import InferenceEvent
from tests.clients.comparing import ROWS
from tests.clients.hosts import ClientHost
from tests.clients.servers import Server
from tests.logger_sidecar.wire import sidecar

pytestmark = [pytest.mark.real, pytest.mark.slow]
WITH_GRPC = ["kserve", "mlserver", "triton"]


def ask_both(
    ask: Callable[[str], Sequence[Any]], server: Server, directory: Path
) -> tuple[list[Any], list[InferenceEvent]]:
    """What the client made of it through the sidecar, which must be what it makes of it directly; and the events."""
    direct = list(ask(f"127.0.0.1:{server.grpc_port}"))
    upstreams = {"grpc_upstream": f"http://127.0.0.1:{server.grpc_port}"}
    with sidecar(f"http://127.0.0.1:{server.port}", directory, **upstreams) as running:
        through = list(ask(f"127.0.0.1:{running.sidecar.listen_port}"))
        events = running.events()
    assert through == direct
    return through, events


def assert_readable(event: InferenceEvent, clients: ClientHost) -> None:
    """NVIDIA's own classes read in the event what was asked and what the model made of it."""
    (asked,) = clients.ask("messages-of-grpc", f"ModelInferRequest:{event.request.body.hex()}")
    (answered,) = clients.ask("messages-of-grpc", f"ModelInferResponse:{event.response.body.hex()}")
    assert {"a": asked["a"], "b": asked["b"], "y": answered["y"]} == ROWS
    assert asked["model"] == event.model == "line"
    assert asked["id"] == event.request_id


@pytest.mark.parametrize("server", WITH_GRPC)
def test_tritonclient_speaks_grpc_through_the_sidecar(
    server: str, servers: Callable[[str], Server], common_clients: ClientHost, tmp_path: Path
) -> None:
    found, events = ask_both(
        lambda grpc: list(common_clients.ask("tritonclient-grpc", "", grpc)), servers(server), tmp_path
    )
    assert [one["id"] for one in found[1:]] == ["triton-grpc-0", "triton-grpc-1"]
    assert [(event.status_code, event.grpc_status, event.truncated) for event in events] == [(200, 0, False)] * 2
    assert [event.request_id for event in events] == ["triton-grpc-0", "triton-grpc-1"]
    for event in events:
        assert_readable(event, common_clients)


@pytest.mark.parametrize("server", WITH_GRPC)
def test_a_call_that_the_server_refuses_is_refused_and_logged_alike(
    server: str, servers: Callable[[str], Server], common_clients: ClientHost, tmp_path: Path
) -> None:
    found, events = ask_both(
        lambda grpc: list(common_clients.ask("tritonclient-grpc-unknown", "", grpc)), servers(server), tmp_path
    )
    assert found[0]["status"].startswith("StatusCode.")
    (event,) = events
    assert event.model == "nobody"
    assert event.grpc_status


def test_tensors_in_shared_memory_are_not_observable(
    servers: Callable[[str], Server], common_clients: ClientHost, tmp_path: Path
) -> None:
    found, events = ask_both(
        lambda grpc: list(common_clients.ask("tritonclient-grpc-shared", "", grpc)), servers("triton"), tmp_path
    )
    assert found == [[[16.0], [21.0], [27.5]]] * 2
    assert [event.not_observable for event in events] == ["shared_memory"] * 2


@pytest.mark.parametrize("server", ["triton"])
def test_a_stream_of_calls_is_answered_one_by_one_and_logged(
    server: str, servers: Callable[[str], Server], common_clients: ClientHost, tmp_path: Path
) -> None:
    found, events = ask_both(
        lambda grpc: list(common_clients.ask("tritonclient-grpc-stream", "", grpc)), servers(server), tmp_path
    )
    assert [one["id"] for one in found] == ["stream-0", "stream-1", "stream-2"]
    assert events
    assert {event.grpc_status for event in events} == {0}


@pytest.mark.parametrize("server", WITH_GRPC)
def test_the_sdk_of_kserve_speaks_grpc_through_the_sidecar(
    server: str,
    servers: Callable[[str], Server],
    kserve_clients: ClientHost,
    common_clients: ClientHost,
    tmp_path: Path,
) -> None:
    _, events = ask_both(lambda grpc: list(kserve_clients.ask("kserve-grpc", "", grpc)), servers(server), tmp_path)
    (event,) = events
    assert_readable(event, common_clients)
