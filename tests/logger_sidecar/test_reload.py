"""A configuration that changes while requests are in flight: nobody notices but the events."""

import asyncio
import functools
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from driftline.events import InferenceEvent
from logger_sidecar.config_file import Sources
from logger_sidecar.recording.sampling import is_sampled
from logger_sidecar.reload import Reloader
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings
from tests.logger_sidecar.wire import OK, Running, Upstream, answering, post, read_message, sidecar, spooled
from tests.parts.processes import free_ports, wait_until


def config(file: Path, running: Running | None = None, **settings: object) -> None:
    """Write the file whole, as a ConfigMap is replaced; and have it read, where somebody runs."""
    lines = [f"  {name}: {value}" for name, value in settings.items()]
    unfinished = file.with_suffix(".new")
    unfinished.write_text("\n".join(["sidecar:", *lines, ""]))
    unfinished.replace(file)
    if running is not None:
        before = sum(running.sidecar.reloader.outcomes.values())
        running.loop.call_soon_threadsafe(running.sidecar.reloader.ask)
        wait_until(lambda: sum(running.sidecar.reloader.outcomes.values()) > before)


def ask(connection: socket.socket, request_id: str, *headers: str) -> bytes:
    connection.sendall(post(b"{}", f"x-request-id: {request_id}", *headers))
    return read_message(connection)


def by_id(events: list[InferenceEvent]) -> dict[str, InferenceEvent]:
    found = {event.request_id: event for event in events}
    assert len(found) == len(events)
    return found


@pytest.fixture
def upstream():
    made = Upstream(answering(OK))
    yield made
    made.close()


