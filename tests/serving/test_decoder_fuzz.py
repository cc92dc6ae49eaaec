"""Whatever a body holds, the decoder reads it right or refuses it; ``make fuzz`` tries a million."""

import itertools
import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import DecodeError
from driftline.events import Payload
from driftline.monitors import Monitor
from tests.parts.decoding import decode
from tests.serving import corpus, slow_reference
from tests.serving.fuzzing import (
    CURIOUS,
    MONITOR,
    TALK,
    check,
    check_batch,
    check_many,
    draw,
    mutated,
    plain_rows,
    sought_by,
)
from tests.serving.payload_examples import event
from tests.serving.slow_parts import RefusedError, UnknownError


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_damaged_bodies_are_read_right_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    tally: Counter[str] = Counter()
    for _ in range(10):
        check_many([draw(rng) for _ in range(100)], tally)
    # The damage is neither too small to refuse anything nor too large to read anything.
    assert min(tally["read"], tally["refused"], tally["compared"]) > 100


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["v2", "v1"])
def test_a_batch_of_good_and_damaged_events_is_the_sum_of_its_events(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    events = []
    alike = next(one for one in corpus.REQUESTS if one.name == kind)
    answers = [one for one in corpus.RESPONSES if one.name == kind]
    for _ in range(120):
        request, response, protocol, *_ = draw(rng)
        if rng.random() < 0.6:  # most of a real batch is alike
            answered = rng.choice(answers)
            damages = (rng.random() < 0.3, rng.random() < 0.1)
            request = alike.payload(mutated(alike.body, rng) if damages[0] else None)
            response = answered.payload(mutated(answered.body, rng) if damages[1] else None)
        events.append(event(request, response, protocol=protocol, status_code=rng.choice((200, 200, 200, 500))))
    for monitor in (MONITOR, CURIOUS):
        check_batch(events, monitor)


@pytest.mark.parametrize(
    ("reader", "family"), [(MONITOR, corpus.TABLES), (TALK, corpus.TALKS)], ids=["tables", "talks"]
)
def test_the_slow_reference_and_the_decoder_read_the_same_of_undamaged_payloads(
    reader: Monitor, family: frozenset[str]
) -> None:
    compared = set()
    for asked, answered in itertools.product(corpus.REQUESTS, corpus.RESPONSES):
        request, response = asked.payload(), answered.payload()
        try:
            rows = slow_reference.rows(request, response, sought_by(reader))
        except UnknownError:
            continue
        except RefusedError:
            with pytest.raises(DecodeError):
                decode(event(request, response), reader)
            continue
        found = plain_rows(decode(event(request, response), reader))
        assert found == [{name: value for name, value in row.items() if value is not None} for row in rows]
        compared |= {("request", asked.name), ("response", answered.name)}
    halves = {"request": corpus.REQUESTS, "response": corpus.RESPONSES}
    assert compared >= {(half, seed.name) for half, seeds in halves.items() for seed in seeds if seed.name in family}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "age", "city", "ndarray", "names", "content"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "inputs",
        "outputs",
        "instances",
        "predictions",
        "data",
        "messages",
        "choices",
        "prompt",
        "model",
        "input",
        "dataframe_split",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(FIELDS, JSON_VALUES), st.dictionaries(FIELDS, JSON_VALUES))
def test_json_of_any_structure_is_read_right_or_refused(request: Any, response: Any) -> None:
    check(Payload(body=json.dumps(request).encode()), Payload(body=json.dumps(response).encode()))


NUMBERS = st.none() | st.floats() | st.integers() | st.booleans()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.none() | st.text() | NUMBERS), max_size=5), st.booleans())
def test_any_table_of_values_is_read_as_the_slow_reference_reads_it(
    rows: list[tuple[Any, Any, Any]], is_nested: bool
) -> None:
    flat = [value for row in rows for value in row]
    tensor = {"name": "x", "datatype": "FP64", "shape": [len(rows), 3], "data": rows if is_nested and rows else flat}
    answer = corpus.RESPONSES[0].payload()
    for request in ({"inputs": [tensor]}, {"instances": rows}):
        check(Payload(body=json.dumps(request).encode()), answer)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=60), st.sampled_from([None, "gzip", "deflate", "br", "zstd"]), st.none() | st.text(max_size=6)
)
def test_bytes_of_any_kind_raise_nothing_but_decode_errors(
    body: bytes, encoding: str | None, header: str | None
) -> None:
    headers = {} if header is None else {"inference-header-content-length": header}
    check(Payload(body=body, content_encoding=encoding, headers=headers), Payload(body=body))
    check(Payload(body=b"{" + body, headers=headers), Payload(body=body))
