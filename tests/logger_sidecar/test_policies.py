"""Metadata of all events and rates of single models: on every way an event takes, and followed while running."""

from pathlib import Path

import pytest

from driftline.errors import SettingsError
from logger_sidecar.config_file import Sources
from logger_sidecar.recording.sampling import is_sampled
from tests.logger_sidecar.grpc.servers import INFER, STREAM_INFER, call, channel, infer_request, served
from tests.logger_sidecar.test_reload import ask, config
from tests.logger_sidecar.wire import OK, Upstream, answering, post, read_message, sidecar

METADATA = ("team=red", "image=registry/a:1=b")
SAID = {"team": "red", "image": "registry/a:1=b"}
STREAM = (
    b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 28\r\n\r\ndata: {"text_output": "a"}\n\n'
)


@pytest.mark.parametrize("answer", [OK, STREAM])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_metadata_is_on_every_event_over_http(answer: bytes, rate: float, tmp_path: Path) -> None:
    upstream = Upstream(answering(answer))
    with sidecar(upstream.url, tmp_path, metadata=METADATA, sample_rate=rate) as running:
        with running.connect() as connection:
            for number in range(8):
                path = "/v2/models/iris/generate_stream" if answer is STREAM else "/v2/models/iris/infer"
                connection.sendall(post(b"{}", f"x-request-id: {number}", path=path))
                read_message(connection)
        events = running.events()
    upstream.close()
    assert [event.request_id for event in events] == [str(one) for one in range(8) if is_sampled(str(one), rate)]
    assert [event.metadata for event in events] == [SAID] * len(events)


def test_metadata_is_on_every_event_over_grpc(tmp_path: Path) -> None:
    with served() as server, sidecar(server.url, tmp_path, metadata=METADATA) as running:
        with channel(running.sidecar.listen_port) as made:
            call(made, INFER, infer_request())
            list(call(made, STREAM_INFER, iter([infer_request()])))
        assert [event.metadata for event in running.events()] == [SAID, SAID]


def test_a_model_is_kept_at_its_own_rate_and_the_others_at_that_of_all(tmp_path: Path) -> None:
    upstream = Upstream(answering(OK))
    rates = ("wine=1", "iris=0.25", "none=0")
    ids = [str(number) for number in range(40)]
    with sidecar(upstream.url, tmp_path, sample_rate=0.5, model_sample_rates=rates) as running:
        with running.connect() as connection:
            for number in ids:
                for model in ("wine", "iris", "none", "other"):
                    connection.sendall(
                        post(b"{}", f"x-request-id: {number}", path=f"/v2/models/{model}/versions/2/infer")
                    )
                    read_message(connection)
        events = running.events()
        outcomes = running.outcomes()
    upstream.close()
    for model, rate in (("wine", 1.0), ("iris", 0.25), ("none", 0.0), ("other", 0.5)):
        found = [event for event in events if event.model == model]
        assert [event.request_id for event in found] == [number for number in ids if is_sampled(number, rate)]
        assert {event.sample_rate for event in found} <= {rate}
    assert outcomes["requests"] == 160 == outcomes["logged"] + outcomes["sampled_out"]


def test_a_model_s_rate_and_the_rules_hold_over_grpc(tmp_path: Path) -> None:
    settings = {"model_sample_rates": ("iris=0",), "keep_headers": ("tenant=gold",)}
    with served() as server, sidecar(server.url, tmp_path, **settings) as running:
        with channel(running.sidecar.listen_port) as made:
            call(made, INFER, infer_request("iris"))
            call(made, INFER, infer_request("wine"))
            call(made, INFER, infer_request("iris"), metadata=(("tenant", "gold"),))
        found = [(event.model, event.sample_rate) for event in running.events()]
        assert running.outcomes()["sampled_out"] == 1
    assert found == [("wine", 1.0), ("iris", 1.0)]


def test_both_change_while_a_connection_is_open(tmp_path: Path) -> None:
    upstream, file = Upstream(answering(OK)), tmp_path / "conf.yaml"
    config(file)
    with sidecar(upstream.url, tmp_path / "spool", sources=Sources({}, file)) as running:
        connection = running.connect()
        ask(connection, "1")
        ask(connection, "2")
        config(file, running, metadata="[team=red]")
        ask(connection, "3")
        config(file, running, metadata="[team=blue]", model_sample_rates="[iris=0]")
        ask(connection, "4")
        config(file, running, metadata="[team=blue]", model_sample_rates="[wine=0]")
        ask(connection, "5")
        config(file, running, metadata="[team=]", model_sample_rates="[wine=2]")
        ask(connection, "6")
        connection.close()
        found = [(event.request_id, event.metadata) for event in running.events()]
        assert running.sidecar.reloader.outcomes == {"applied": 3, "refused": 1}
    upstream.close()
    blue = {"team": "blue"}
    assert found == [("1", {}), ("2", {}), ("3", {"team": "red"}), ("5", blue), ("6", blue)]


def test_every_fault_of_either_is_named() -> None:
    environ = {
        "DRIFTLINE_SIDECAR_METADATA": '["team", "1x=a", "a=", "b=\\n", "c=1", "c=2"]',
        "DRIFTLINE_SIDECAR_MODEL_SAMPLE_RATES": "iris,=1,wine=lots,a=b=0.5,a=b=1,rose=nan,beer=1.5",
    }
    with pytest.raises(SettingsError) as caught:
        Sources(environ).read()
    told = [fault for fault in caught.value.faults if "metadata" in fault]
    assert [fault.split(" (")[0] for fault in told] == [
        "metadata has 'team', which is not NAME=VALUE with a name like team, node or app.version",
        "metadata has '1x=a', which is not NAME=VALUE with a name like team, node or app.version",
        "metadata has no value for 'a' of 1 to 256 visible characters",
        "metadata has no value for 'b' of 1 to 256 visible characters",
        "metadata names 'c' twice",
    ]
    told = [fault.split(" (")[0] for fault in caught.value.faults if "model_sample_rates" in fault]
    assert told == [
        "model_sample_rates has 'iris', which is not MODEL=RATE",
        "model_sample_rates has '=1', which is not MODEL=RATE",
        "model_sample_rates has 'wine=lots', whose rate is not a number between 0 and 1",
        "model_sample_rates names 'a=b' twice",
        "model_sample_rates has 'rose=nan', whose rate is not a number between 0 and 1",
        "model_sample_rates has 'beer=1.5', whose rate is not a number between 0 and 1",
    ]
