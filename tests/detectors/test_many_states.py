"""States that are added to together are what they would be one by one, and short however they came about."""

import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.counts.many_states import plus_each
from detectors.counts.sparse import read_rows, write_rows
from detectors.counts.summary import SPARSE_BYTES, Section, StateError, WindowState
from tests.detectors.test_summary import ONE, OTHER

SIZE = 700  # more than what is written count by count when all of it is there
COUNTS = st.one_of(st.integers(-130, 130), st.integers(-(2**62), 2**62))
FEW = st.dictionaries(st.integers(0, SIZE - 1), COUNTS, max_size=8)
FULL = st.just(dict.fromkeys(range(SIZE), 1))


def _section(counts: dict[int, int], sums: tuple[int, ...] = ()) -> Section:
    values = np.zeros(SIZE, dtype=np.int64)
    values[list(counts)] = list(counts.values())
    return Section(values, sums)


PLAIN = st.builds(_section, st.one_of(FEW, FULL))
STORED = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from([ONE, OTHER]), PLAIN, max_size=2).map(lambda each: WindowState(each).to_bytes()),
)


@given(st.lists(st.tuples(STORED, PLAIN), max_size=6))
def test_many_states_are_added_to_as_each_alone(pairs: list[tuple[bytes | None, Section]]) -> None:
    states = [state for state, _ in pairs]
    sections = [section for _, section in pairs]
    alone = [
        (WindowState() if state is None else WindowState.from_bytes(state)).plus(ONE, section).to_bytes()
        for state, section in pairs
    ]
    assert plus_each(states, ONE, sections) == alone


def test_states_with_sums_are_added_to_one_by_one() -> None:
    section = _section({1: 2}, (5, -(1 << 200)))
    (first,) = plus_each([None], ONE, [section])
    (second,) = plus_each([first], ONE, [section])
    assert WindowState.from_bytes(second).sections[ONE].sums == (10, -(1 << 201))


def test_damaged_states_are_refused_among_sound_ones() -> None:
    section = _section({SIZE - 1: 300})
    (sound,) = plus_each([None], ONE, [section])
    place = sound.index((SIZE - 1).to_bytes(2, "little"))
    beyond = sound[:place] + SIZE.to_bytes(2, "little") + sound[place + 2 :]
    for damaged in (beyond, sound[:-1], b"DLW2" + sound[4:]):
        with pytest.raises(StateError):
            plus_each([sound, damaged], ONE, [section, section])


@given(arrays.arrays(np.int64, st.tuples(st.integers(0, 5), st.integers(0, 40)), elements=COUNTS))
def test_rows_read_back_as_they_were_written(rows: np.ndarray) -> None:
    written = write_rows(rows)
    assert np.array_equal(read_rows(written, rows.shape[1]), rows)
    assert written == [write_rows(row[np.newaxis])[0] for row in rows]


@given(st.lists(st.binary(max_size=30)), st.integers(0, 300))
@example([b"\x03\x00"], 5)  # three counts short of what it says, and so minus one of the others
def test_foreign_rows_are_refused_or_fit(written: list[bytes], size: int) -> None:
    with suppress(ValueError):
        assert read_rows(written, size).shape == (len(written), size)


def test_sections_of_earlier_versions_are_read_and_written_shorter() -> None:
    values = np.array([0, 0, 7, -1], dtype=np.int8)
    packed = zlib.compress(values.tobytes(), 1)
    head = struct.pack("<8sBII", bytes.fromhex(ONE), 0, len(values), len(packed))
    state = WindowState.from_bytes(b"DLW1" + head + packed)
    assert state.sections[ONE].values.tolist() == values.tolist()
    assert plus_each([b"DLW1" + head + packed], ONE, [Section(np.zeros(4, dtype=np.int64))]) == [state.to_bytes()]


def test_what_is_full_is_compressed() -> None:
    full = WindowState({ONE: _section(dict.fromkeys(range(SIZE), 1000))}).to_bytes()
    assert len(full) < 100 < SPARSE_BYTES
