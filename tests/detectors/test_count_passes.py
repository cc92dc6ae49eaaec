"""What is asked of counts in one pass, in C where the build has it, is what a loop over each column gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.evaluating import shapes
from detectors.statistics import count_passes, reasons
from detectors.statistics.columns import alongside
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.reasons import measured
from driftline.results import ColumnShape

# The second is that of the compiled build, where this is one.
PASSES = [None, *filter(None, [count_passes.kernel()])]
SENTENCES = [None, *filter(None, [reasons.kernel()])]
DRAWINGS = [None, *filter(None, [shapes.kernel()])]
SEEDS = st.integers(0, 2**32 - 1)
SHARE = st.floats(0.0, 1.0)
LARGEST = st.sampled_from([3, 40, 10**6, 2**40])


def counts_of(seed: int, largest: int, cells: int = 9) -> NDArray[np.int64]:
    """Counts of a reference and of a window of some columns, shape (2, columns, cells); both sides have rows."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, largest, (2, rng.integers(1, 5), cells)) * rng.integers(0, 2, (2, 1, cells))
    counts[:, :, 4] += 1
    return counts


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SEEDS, LARGEST)
def test_shares_below_are_compared_bin_by_bin(compiled: count_passes.Kernel | None, seed: int, largest: int) -> None:
    reference, current = counts_of(seed, largest)
    below = count_passes.cumulated(current, compiled)
    assert below.tolist() == [[sum(row[: end + 1]) for end in range(len(row))] for row in current.tolist()]
    shares = np.cumsum(reference, axis=1) / reference.sum(axis=1, keepdims=True)
    gaps, before, now, distances = count_passes.compared(shares, below, compiled)
    for column, rows in enumerate(below.tolist()):
        expected = [abs(share - count / rows[-1]) for share, count in zip(shares[column].tolist(), rows, strict=True)]
        assert gaps[column].tolist() == expected
        place = expected.index(max(expected))
        assert (before[column], now[column], distances[column]) == (
            shares[column, place],
            rows[place] / rows[-1],
            expected[place],
        )


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SEEDS, LARGEST)
def test_sparse_known_cells_are_pooled_and_others_stand_apart(
    compiled: count_passes.Kernel | None, seed: int, largest: int
) -> None:
    counts = counts_of(seed, largest)
    share: NDArray[np.float64] = np.random.default_rng(seed).uniform(0.01, 0.5, size=(counts.shape[1],))
    known, apart = np.ascontiguousarray(counts[:, :, :7]), np.ascontiguousarray(counts[:, :, 7:])
    tables, dense, sparse = count_passes.tabulated((known[0], known[1]), (apart[0], apart[1]), share, 5.0, compiled)
    for column, of_smaller in enumerate(share.tolist()):
        sides = counts[:, column].tolist()
        is_kept = [(sides[0][cell] + sides[1][cell]) * of_smaller >= 5.0 for cell in range(7)]
        expected = [
            [count * kept for count, kept in zip(side[:7], is_kept, strict=True)]
            + [*side[7:], sum(count for count, kept in zip(side[:7], is_kept, strict=True) if not kept)]
            for side in sides
        ]
        assert [side[column].tolist() for side in tables] == expected
        rows = [(before + now) * of_smaller for before, now in zip(*expected, strict=True)]
        assert dense[column].tolist() == [count >= 5.0 for count in rows]
        assert sparse[column].tolist() == [0.0 < count < 5.0 for count in rows]


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SEEDS, LARGEST)
def test_half_a_row_is_added_to_each_used_cell(compiled: count_passes.Kernel | None, seed: int, largest: int) -> None:
    tables = counts_of(seed, largest).astype(np.float64)
    used = np.random.default_rng(seed).integers(0, 2, tables.shape[1:]).astype(bool)
    for counts, shares in zip(tables, count_passes.weighed(tables, used, compiled), strict=True):
        for row, of_row, found in zip(counts.tolist(), used.tolist(), shares.tolist(), strict=True):
            rows = max(0.5, sum(count + 0.5 for count, is_used in zip(row, of_row, strict=True) if is_used))
            assert found == [
                (count + 0.5) / rows if is_used else 1.0 for count, is_used in zip(row, of_row, strict=True)
            ]


