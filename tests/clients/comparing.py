"""Direct and through the sidecar: the same on the wire, and logged as it was said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from driftline import names
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from tests.clients.servers import Server
from tests.clients.tap import Message, Tap
from tests.logger_sidecar.wire import sidecar
from tests.parts.decoding import decode

ROWS = {"a": [0.0, 1.0, 2.0], "b": [5.0, 6.0, 7.5], "y": [16.0, 21.0, 27.5]}
MONITOR = Monitor.model_validate(
    {
        "model": "line",
        "task": "regression",
        "columns": [{"name": "a", "type": "numeric"}, {"name": "b", "type": "numeric"}],
        "prediction": {"column": "y"},
    }
)
#: What the sidecar adds, in both directions, where it is not there.
_ADDED = names.HEADER_REQUEST_ID
#: What says when an answer was made, and what concerns one connection only (RFC 9110, section 7.6.1).
_APART = ("date", "connection")


@dataclass(slots=True)
class Both:
    """What a client saw without and with the sidecar, and what was logged."""

    direct: list[Any]
    through: list[Any]
    requests: list[Message]
    answers: list[Message]
    events: list[InferenceEvent]


def ask_both(ask: Callable[[str], Sequence[Any]], server: Server, directory: Path) -> Both:
    """Ask the server directly and through a sidecar; asserts that both saw the same on the wire."""
    with Tap(server.port) as straight:
        direct = list(ask(straight.url))
        with Tap(server.port) as inside, sidecar(f"http://127.0.0.1:{inside.port}", directory) as running:
            with Tap(running.sidecar.listen_port) as outside:
                through = list(ask(outside.url))
                requests, answers = outside.requests(), outside.answers()
            _assert_same_requests(requests, inside.requests())
            _assert_same_answers(straight.answers(), answers)
            events = running.events()
    return Both(direct, through, requests, answers, events)


def _assert_same_requests(sent: Sequence[Message], received: Sequence[Message]) -> None:
    """What the server was asked is what the client asked, with an id where it gave none in a header."""
    assert sent
    # The sidecar may take other connections than the client did; requests of one client come one after the other.
    assert [_plain(one, like) for one, like in zip(received, sent, strict=True)] == list(sent)


def _assert_same_answers(direct: Sequence[Message], through: Sequence[Message]) -> None:
    """What the client was answered is what it would have been answered directly, with the request's id."""
    for one, like in zip(through, direct, strict=True):
        found, expected = _plain(one, like).without(*_APART), like.without(*_APART)
        assert found == expected, f"{found} instead of {expected}"


def _plain(message: Message, like: Message) -> Message:
    return message.without(_ADDED) if like.header(_ADDED) is None else message


def assert_logged(both: Both, *, decoded: bool = True) -> None:
    """Every inference is one event with its bodies as they were on the wire; what succeeded decodes to the rows."""
    answers = [answer for answer in both.answers if answer.first != "100"]
    pairs = [
        (request, answer)
        for request, answer in zip(both.requests, answers, strict=True)
        if request.first.startswith("POST") and request.first.endswith(("infer", "predict", "completions"))
    ]
    assert len(both.events) == len(pairs), f"{len(both.events)} events of {len(pairs)} inferences"
    for event, (request, answer) in zip(both.events, pairs, strict=True):
        assert event.request.body == request.body
        assert event.response.body == answer.body
        assert event.status_code == int(answer.first)
        assert event.request.content_type == request.header("content-type")
        assert event.request_id == answer.header(names.HEADER_REQUEST_ID)
        if decoded and event.status_code == 200:
            assert_rows(event)


def assert_rows(event: InferenceEvent) -> None:
    """The event decodes to the rows that were asked for and what the model makes of them."""
    found = decode(event, MONITOR)
    # Approximately: a fitted line's coefficients are not exact.
    assert {name: values.tolist() for name, values in found.numeric.items()} == {
        name: pytest.approx(values) for name, values in ROWS.items()
    }
