"""A sidecar with rules: no byte under its spool holds a secret, and its streams arrive folded."""

import asyncio
import contextlib
import dataclasses
import gzip
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from driftline.events import InferenceEvent
from logger_sidecar.settings import SidecarSettings
from tests.logger_sidecar.wire import Running, Upstream, answering, post, sidecar
from tests.parts.processes import wait_until

SECRET = "ann.secret@example.com"
CHAT = "/v1/chat/completions"


def _answer(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _chunk(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"


STREAM = _chunk("mail ann.sec") + _chunk("ret@example.com", "stop") + b"data: [DONE]\n\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def streaming(upstream: Upstream, connection: socket.socket) -> None:
    """Answers every request with a chat's stream, in small pieces."""
    while upstream.read(connection):
        connection.sendall(STREAM_HEAD)
        for start in range(0, len(STREAM), 50):
            piece = STREAM[start : start + 50]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")


def _finishing_pid(running: Running) -> int | None:
    """The recorder's one child."""
    recorder = running.sidecar.recorder.pid
    children = Path(f"/proc/{recorder}/task/{recorder}/children").read_text().split()
    return int(children[0]) if children else None


def _bytes_under(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_a_stream_is_one_event_in_the_form_without_streaming(tmp_path: Path) -> None:
    upstream = Upstream(streaming)
    with sidecar(upstream.url, tmp_path / "spool") as running:
        assert running.ask(post(b"{}", path=CHAT)).endswith(b"0\r\n\r\n")
        (event,) = running.events()
    upstream.close()
    folded = json.loads(event.response.body)
    assert folded["object"] == "chat.completion"
    assert folded["choices"][0]["message"]["content"] == f"mail {SECRET}"
    assert folded["choices"][0]["finish_reason"] == "stop"
    assert event.response.content_type == "application/json"
    assert (event.chunk_count, event.stream_error) == (2, "")
    assert 0 < event.ttft_ms <= event.duration_ms


def _redacted_events(running: Running, secret: bytes, directory: Path) -> list[InferenceEvent]:
    events = running.events()
    assert secret not in _bytes_under(directory)
    return events


def test_no_byte_under_the_spool_holds_what_a_rule_names(tmp_path: Path) -> None:
    body = json.dumps({"user": "someone", "instances": [{"age": 3, "email": SECRET}]}).encode()
    upstream = Upstream(answering(_answer(gzip.compress(body), "Content-Encoding: gzip")))
    spool = tmp_path / "spool"
    rules = ("column:email", "header:x-user", "json:$.user => hash", "pattern:@email")
    key = tmp_path / "key"
    key.write_text("0123456789abcdef\n")
    changes = {"redact": rules, "redact_key_file": key, "capture_headers": ("x-user",)}
    with sidecar(upstream.url, spool, **changes) as running:
        for _ in range(20):
            running.ask(post(body, f"X-User: {SECRET}"))
        running.ask(post(f"plain text of {SECRET}".encode()))
        events = _redacted_events(running, SECRET.encode(), spool)
        left_out = running.sidecar.recorder.left_out
        outcomes = running.outcomes()
    upstream.close()
    assert (len(events), outcomes["logged"]) == (21, 21)
    assert all(event.redacted for event in events)
    request = json.loads(events[0].request.body)
    assert request["instances"] == [{"age": 3, "email": "[redacted]"}]
    assert request["user"].startswith("hmac:")
    assert json.loads(events[0].response.body) == request
    assert events[0].response.content_encoding is None
    assert events[0].request.headers["x-user"] == "[redacted]"
    assert (events[-1].request.body, left_out) == (b"", {"not_json": 1})


def test_a_secret_in_pieces_of_a_stream_does_not_reach_the_spool(tmp_path: Path) -> None:
    upstream = Upstream(streaming)
    spool = tmp_path / "spool"
    with sidecar(upstream.url, spool, redact=("pattern:@email",)) as running:
        running.ask(post(b"{}", path=CHAT))
        (event,) = _redacted_events(running, b"ret@example.com", spool)
    upstream.close()
    assert json.loads(event.response.body)["choices"][0]["message"]["content"] == "mail [redacted]"


def test_a_killed_child_costs_no_event_and_shows_no_secret(tmp_path: Path) -> None:
    upstream = Upstream(answering(_answer(b"{}")))
    spool = tmp_path / "spool"
    body = json.dumps({"user": SECRET}).encode()
    with sidecar(upstream.url, spool, redact=("json:$.user",), recorder_process=True) as running:
        for index in range(60):
            running.ask(post(body))
            if index % 20 == 10:
                wait_until(lambda enough=index - 5: running.outcomes().get("logged", 0) >= enough)  # type: ignore[misc]
                pid = _finishing_pid(running)
                with contextlib.suppress(ProcessLookupError):
                    if pid is not None:
                        os.kill(pid, signal.SIGKILL)
        events = _redacted_events(running, SECRET.encode(), spool)
        starts = running.sidecar.recorder.finishing_starts
    upstream.close()
    assert len(events) == 60
    assert starts >= 2


def test_rules_can_be_changed_while_it_runs(tmp_path: Path) -> None:
    upstream = Upstream(answering(_answer(b"{}")))
    body = json.dumps({"user": SECRET}).encode()
    with sidecar(upstream.url, tmp_path / "spool") as running:
        running.ask(post(body))
        wait_until(lambda: running.outcomes()["logged"] == 1)
        changed = _with_rules(running, ("json:$.user",))
        asyncio.run_coroutine_threadsafe(running.sidecar._follow(changed, None), running.loop).result(60)
        running.ask(post(body))
        events = running.events()
    upstream.close()
    assert [event.redacted for event in events] == [False, True]


def _with_rules(running: Running, rules: tuple[str, ...]) -> SidecarSettings:
    return dataclasses.replace(running.settings, redact=rules)


def test_wrong_rules_are_named_every_one() -> None:
    faults = SidecarSettings(
        redact=("json:user", "pattern:(?=a)", "column:a => hash", "header:x-request-id")
    ).validate()
    assert len(faults) == 4
    assert any("'json:user'" in fault for fault in faults)
    assert any("redact_key_file" in fault for fault in faults)


@pytest.mark.parametrize("content", [b"short", None])
def test_a_key_that_is_short_or_missing_is_a_fault(tmp_path: Path, content: bytes | None) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
    faults = SidecarSettings(redact=("column:a => hash",), redact_key_file=key).validate()
    assert len(faults) == 1
    assert str(key) in faults[0]
