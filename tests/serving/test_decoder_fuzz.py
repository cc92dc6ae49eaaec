"""Whatever a body holds, the decoder answers with columns or with DecodeError."""

import gzip
import json
import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.columns import ColumnBatch
from driftline.errors import DecodeError
from driftline.events import Payload
from serving import reasons
from serving.decoder import decode
from tests.serving.payload_examples import V2_REQUEST, V2_RESPONSE, event, monitor

MONITORS = (monitor(), monitor("regression", None), monitor("multiclass"))
BINARY_HEAD = json.dumps(
    {
        "inputs": [
            {"name": "age", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}},
            {"name": "city", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 12}},
        ]
    }
).encode()
SEEDS = (
    json.dumps(V2_REQUEST).encode(),
    json.dumps(V2_RESPONSE).encode(),
    json.dumps({"instances": [{"age": 1, "city": "a"}, {"age": None}]}).encode(),
    json.dumps({"inputs": {"age": [1, 2], "city": ["a", "b"]}}).encode(),
    json.dumps({"predictions": [[0.1, 0.9], [0.5, 0.5]]}).encode(),
    BINARY_HEAD + struct.pack("<2d", 1, 2) + struct.pack("<I2sI2s", 2, b"ab", 2, b"cd"),
    gzip.compress(json.dumps(V2_REQUEST).encode()),
)
#: What hand-made mutations put in: brackets, numbers at the edges, words of the protocol.
SPLINTERS = (
    b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"null", b"true", b"-1", b"1e999", b"9" * 400, b"NaN", b"Infinity",
    b'"shape"', b'"data"', b'"binary_data_size"', b"\xff", b"\x00", b"[" * 3000, b'"\\ud800"', b'{"a":' * 2000,
)  # fmt: skip


def decodes_or_refuses(request: Payload, response: Payload, protocol: str) -> None:
    for expected in MONITORS:
        batch, refusal = ColumnBatch(0), None
        try:
            batch = decode(event(request, response, protocol=protocol), expected)
        except DecodeError as error:
            refusal = error
        assert refusal is None or (refusal.reason in reasons.ALL and len(refusal.detail) < 1000)
        assert {len(values) for values in (*batch.numeric.values(), *batch.text.values())} <= {batch.rows}


def mutated(body: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(1, 4)):
        place, length = rng.randrange(len(body) + 1), rng.choice((0, 0, 1, 5, 40))
        body = body[:place] + rng.choice(SPLINTERS) * rng.choice((1, 1, 2)) + body[place + length :]
    return body


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_damaged_bodies_raise_nothing_but_decode_errors(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(750):
        headers = {"inference-header-content-length": str(len(BINARY_HEAD))} if rng.random() < 0.2 else {}
        request = Payload(body=mutated(rng.choice(SEEDS), rng), headers=headers)
        body = rng.choice(SEEDS)
        response = Payload(body=mutated(body, rng) if rng.random() < 0.5 else body)
        decodes_or_refuses(request, response, rng.choice(("v1", "v2", "")))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data", "parameters", "age", "city"]), inner)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(["inputs", "outputs", "instances", "predictions"])


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, JSON_VALUES), st.dictionaries(FIELDS, JSON_VALUES), st.sampled_from(["v1", "v2"]))
def test_json_of_any_structure_raises_nothing_but_decode_errors(request: Any, response: Any, protocol: str) -> None:
    decodes_or_refuses(
        Payload(body=json.dumps(request).encode()), Payload(body=json.dumps(response).encode()), protocol
    )


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([None, "gzip", "deflate", "br"]), st.none() | st.text(max_size=6))
def test_bytes_of_any_kind_raise_nothing_but_decode_errors(
    body: bytes, encoding: str | None, header: str | None
) -> None:
    headers = {} if header is None else {"inference-header-content-length": header}
    decodes_or_refuses(Payload(body=body, content_encoding=encoding, headers=headers), Payload(body=body), "v2")
    decodes_or_refuses(Payload(body=b"{" + body, headers=headers), Payload(body=body), "v1")
