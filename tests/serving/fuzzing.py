"""Damaging payloads, and what must hold of whatever comes out of that.

1. Nothing but DecodeError is raised, with a reason of the list that is not our own fault.
2. Columns have as many values as there are rows, and vectors the length that the monitor says.
3. Where the payload still decodes, its rows are those that ``slow_reference`` reads from the same bytes.
4. In one batch with other events each event has the rows, or the fault, that it has alone.
"""

import contextlib
import functools
import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from driftline.columns import ColumnBatch, DecodedBatch
from driftline.errors import DecodeError
from driftline.events import InferenceEvent, Payload
from driftline.monitors import Monitor
from serving import reasons
from serving.decode_many import BatchDecoder
from tests.parts.decoding import decode
from tests.serving import corpus, slow_reference
from tests.serving.payload_examples import event, monitor
from tests.serving.slow_parts import RefusedError, Sought, UnknownError

MONITOR = monitor()
#: With what this build has: a batch is read by it, one event is not.
DECODE = BatchDecoder()
#: Looks at texts.
TALK = monitor(
    columns=(
        ("prompt", "categorical"),
        ("system", "categorical"),
        ("conversation", "categorical"),
        ("messages", "numeric"),
        ("images", "numeric"),
        ("tools", "numeric"),
    ),
    prediction={"column": "answer", "score": "total_tokens"},
)
#: Looks at everything: places, features, all rows of lists.
CURIOUS = Monitor.model_validate(
    {
        "model": "credit",
        "task": "multiclass",
        "columns": [
            {"name": "age", "type": "numeric"},
            {"name": "words", "type": "numeric", "from": "prompt", "as": "words"},
            {"name": "script", "type": "categorical", "from": "city", "as": "script"},
            {"name": "norm", "type": "numeric", "from": "response.embedding", "as": "norm"},
            {"name": "said", "type": "categorical", "from": "response.answer"},
            {"name": "second", "type": "numeric", "from": "inputs[*].shape[0]"},
            {"name": "deep", "type": "categorical", "from": "messages[-1].content[0].text"},
            {"name": "total", "type": "numeric", "from": "response.usage.total_tokens"},
            {"name": "size", "type": "numeric", "from": "body", "as": "bytes"},
            {"name": "x1", "type": "numeric"},
            {"name": "x2", "type": "categorical"},
            {"name": "x3", "type": "numeric"},
        ],
        "tensors": {"x": ["x1", "x2", "x3"]},
        "vectors": [{"name": "e", "dimension": 3}, {"name": "meaning", "dimension": 2, "from": "response.embedding"}],
        "raw_datatype": "FP32",
        "prediction": {"column": "default", "from": "finish_reason"},
    }
)
#: What mutations put in: brackets, numbers at the edges, words of protocols, bytes that mean something on a wire.
SPLINTERS = (
    b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"null", b"true", b"-1", b"1e999", b"9" * 400, b"NaN", b"Infinity",
    b'"shape"', b'"data"', b'"binary_data_size"', b"\xff", b"\x00", b'"\\ud800"', b"\n",
    b'"datatype":"BYTES"', b'"b64"', b"0.5", b"2", b'"age"', b"[[", b"]]", b"\x0a", b"\x2a", b"\x80\x01", b"data: ",
    b"-0", b"1.0", b"e5", b'"2.5"', b" ", b"\xef\xbb\xbf", b"\x1f\x8b",
)  # fmt: skip


#: Rarer, because they take long: nested deeper than anything should be.
DEEP = (b"[" * 3000, b'{"a":' * 2000)
#: What values are replaced with.
VALUES = (
    b"0", b"1", b"2", b"3", b"-1", b"7.25", b"1e3", b"1e999", b"123456789012345678901234567890", b"0.1", b"NaN",
    b"true", b"false", b"null", b'"x"', b'""', b'"2.5"', b'"inf"', b'"1_0"', b'" 3 "', b"[1]", b"[]", b"{}",
    b'{"b64":"AQ=="}', b'"age"', b'"city"', b'"FP64"', b'"BYTES"', b'"INT8"', b'"default"', b"[1,2]", b"-0.0",
    b"5e-324",
)  # fmt: skip
_SCALARS = re.compile(rb'-?\d+(?:\.\d+)?|"[a-zA-Z]*"')
#: Payloads that go together, the monitor that can read them, and how often they are drawn; the last are any with any.
_FAMILIES = (
    (0.55, MONITOR, corpus.TABLES),
    (0.25, TALK, corpus.TALKS),
    (0.2, None, frozenset(seed.name for seed in (*corpus.REQUESTS, *corpus.RESPONSES))),
)


