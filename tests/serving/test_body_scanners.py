"""What the compiled build reads in one pass is what JSON says, and what the other ways read of the same bodies."""

import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.columns import CodedTexts
from driftline.events import InferenceEvent, Payload
from driftline.joined_bytes import JoinedBytes, Positions
from driftline.monitors import Monitor
from serving.body_scanners import IDS, NUMBERS, TEXTS, MakeScanner, Scanned, Scanner, scanners
from serving.decode_many import decode_many
from tests.serving.fuzzing import plain_rows
from tests.serving.payload_examples import event

_decode = msgspec.json.Decoder(list[float | int | str | bool | None]).decode
pytestmark = pytest.mark.skipif(scanners() is None, reason="this build has no scanner")


def scan(kind: int, count: int, gaps: Sequence[bytes]) -> Scanned:
    make = scanners()
    assert make is not None
    joined = JoinedBytes([b"[" + gap + b"]" for gap in gaps])
    return make((b"[", b"]"), [(kind, count)]).scan(joined.text, joined.starts, joined.ends)


def read_as_json(gap: bytes) -> list[Any] | None:
    try:
        return _decode(b"[" + gap + b"]")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


# --- numbers ----------------------------------------------------------------------------------------------------------
def is_finite(spelt: str) -> bool:
    return math.isfinite(float(spelt))


FINITE = st.floats(allow_nan=False, allow_infinity=False)
SPELT = st.one_of(
    FINITE.map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda number: repr(float(np.float32(number)))),
    st.tuples(FINITE, st.integers(0, 25)).map(lambda drawn: f"{drawn[0]:.{drawn[1]}e}").filter(is_finite),
    st.tuples(st.floats(-1e9, 1e9), st.integers(1, 25)).map(lambda drawn: f"{drawn[0]:.{drawn[1]}f}"),
    st.integers(-(10**15) + 1, 10**15 - 1).map(str),
    # Half-way between two float64: digits below decide.
    st.tuples(st.integers(2**53, 2**54 - 1), st.integers(0, 19)).map(
        lambda drawn: f"{drawn[0] // 10 ** drawn[1]}.{drawn[0] % 10 ** drawn[1]:0{max(drawn[1], 1)}d}"
    ),
    st.just("null"),
)
BROKEN = st.text("0123456789.eE+-nul ", max_size=12)


@given(st.lists(SPELT, min_size=1, max_size=6))
def test_every_number_is_the_one_that_json_says_to_the_last_bit(spelt: list[str]) -> None:
    found = scan(NUMBERS, len(spelt), [" , ".join(spelt).encode()])
    assert found.fits.tolist() == [True]
    (numbers,) = found.gaps
    expected = [math.nan if each is None else float(each) for each in json.loads(f"[{','.join(spelt)}]")]
    assert [struct.pack("d", each) for each in numbers] == [struct.pack("d", each) for each in expected]


@given(st.lists(st.one_of(BROKEN, SPELT), max_size=9))
def test_what_json_does_not_say_does_not_fit(spelt: list[str]) -> None:
    gaps = [each.encode() for each in spelt]
    found = scan(NUMBERS, 1, gaps)
    kept = iter(list(found.gaps[0]))
    for gap, fits in zip(gaps, found.fits.tolist(), strict=True):
        if fits:
            (value,) = read_as_json(gap) or [()]
            assert value is None or type(value) in {int, float}
            assert struct.pack("d", next(kept)) == struct.pack("d", math.nan if value is None else value)


# --- texts ------------------------------------------------------------------------------------------------------------
QUOTED = st.one_of(
    st.text(max_size=9).map(lambda text: json.dumps(text).encode()),
    st.text(max_size=9).map(lambda text: json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"null", b'"]"', b'"a', b"a", b"nul", b'""', b'"\xff"', b'"\x00"', b'"\x1f"', b'"\x7f"', b'"a" x']
    ),
)


@given(st.lists(QUOTED, max_size=90))
def test_a_text_that_fits_is_the_one_that_json_says(gaps: list[bytes]) -> None:
    found = scan(TEXTS, 1, gaps)
    kept = iter(list(found.gaps[0]))
    for gap, fits in zip(gaps, found.fits.tolist(), strict=True):
        plain = gap.decode(errors="replace").isprintable() and gap.count(b'"') == 2 and b"\\" not in gap
        assert not fits or read_as_json(gap) == [next(kept)]
        assert fits or not plain or read_as_json(gap) is None


