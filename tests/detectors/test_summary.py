"""Window states add up exactly, whatever the split and the order."""

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.counts.summary import Section, StateError, WindowState, exact_sum, merge, to_float

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
ONE, OTHER = "0123456789abcdef", "fedcba9876543210"
VECTORS = arrays.arrays(np.int64, 5, elements=st.integers(-(2**40), 2**40))
SECTIONS = st.builds(Section, VECTORS, st.tuples(st.integers(-(2**300), 2**300), st.integers(-1, 1)))
STATES = st.dictionaries(st.sampled_from([ONE, OTHER]), SECTIONS).map(WindowState)


@given(STATES, STATES, STATES)
def test_merging_is_associative_and_commutative_to_the_byte(a: WindowState, b: WindowState, c: WindowState) -> None:
    left = merge([merge([a, b]), c]).to_bytes()
    assert left == merge([a, merge([b, c])]).to_bytes() == merge([c, b, a]).to_bytes()


@given(STATES)
def test_bytes_read_back_to_the_same_state(state: WindowState) -> None:
    data = state.to_bytes()
    again = WindowState.from_bytes(data)
    assert again.to_bytes() == data
    for name, section in again.sections.items():
        assert np.array_equal(section.values, state.sections[name].values)
        assert section.sums == state.sections[name].sums


def test_a_section_of_zeros_is_as_good_as_none() -> None:
    zeros = WindowState({ONE: Section(np.zeros(5, dtype=np.int64), (0, 0))})
    assert zeros.to_bytes() == WindowState().to_bytes()


@given(st.lists(FINITE, max_size=40))
def test_exact_sums_equal_those_of_fractions(values: list[float]) -> None:
    total = exact_sum(np.array(values), np.ones(len(values), dtype=np.int64))
    assert Fraction(total, 1 << 1126) == sum(map(Fraction, values), Fraction(0))


@given(st.lists(FINITE, max_size=30), st.randoms(use_true_random=False))
def test_exact_sums_do_not_depend_on_order_and_can_be_taken_back(values: list[float], shuffler: random.Random) -> None:
    mixed = list(values)
    shuffler.shuffle(mixed)
    ones = np.ones(len(values), dtype=np.int64)
    assert exact_sum(np.array(values), ones) + exact_sum(np.array(mixed), -ones) == 0


def test_exact_sums_of_many_large_values_do_not_overflow() -> None:
    values = np.full(100_000, np.nextafter(2.0, 1.0))
    assert to_float(exact_sum(values, np.ones(100_000, dtype=np.int64))) == pytest.approx(200_000.0)
    assert to_float(exact_sum(np.full(4, 1.7e308), np.ones(4, dtype=np.int64))) == np.inf


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_foreign_bytes_are_refused_as_such(data: bytes) -> None:
    for candidate in (data, b"DLW1" + data):
        if candidate == b"DLW1":
            continue
        with pytest.raises(StateError, match="window state"):
            WindowState.from_bytes(candidate)


def test_truncated_bytes_are_refused() -> None:
    data = WindowState({ONE: Section(np.arange(100))}).to_bytes()
    for length in range(5, len(data)):
        with pytest.raises(StateError):
            WindowState.from_bytes(data[:length])


def test_sections_of_different_lengths_do_not_add_up() -> None:
    with pytest.raises(StateError, match="5 and 6"):
        Section(np.zeros(5, dtype=np.int64)).plus(Section(np.zeros(6, dtype=np.int64)))