def test_paths_that_are_inferences_change_on_an_open_connection(upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    config(file)
    with sidecar(upstream.url, tmp_path / "spool", sources=Sources({}, file)) as running:
        with running.connect() as connection:

            def score(request_id: str) -> None:
                connection.sendall(post(b"{}", f"x-request-id: {request_id}", path="/score"))
                read_message(connection)

            score("1")
            config(file, running, capture_paths="[/score=fraud]")
            score("2")
            config(file, running)
            score("3")
        [event] = running.events()
    assert (event.request_id, event.protocol, event.model) == ("2", "http", "fraud")


def test_rate_variant_headers_and_limits_change_on_an_open_connection(upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    config(file)
    with sidecar(upstream.url, tmp_path / "spool", sources=Sources({}, file)) as running:
        connection = running.connect()
        headers = ("X-Team: red", "x-user: 7")
        ask(connection, "1", *headers)
        ask(connection, "2", *headers)
        config(file, running, capture_headers="[x-team, content-type]", variant="canary", max_body_bytes=1)
        ask(connection, "3", *headers)
        ask(connection, "4", *headers)
        config(file, running, capture_headers="[X-USER]", model_version=9)
        ask(connection, "5", *headers)
        config(file, running, sample_rate=0.0)
        ask(connection, "6", *headers)
        config(file, running, sample_rate=0.0, keep_headers="[x-user=7]")
        ask(connection, "7", *headers)
        ask(connection, "8", "x-user: 8")
        connection.close()
        found = by_id(running.events())
    assert sorted(found) == ["1", "2", "3", "4", "5", "7"]
    assert [found[number].request.headers for number in "12345"] == [
        {},
        {},
        {"x-team": "red"},
        {"x-team": "red"},
        {"x-user": "7"},
    ]
    assert [found[number].variant for number in "12345"] == ["stable", "stable", "canary", "canary", "stable"]
    assert [found[number].truncated for number in "12345"] == [False, False, True, True, False]
    assert [found[number].model_version for number in "145"] == ["", "", "9"]
    assert found["7"].sample_rate == 1.0


def test_headers_of_answers_change_too(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Node: a\r\nContent-Length: 2\r\n\r\n{}"
    upstream, file = Upstream(answering(answer)), tmp_path / "conf.yaml"
    config(file)
    with sidecar(upstream.url, tmp_path / "spool", sources=Sources({}, file)) as running:
        connection = running.connect()
        ask(connection, "1")
        ask(connection, "2")
        config(file, running, capture_headers="[x-node]")
        ask(connection, "3")
        connection.close()
        found = by_id(running.events())
    assert upstream.connections == 1
    upstream.close()
    assert [found[number].response.headers for number in "123"] == [{}, {}, {"x-node": "a"}]


def test_a_wrong_configuration_is_refused_whole_and_the_old_one_stays(
    upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "conf.yaml"
    config(file)
    with sidecar(upstream.url, tmp_path / "spool", sources=Sources({}, file)) as running:
        config(file, running, variant="canary", sample_rate=7, listen_prt=1)
        text = running.admin("/metrics")
        running.ask(post(b"{}", "x-request-id: 1"))
        config(file, running, variant="canary")
        healed = running.admin("/metrics")
        running.ask(post(b"{}", "x-request-id: 2"))
        found = by_id(running.events())
    assert [found[number].variant for number in "12"] == ["stable", "canary"]
    assert 'driftline_config_reloads_total{outcome="refused"} 1.0' in text
    assert "driftline_config_last_reload_successful 0.0" in text
    assert 'driftline_config_reloads_total{outcome="applied"} 1.0' in healed
    assert "driftline_config_last_reload_successful 1.0" in healed
    refused = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert len(refused) == 2
    assert "sample_rate is 7" in refused[1]
    assert "'listen_prt' is not a setting; did you mean 'listen_port'?" in refused[0]


def test_a_configuration_that_cannot_be_followed_counts_as_refused_and_the_next_one_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    config(file)
    taken = []

    async def take(settings: SidecarSettings, _shipper: ShipperSettings | None) -> None:
        taken.append(settings.variant)
        if settings.variant == "odd":
            raise RuntimeError("nobody thought of that")

    async def follow_both() -> dict[str, int]:
        reloader = Reloader(Sources({}, file), SidecarSettings(), take)
        following = asyncio.create_task(reloader.run())
        for outcome, variant in (("refused", "odd"), ("applied", "even")):
            config(file, variant=variant)
            reloader.ask()
            await asyncio.to_thread(wait_until, functools.partial(reloader.outcomes.get, outcome))
        following.cancel()
        return reloader.outcomes

    assert asyncio.run(follow_both()) == {"applied": 1, "refused": 1}
    assert taken == ["odd", "even"]


def test_what_cannot_change_is_named_and_left(
    upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "conf.yaml"
    config(file)
    with sidecar(upstream.url, tmp_path / "spool", sources=Sources({}, file)) as running:
        config(file, running, upstream="http://127.0.0.1:1", max_models=3)
        assert running.ask(post()).startswith(b"HTTP/1.1 200")
    (warning,) = [record.getMessage() for record in caplog.records if "only with a restart" in record.getMessage()]
    assert "upstream" in warning
    assert "max_models" not in warning


def test_a_changed_file_is_seen_without_a_signal(upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    config(file, watch_config_s=0.02)
    sources = Sources({}, file)
    with sidecar(upstream.url, tmp_path / "spool", sources=sources, watch_config_s=0.02) as running:
        config(file, watch_config_s=0.02, variant="seen")
        wait_until(lambda: running.sidecar.settings.variant == "seen")
        assert running.sidecar.reloader.outcomes["refused"] == 0


def test_annotations_of_the_pod_are_followed(upstream: Upstream, tmp_path: Path) -> None:
    annotations = tmp_path / "annotations"
    annotations.write_text('driftline.io/sample-rate="1"\n')
    sources = Sources({"DRIFTLINE_SIDECAR_WATCH_CONFIG_S": "0.02"}, annotations=annotations)
    with sidecar(upstream.url, tmp_path / "spool", sources=sources, watch_config_s=0.02) as running:
        annotations.write_text('driftline.io/sample-rate="0.25"\n')
        wait_until(lambda: running.sidecar.settings.sample_rate == 0.25)


@pytest.mark.slow
def test_twenty_reloads_under_load_lose_no_request_and_no_event(upstream: Upstream, tmp_path: Path) -> None:
    rates = [1.0, 0.5, 0.25, 0.75]
    file = tmp_path / "conf.yaml"
    config(file, sample_rate=1.0)
    stop, failures = threading.Event(), list[str]()
    sent: Counter[int] = Counter()

    def load(number: int) -> None:
        connection = running.connect()
        while not stop.is_set():
            answer = ask(connection, f"{number}-{sent[number]}", "x-team: red")
            if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"\r\n\r\n{}"):
                failures.append(answer)
                return
            sent[number] += 1
        connection.close()

    with sidecar(upstream.url, tmp_path / "spool", sources=Sources({}, file)) as running:
        clients = [threading.Thread(target=load, args=(number,)) for number in range(50)]
        for client in clients:
            client.start()
        for turn in range(20):
            headers = "[x-team]" if turn % 2 else "[]"
            config(file, running, sample_rate=rates[turn % 4], capture_headers=headers)
            reached = sum(sent.values()) + 100
            wait_until(lambda: sum(sent.values()) >= reached or bool(failures))  # noqa: B023
        stop.set()
        for client in clients:
            client.join(60)
        events = running.events()
        outcomes = running.outcomes()
    assert failures == []
    assert sum(sent.values()) >= 2000
    assert outcomes["requests"] == sum(sent.values()) == outcomes["logged"] + outcomes["sampled_out"]
    assert outcomes["logged"] == len(events)
    found = by_id(events)
    assert {event.sample_rate for event in events} == set(rates)
    assert all(is_sampled(name, event.sample_rate) for name, event in found.items())
    assert {str(event.request.headers) for event in events} == {"{}", "{'x-team': 'red'}"}


def test_nothing_that_is_written_after_a_reload_goes_by_the_old_rules(upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    config(file)
    stop = threading.Event()

    def load(number: int) -> None:
        with running.connect() as connection:
            while not stop.is_set():
                connection.sendall(post(b'{"user": "ada"}', f"x-request-id: {number}"))
                read_message(connection)

    with sidecar(upstream.url, tmp_path / "spool", sources=Sources({}, file)) as running:
        clients = [threading.Thread(target=load, args=(number,)) for number in range(8)]
        for client in clients:
            client.start()
        wait_until(lambda: running.outcomes()["logged"] > 200)
        config(file, running, redact="['json:$.user']")
        written = running.outcomes()["logged"]
        wait_until(lambda: running.outcomes()["logged"] > written + 200)
        stop.set()
        for client in clients:
            client.join(60)
        redacted = [event.redacted for event in running.events()]
        assert running.sidecar.reloader.outcomes == {"applied": 1, "refused": 0}
    unredacted = redacted.index(True)
    assert 200 < unredacted <= written
    assert all(redacted[unredacted:])


def test_the_command_refuses_to_start_with_every_fault_named_and_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "conf.yaml"
    file.write_text("sidecar: {sample_rat: 1, listen_port: 70000}\nshipper: {acks: most}\n")
    command = [sys.executable, "-m", "driftline", "sidecar", "--config", str(file), "--upstream", "model:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    for part in (
        "'sample_rat' is not a setting; did you mean 'sample_rate'?",
        "listen_port is 70000",
        "'most'",
        "'model:1'",
    ):
        assert part in done.stderr
    assert str(file) in done.stderr


@pytest.mark.slow
def test_sighup_is_followed_by_the_command_without_closing_a_connection(upstream: Upstream, tmp_path: Path) -> None:
    file, spool = tmp_path / "conf.yaml", tmp_path / "spool"
    [port] = free_ports(1)
    config(file, sinks="[]", listen_host="127.0.0.1", listen_port=port, admin_port=0, variant="before")
    command = [sys.executable, "-m", "driftline", "sidecar", "--config", str(file), "--upstream", upstream.url]
    started = subprocess.Popen([*command, "--spool-dir", str(spool)], stderr=subprocess.PIPE, text=True)
    assert started.stderr is not None
    try:
        assert "sidecar listens" in started.stderr.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            ask(connection, "1")
            config(file, sinks="[]", listen_host="127.0.0.1", listen_port=1, admin_port=0, variant="after")
            started.send_signal(signal.SIGHUP)
            assert "listen_port" in started.stderr.readline()
            assert "changed: variant" in started.stderr.readline()
            ask(connection, "2")
        started.terminate()
        assert started.wait(60) == 0
    finally:
        started.kill()
        started.communicate()
    found = by_id(spooled(spool))
    assert [found[number].variant for number in "12"] == ["before", "after"]