def mutated(body: bytes, rng: random.Random) -> bytes:
    """The body with one of its values, bytes, pieces or members changed; sometimes with several."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if rng.random() < 0.3:
            body = _with_other_members(body, rng)
            continue
        place, kind = rng.randrange(len(body) + 1), rng.randrange(8)
        if kind < 3 and (values := list(_SCALARS.finditer(body))):
            value = rng.choice(values)
            body = body[: value.start()] + rng.choice(VALUES) + body[value.end() :]
        elif kind == 3 and place < len(body):
            body = body[:place] + bytes([body[place] ^ 1 << rng.randrange(8)]) + body[place + 1 :]
        elif kind == 4 and place < len(body):
            body = body[:place] + bytes([rng.randrange(256)]) + body[place + 1 :]
        elif kind == 5:
            body = body[:place] + body[place + rng.choice((1, 1, 2, 5, 40)) :]
        elif kind == 6:
            end = place + rng.choice((1, 2, 5, 40))
            body = body[:end] + body[place:end] + body[end:]
        else:
            splinter = rng.choice(SPLINTERS if rng.random() < 0.99 else DEEP)
            body = body[:place] + splinter + body[place + rng.choice((0, 0, 1, 5, 40)) :]
    return body


def _with_other_members(body: bytes, rng: random.Random) -> bytes:
    """A JSON document with a member less, twice, elsewhere or under another name; other bodies as they are."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body
    holders = list(_holders(document))
    if not holders:
        return body
    holder, key = rng.choice(holders)
    _, other = rng.choice(holders)
    kind = rng.randrange(4)
    if kind == 0:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), rng.choice((holder[key], [holder[key]], {"a": holder[key]})))
    elif kind == 1 and isinstance(other, str):
        holder[other] = holder.pop(key)
    else:
        holder[key] = rng.choice(([holder[key]], {"a": holder[key]}, json.loads(body), None))
    try:
        return json.dumps(document).encode()
    except (ValueError, RecursionError):  # it holds itself
        return body