def test_texts_that_come_again_are_kept_once() -> None:
    gaps = [b'"%d"' % (place % 700) for place in range(5000)]
    (texts,) = scan(TEXTS, 1, gaps).gaps
    assert isinstance(texts, CodedTexts)
    assert len(texts.texts) == 700
    assert list(texts) == [gap[1:-1].decode() for gap in gaps]


# --- bodies -----------------------------------------------------------------------------------------------------------
def test_a_body_fits_to_its_last_byte_and_an_id_may_differ() -> None:
    make = scanners()
    assert make is not None
    scanner = make((b'{"id":"', b'","x":[', b"]}"), [(IDS, 0), (NUMBERS, 2)])
    bodies = [b'{"id":"%b","x":[1,2]}' % name for name in (b"", b"r-1", b"x" * 64, b"x" * 65, b'a\\"b', b"\xc3\xa9")]
    bodies += [b'{"id":"r","x":[1,2]} ', b'{"id":"r","x":[1,2]', b'{"id":"r","x":[1,2,3]}', b'{"id":"r","x":[1]}', b""]
    joined = JoinedBytes(bodies)
    found = scanner.scan(joined.text, joined.starts, joined.ends)
    assert found.fits.tolist() == [True, True, True, *[False] * 8]
    assert found.gaps[0].tolist() == [1.0, 2.0] * 3  # type: ignore[union-attr]
    # Positions outside the text, and ends before starts, are no bodies.
    for start, end in ((-1, 5), (5, 2), (0, len(joined.text) + 1)):
        assert not scanner.scan(joined.text, np.array([start]), np.array([end])).fits.any()


MONITOR = Monitor.model_validate(
    {
        "model": "credit",
        "task": "multiclass",
        "columns": [
            {"name": "x1", "type": "numeric"},
            {"name": "x2", "type": "categorical"},
            {"name": "age", "type": "numeric"},
            {"name": "city", "type": "categorical"},
        ],
        "tensors": {"x": ["x1", "x2"]},
        "prediction": {"column": "default", "score": "score"},
    }
)
VALUES = (
    "1", "2.5", "0.1", "-0", "-0.0", "null", "true", "1e15", "123456789012345678", "1e400", '"2.5"', '"Rom"', '"é"',
    '"\\u00e9"', '""', "[1]", "", "1,2", " 7 ",
)  # fmt: skip


class Watched:
    """Makes scanners, and counts the bodies that fit."""

    def __init__(self, make: MakeScanner) -> None:
        self.fitting = 0
        self._make = make

    def __call__(self, pieces: tuple[bytes, ...], gaps: Sequence[tuple[int, int]]) -> Scanner:
        watched, scanner = self, self._make(pieces, gaps)

        class Counting:
            def scan(self, text: bytes, starts: Positions, ends: Positions) -> Scanned:
                found = scanner.scan(text, starts, ends)
                watched.fitting += int(found.fits.sum())
                return found

        return Counting()


def made(values: Sequence[str]) -> InferenceEvent:
    first, second, age, city, late, score = values
    request = (
        f'{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"FP64","data":[{first},{second}]}},'
        f'{{"name":"age","shape":[1],"datatype":"FP64","data":[{age}]}},'
        f'{{"name":"city","shape":[1],"datatype":"BYTES","data":[{city}]}}]}}'
    )
    response = (
        f'{{"outputs":[{{"name":"default","shape":[1],"datatype":"INT64","data":[{late}]}},'
        f'{{"name":"score","shape":[1],"datatype":"FP64","data":[{score}]}}]}}'
    )
    return event(Payload(body=request.encode()), Payload(body=response.encode()))


@given(st.lists(st.tuples(*[st.sampled_from(VALUES)] * 6), max_size=20), st.integers(0, 20))
def test_a_batch_is_read_as_it_is_without_a_scanner(drawn: list[tuple[str, ...]], usual: int) -> None:
    make = scanners()
    assert make is not None
    plain = ("1.5", "2", "30", '"Oslo"', "1", "0.25")
    events = [made(values) for values in [plain, *drawn, *[plain] * usual]]
    watched = Watched(make)
    with_scanner, without = decode_many(events, MONITOR, make_scanner=watched), decode_many(events, MONITOR)
    assert plain_rows(with_scanner.columns) == plain_rows(without.columns)
    assert with_scanner.events.tolist() == without.events.tolist()
    told = [[(place, error.reason, error.detail) for place, error in each.faults] for each in (with_scanner, without)]
    assert told[0] == told[1]
    for name, coded in with_scanner.columns.coded.items():
        assert list(coded) == with_scanner.columns.text[name].tolist()
    assert watched.fitting >= 2 * usual * (usual >= 8)
