"""Version 1 of the CloudEvents SDK, in an environment of its own, writes what our sources read; version 2 does so in
the tests of the sources."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.labels.from_seldon import read_feedback
from collector.sources.http_modes import read_request
from collector.sources.interpreting import Interpreter
from collector.sources.kafka_messages import Message, read_message
from driftline.halves import Half
from tests.clients.environments import python_of

pytestmark = pytest.mark.slow
INTERPRETER = Interpreter({"shop/flights"}, read_feedback)
WAYS = [("http", "binary"), ("http", "structured"), ("http", "batch"), ("kafka", "binary"), ("kafka", "structured")]


@pytest.fixture(scope="module")
def written(need: Callable[[str, Callable[[], Any]], Any]) -> list[dict[str, Any]]:
    python = need("version 1 of the CloudEvents SDK", lambda: python_of("cloudevents1"))
    program = Path(__file__).with_name("programs") / "cloudevents1.py"
    done = subprocess.run([python, program], capture_output=True, text=True, timeout=60, check=True)
    return list(json.loads(done.stdout))


@pytest.mark.parametrize(("by", "mode"), WAYS)
@pytest.mark.parametrize("kind", ["json", "bytes"])
def test_every_mode_gives_the_same_half(written: list[dict[str, Any]], by: str, mode: str, kind: str) -> None:
    (one,) = [one for one in written if (one["kind"], one["by"], one["mode"]) == (kind, by, mode)]
    body = base64.b64decode(one["body"])
    headers = [(name.lower(), value) for name, value in one["headers"].items()]
    if by == "http":
        (event,) = read_request(headers, {}, body, 0, 1 << 20)
        found: Any = INTERPRETER.read(event)
    else:
        spelt = [(name, value.encode()) for name, value in headers]
        found = read_message(Message("events", spelt, b"key", body, 0), INTERPRETER)
    assert isinstance(found, Half), found
    assert (found.model, found.namespace, found.request_id) == ("flights", "shop", "sdk-1")
    assert found.time_ns == 1795255200_500000000
    assert found.metadata == {"x-tenant": "a b, 50%"}
    if kind == "json":
        assert json.loads(found.payload.body) == {"instances": [[1.5, "ü"]]}
    else:
        assert found.payload.body == b"\x1f\x8b\x00\xff"
    assert found.payload.content_type == "application/json"
