"""The codecs read what the encoders of real clients write."""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftline.errors import DecodeError
from driftline.events import Payload
from serving import reasons
from tests.clients.environments import python_of
from tests.serving.codecs.reading_examples import columns, monitor_of

pytestmark = pytest.mark.real

_PROGRAM = Path(__file__).parent / "programs" / "encode_payloads.py"
MONITOR = monitor_of(
    [{"name": "a", "type": "numeric"}, {"name": "b", "type": "categorical"}, {"name": "c", "type": "numeric"}]
)
A = [0.5, -2.0, float(np.float32(1e-3))]
ROWS: dict[str, list[Any]] = {"a": A, "b": ["Paris", "Köln", ""], "c": [1.0, -float(2**40), 0.0]}
Need = Callable[[str, Callable[[], Any]], Any]


def payloads(need: Need, environment: str, encoder: str) -> dict[str, list[Payload]]:
    """What the encoder wrote, by name."""
    python = need(f"the clients of {encoder}", lambda: python_of(environment))
    done = subprocess.run([python, _PROGRAM, encoder], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[Payload]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            item = json.loads(line)
            made = Payload(body=base64.b64decode(item["body"]), headers=item["headers"])
            found.setdefault(item["name"], []).append(made)
    return found


def test_tritons_client(need: Need) -> None:
    found = payloads(need, "clients", "triton")
    for name in ("http binary", "http json", "http without its header", "grpc frame", "grpc bare"):
        for payload in found.pop(name):
            assert columns(payload, monitor=MONITOR) == ROWS, name
    (half,) = found.pop("half precision")
    assert columns(half, monitor=MONITOR)["a"] == [float(np.float16(value)) for value in A]
    (brain,) = found.pop("brain floats")
    assert columns(brain, monitor=MONITOR)["a"] == pytest.approx(A, rel=2**-7)
    with pytest.raises(DecodeError) as refused:
        columns(found.pop("shared memory")[0], monitor=MONITOR)
    assert refused.value.reason == reasons.NOT_OBSERVABLE
    assert not found


@pytest.mark.parametrize(("environment", "count"), [("kserve", 4), ("mlserver", 4)])
def test_kserves_sdk_and_mlservers_codecs(need: Need, environment: str, count: int) -> None:
    found = payloads(need, environment, environment)
    only = found.pop("numpy rest", [])
    for payload in only:
        assert columns(payload, monitor=monitor_of([{"name": "a", "type": "numeric"}]))["a"] == A
    assert len(found) == count
    for name, made in found.items():
        for payload in made:
            assert columns(payload, monitor=MONITOR) == ROWS, name