@pytest.mark.parametrize("compiled", PASSES)
def test_the_smallest_p_value_counts_as_often_as_there_are_tests(compiled: count_passes.Kernel | None) -> None:
    p_values, tested = np.array([0.2, 0.2, 0.01, 0.9, np.nan]), np.array([True, False, True, False, True])
    others, cells = np.array([0.1, 0.1, 0.3, 1.0, 0.5]), np.array([2, 2, 4, 0, 1])
    found = count_passes.smallest_of(p_values, tested, others, cells, compiled)
    expected = [0.1 * 3, 0.1 * 2, 0.01 * 5, 1.0, np.nan]
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SHARE, SHARE, st.integers(1, 10**12), st.integers(1, 10**12), st.floats(0.0, 0.1), st.floats(0.0, 0.5))
def test_a_difference_of_shares_has_an_interval(
    compiled: count_passes.Kernel | None,
    before: float,
    now: float,
    rows_before: int,
    rows: int,
    chance: float,
    doubtful: float,
) -> None:
    found = count_passes.enclosed(
        (np.array([before]), np.array([now])),
        (np.array([rows_before]), np.array([rows])),
        np.array([chance]),
        np.array([doubtful]),
        2.0,
        compiled,
    )
    gap = abs(now - before)
    value = max(0.0, gap * gap - chance) ** 0.5
    first, second = (before * rows_before + 1.0) / (rows_before + 2.0), (now * rows + 1.0) / (rows + 2.0)
    squares = first * (1.0 - first) / (rows_before + 2.0) + second * (1.0 - second) / (rows + 2.0)
    half = 2.0 * max(0.0, squares) ** 0.5
    assert found[:, 0].tolist() == [value, max(0.0, min(value, gap - doubtful) - half), min(1.0, gap + half)]


@pytest.mark.parametrize("compiled", SENTENCES)
@given(
    st.lists(
        st.tuples(
            st.text(),
            st.floats(),
            st.one_of(st.none(), st.floats(0.0, 1.0), st.sampled_from([1e-12, 9.9e-13])),
            st.text(),
        )
    )
)
def test_a_quiet_column_is_told_as_any_other(
    compiled: reasons.Kernel | None, told: list[tuple[str, float, float | None, str]]
) -> None:
    heads, statistics, p_values, tails = ([row[part] for row in told] for part in range(4))
    spelt = [f"{head}{measured('', statistic, p_value)[1:]}{tail}" for head, statistic, p_value, tail in told]
    assert reasons.quiet_each(heads, statistics, p_values, tails, compiled) == spelt


@pytest.mark.parametrize("compiled", DRAWINGS)
@settings(deadline=None)
@given(SEEDS, LARGEST, st.sampled_from([3, 18, 40]))
def test_the_largest_categories_are_drawn_and_all_others_together(
    compiled: shapes.Kernel | None, seed: int, largest: int, cells: int
) -> None:
    reference, current = counts_of(seed, largest, cells + 2)
    names = tuple(f"c{number}" for number in range(cells))
    columns = alongside(
        [
            ColumnSample("x", "categorical", before, now, categories=names)
            for before, now in zip(reference, current, strict=True)
        ]
    )
    for found, before, now in zip(
        shapes.column_shapes(columns, shapes.Axes(columns.before), compiled),
        reference.tolist(),
        current.tolist(),
        strict=True,
    ):
        assert found == _drawn(names, before, now)


def _drawn(names: tuple[str, ...], before: list[int], now: list[int]) -> ColumnShape:
    """A bar each for sixteen categories, those of the largest shares, then all others, unseen and missing."""
    all_before, all_now, known = sum(before), sum(now), range(len(names))
    order = sorted(known, key=lambda cell: -(before[cell] / all_before + now[cell] / all_now))
    alone, others = order[:16], order[16:]
    bars = [
        *((names[cell], before[cell], now[cell]) for cell in alone),
        ("all others", sum(before[cell] for cell in others), sum(now[cell] for cell in others)),
        ("unseen", before[-2], now[-2]),
        ("missing", before[-1], now[-1]),
    ]
    kept = [bar for bar in bars if bar[1] or bar[2]]
    return ColumnShape(
        "x",
        tuple(bar[0] for bar in kept),
        tuple(bar[1] / all_before for bar in kept),
        tuple(bar[2] / all_now for bar in kept),
    )


@pytest.mark.parametrize("compiled", DRAWINGS)
@settings(deadline=None)
@given(SEEDS, st.sampled_from([3, 40, 10**6]), st.sampled_from([5, 25, 60]))
def test_bars_of_values_hold_all_rows(compiled: shapes.Kernel | None, seed: int, largest: int, cells: int) -> None:
    reference, current = counts_of(seed, largest, cells + 3)
    values = np.array([-np.inf, *range(cells), np.inf, np.nan])
    samples = [
        ColumnSample("x", "numeric", before, now, values) for before, now in zip(reference, current, strict=True)
    ]
    columns, swapped = alongside(samples), counts_of(seed + 1, largest, cells + 3)[0][:1]
    axes = shapes.Axes(columns.before)
    other = alongside([ColumnSample("x", "numeric", before, swapped[0], values) for before in reference])
    for window in (columns, other, columns):  # what was drawn before changes nothing
        drawn = shapes.column_shapes(window, axes, compiled)
        assert drawn == shapes.column_shapes(window, shapes.Axes(columns.before), None)
        for place, found in enumerate(drawn):
            assert sum(found.reference) == pytest.approx(1.0)
            assert sum(found.current) == pytest.approx(1.0)
            missing = dict(zip(found.bins, found.current, strict=True)).get("missing", 0.0)
            assert missing == window.current[place, -1] / window.rows[place]