def _holders(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every object and list within a value, with the place of each of its members."""
    members = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, member in members:
        yield value, key
        yield from _holders(member)


@functools.cache
def _fitting(asked: corpus.Seed, *, is_talk: bool) -> list[corpus.Seed]:
    """The answers with which a request is read, both undamaged."""
    fits = []
    for answered in corpus.RESPONSES:
        with contextlib.suppress(DecodeError):
            decode(event(asked.payload(), answered.payload()), TALK if is_talk else MONITOR)
            fits.append(answered)
    return fits


class Drawn(NamedTuple):
    """An event of damaged payloads: how many of the two are, and the protocol that the event claims.

    ``reader``: the monitor that their kind is for; None where that is not known.
    """

    request: Payload
    response: Payload
    protocol: str
    damaged: int
    reader: Monitor | None = None


def draw(rng: random.Random) -> Drawn:
    """A damaged request, an answer, damaged or whole, and the protocol that the event claims."""
    [(_, reader, family)] = rng.choices(_FAMILIES, [weight for weight, _, _ in _FAMILIES])
    asked = rng.choice([seed for seed in corpus.REQUESTS if seed.name in family])
    # An answer of other rows is refused whatever else is wrong.
    answered = rng.choice((rng.random() < 0.8 and _fitting(asked, is_talk=reader is TALK)) or corpus.RESPONSES)
    damages = (rng.random() < 0.8, rng.random() < 0.3)
    request = asked.payload(mutated(asked.body, rng) if damages[0] else None)
    response = answered.payload(mutated(answered.body, rng) if damages[1] else None)
    return Drawn(request, response, rng.choice(("v1", "v2", "v2-grpc", "openai", "")), sum(damages), reader)


def check(request: Payload, response: Payload, protocol: str = "", tally: Counter[str] | None = None) -> None:
    """Hold one event to what must hold; raises AssertionError."""
    check_many([Drawn(request, response, protocol, 2)], Counter() if tally is None else tally)


def check_many(
    drawn: Sequence[Drawn], tally: Counter[str], monitors: Sequence[Monitor] = (MONITOR, TALK, CURIOUS)
) -> None:
    """Hold events, decoded in one batch, to what must hold; raises AssertionError that shows the payloads."""
    for expected in monitors:
        mine = [one for one in drawn if expected is CURIOUS or one.reader in (None, expected)]
        events = [event(one.request, one.response, protocol=one.protocol) for one in mine]
        batch = DECODE(events, expected)
        faults = dict(batch.faults)
        tally["refused"] += len(faults)
        tally["read"] += len(events) - len(faults)
        for values in (*batch.columns.numeric.values(), *batch.columns.text.values()):
            rows = (len(values), batch.columns.rows, len(batch.events), len(batch.rows))
            assert len(set(rows)) == 1, f"{rows} rows"
        for vector in expected.vectors:
            if vector.name in batch.columns.vectors:
                assert batch.columns.vectors[vector.name].shape == (batch.columns.rows, vector.dimension)
        for fault in faults.values():
            _check_fault(fault)
        if expected is not CURIOUS:
            _check_rows(mine, _rows_of(batch), faults, tally, sought_by(expected))


def sought_by(expected: Monitor) -> Sought:
    """What the slow reference is asked for in a monitor's place."""
    columns = {column.name: str(column.type) for column in expected.columns}
    return Sought(columns, expected.prediction.column, str(expected.prediction.score))


def _rows_of(batch: DecodedBatch) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for place, row in zip(batch.events.tolist(), plain_rows(batch.columns), strict=True):
        found.setdefault(place, []).append(row)
    return found


def check_batch(events: Sequence[InferenceEvent], expected: Monitor) -> None:
    """Each event must have the same rows, or the same fault, in one batch as alone."""
    batch = DECODE(events, expected)
    faults = dict(batch.faults)
    listed = plain_rows(batch.columns)
    for place, one in enumerate(events):
        alone = _outcome(one, expected)
        if isinstance(alone, DecodeError):
            assert (faults[place].reason, faults[place].detail) == (alone.reason, alone.detail)
            continue
        assert place not in faults
        mine = [row for row, owner in zip(listed, batch.events.tolist(), strict=True) if owner == place]
        assert mine == plain_rows(alone)
        assert batch.rows[batch.events == place].tolist() == list(range(len(mine)))


def plain_rows(batch: ColumnBatch) -> list[dict[str, Any]]:
    """Each row by name, without what is missing."""
    listed = {name: values.tolist() for name, values in (*batch.numeric.items(), *batch.text.items())}
    for name, vectors in batch.vectors.items():
        listed[name] = [None if any(map(math.isnan, vector)) else vector for vector in vectors.tolist()]
    return [
        {name: values[row] for name, values in listed.items() if not _is_missing(values[row])}
        for row in range(batch.rows)
    ]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _outcome(one: InferenceEvent, expected: Monitor) -> ColumnBatch | DecodeError:
    try:
        return decode(one, expected)
    except DecodeError as error:
        return error


def _check_fault(fault: DecodeError) -> None:
    assert fault.reason in reasons.ALL, fault.reason
    assert fault.reason != reasons.DECODER_FAULT, fault.detail
    assert len(fault.detail) <= 1000, fault.detail


def _check_rows(
    drawn: Sequence[Drawn],
    found: Mapping[int, list[dict[str, Any]]],
    faults: Mapping[int, DecodeError],
    tally: Counter[str],
    sought: Sought,
) -> None:
    for place, one in enumerate(drawn):
        if place in faults:
            continue
        rows = found.get(place, [])
        try:
            expected = slow_reference.rows(one.request, one.response, sought)
        except UnknownError:
            tally["not_compared"] += 1
            continue
        except RefusedError:
            raise AssertionError(f"read rows that are not there: {rows}, from {one}") from None
        tally["compared"] += 1
        without = [{name: value for name, value in row.items() if value is not None} for row in expected]
        assert rows == without, f"read {rows}, where there are {without}, from {one}"
