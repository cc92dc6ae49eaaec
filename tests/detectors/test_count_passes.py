"""What is asked of counts in one pass, in C where the build has it, is what a loop over each column gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from detectors.evaluating import picking, shapes
from detectors.statistics import count_passes, reasons, tables
from detectors.statistics.columns import alongside
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.reasons import measured
from driftline.results import ColumnShape

# The second is that of the compiled build, where this is one.
PASSES = [None, *filter(None, [count_passes.kernel()])]
SENTENCES = [None, *filter(None, [reasons.kernel()])]
PICKERS = [None, *filter(None, [picking.kernel()])]
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
def test_columns_are_gathered_out_of_a_vector(compiled: count_passes.Kernel | None, seed: int, largest: int) -> None:
    rng = np.random.default_rng(seed)
    bins = rng.integers(1, 9, rng.integers(1, 5))
    vector = rng.integers(0, largest, 3 + bins.sum())
    starts, width = np.concatenate(([3], 3 + bins.cumsum()[:-1])), int(bins.max())
    at = np.where(np.arange(width) < bins[:, None], starts[:, None] + np.arange(width), len(vector))
    current, below = count_passes.gathered(vector, at, bins, compiled)
    for column, (start, count) in enumerate(zip(starts.tolist(), bins.tolist(), strict=True)):
        expected = vector[start : start + count].tolist() + [0] * (width - count)
        assert current[column].tolist() == expected
        assert below[column].tolist() == [sum(expected[: end + 1]) for end in range(width)]
    with pytest.raises(IndexError):
        count_passes.gathered(vector[:-2], at, bins, compiled)


def cells_of(counts: NDArray[np.int64], *, grouped: bool) -> tuple[count_passes.Cells, NDArray[np.int64]]:
    """Tables of seven known cells and two apart beside ``counts``, and a window's rows up to each bin.

    ``grouped``: known cells are bins between two places, else categories that an empty bin stands behind.
    """
    columns, width = counts.shape[1], counts.shape[2]
    starts = np.arange(columns)[:, None] * width
    known = np.ascontiguousarray(counts[0, :, 1:8])
    ends = starts + np.arange(8) if grouped else np.empty((columns, 0), dtype=np.intp)
    if not grouped:
        known = np.concatenate((counts[0, :, :7], np.zeros((columns, 3), dtype=np.int64)), axis=1)
    apart = np.ascontiguousarray(counts[0, :, 8:] if grouped else counts[0, :, 7:9])
    special = starts + (np.arange(8, 10) if grouped else np.arange(7, 9))
    rows = counts[0].sum(axis=1)
    return count_passes.Cells(known, apart, special, ends, np.full(columns, 7), rows), counts[1].cumsum(axis=1)


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SEEDS, LARGEST, st.booleans())
def test_sparse_known_cells_are_pooled_and_others_stand_apart(
    compiled: count_passes.Kernel | None, seed: int, largest: int, grouped: bool
) -> None:
    counts = counts_of(seed, largest, 10)
    if not grouped:
        counts[:, :, 9] = 0
    cells, below = cells_of(counts, grouped=grouped)
    found = count_passes.tabulated(cells, counts[1], below, counts[1].sum(axis=1), 5.0, compiled)
    first, empty = (1, []) if grouped else (0, [0.0] * 3)
    for column in range(counts.shape[1]):
        sides = counts[:, column].tolist()
        all_rows = [sum(side) for side in sides]
        of_smaller = min(all_rows) / sum(all_rows)
        is_kept = [(sides[0][cell] + sides[1][cell]) * of_smaller >= 5.0 for cell in range(first, first + 7)]
        expected = [
            [count * kept for count, kept in zip(side[first : first + 7], is_kept, strict=True)]
            + empty
            + side[first + 7 : first + 9]
            + [sum(count for count, kept in zip(side[first : first + 7], is_kept, strict=True) if not kept)]
            for side in sides
        ]
        assert [side[column].tolist() for side in found.rows] == expected
        rows = [(before + now) * of_smaller for before, now in zip(*expected, strict=True)]
        assert found.dense[column].tolist() == [count >= 5.0 for count in rows]
        assert found.sparse[column].tolist() == [0.0 < count < 5.0 for count in rows]
        assert found.cells[column] == sum(count >= 5.0 for count in rows)
        assert found.freedom[column] == max(1, found.cells[column] - 1)
    assert found.all_sparse == found.sparse.sum()


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SEEDS, LARGEST)
def test_half_a_row_is_added_to_each_used_cell(compiled: count_passes.Kernel | None, seed: int, largest: int) -> None:
    tables, rng = counts_of(seed, largest).astype(np.float64), np.random.default_rng(seed)
    used = rng.integers(0, 2, tables.shape[1:]).astype(bool)
    sparse, more = rng.integers(0, 2, used.shape).astype(bool) & ~used, np.flatnonzero(rng.integers(0, 2, len(used)))
    columns = [*range(len(used)), *more.tolist()]
    asked = [*used.tolist(), *(used | sparse)[more].tolist()]
    for counts, shares in zip(tables, count_passes.weighed(tables, used, sparse, more, compiled), strict=True):
        for row, of_row, found in zip(counts[columns].tolist(), asked, shares.tolist(), strict=True):
            rows = max(0.5, sum(count + 0.5 for count, is_used in zip(row, of_row, strict=True) if is_used))
            assert found == [
                (count + 0.5) / rows if is_used else 1.0 for count, is_used in zip(row, of_row, strict=True)
            ]


# Sums of fractions are added up in another order from eight of them on, and from 129.
WIDTHS = st.sampled_from([5, 7, 8, 9, 23, 128, 129, 300, 1100])


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SEEDS, LARGEST, WIDTHS)
def test_homogeneity_of_the_used_cells_is_that_of_each_table(
    compiled: count_passes.Kernel | None, seed: int, largest: int, cells: int
) -> None:
    tables = counts_of(seed, largest, cells).astype(np.float64)
    used = np.random.default_rng(seed).integers(0, 2, tables.shape[1:]).astype(bool)
    found = count_passes.homogeneities(tables, used, compiled)
    for column, of_column in enumerate(used):
        before, now = (np.where(of_column, side[column], 0.0) for side in tables)
        assert found[column] == count_passes.homogeneity(before[None], now[None])[0]
        before, now = (side[(before > 0) | (now > 0)] for side in (before, now))
        if before.any() and now.any() and len(before) > 1:
            oracle = stats.chi2_contingency(np.array([before, now]), correction=False)
            # Beside a trillion rows the other side's single one misses its expectation by less than rounding spares.
            spared = 1e-9 + 1e-15 * float(before.sum() + now.sum())
            assert found[column] == pytest.approx(oracle.statistic, rel=spared, abs=1e-9)


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SEEDS, LARGEST, WIDTHS)
def test_shares_that_grew_are_added_up(
    compiled: count_passes.Kernel | None, seed: int, largest: int, cells: int
) -> None:
    before, now = counts_of(seed, largest, cells)
    rows = before.sum(axis=1), now.sum(axis=1)
    shares = before / rows[0][:, None]
    found = count_passes.grown(shares, (before, now), rows, compiled)
    assert found.tolist() == count_passes.grown(shares, (before, now), rows, None).tolist()
    for column, (n, m) in enumerate(zip(*(side.tolist() for side in rows), strict=True)):
        pairs = list(zip(before[column].tolist(), now[column].tolist(), strict=True))
        grew = [(a / n, b / m) for a, b in pairs if b / m > a / n]
        assert found[0, column] == pytest.approx(sum(share for share, _ in grew))
        assert found[1, column] == pytest.approx(sum(share for _, share in grew))
        spread = sum(((a + b) * (n + m - a - b)) ** 0.5 for a, b in pairs) / (n + m)
        assert found[2, column] == pytest.approx(spread)


@pytest.mark.parametrize("compiled", PASSES)
@given(SEEDS)
def test_areas_are_ranked_among_those_of_their_own_column(compiled: count_passes.Kernel | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, 9, rng.integers(1, 5))
    simulated = [np.sort(rng.integers(0, 4, count).astype(np.float32)) for count in draws.tolist()]
    numbers = [number << 32 | each.view(np.uint32).astype(np.int64) for number, each in enumerate(simulated)]
    areas = rng.integers(0, 5, len(draws)).astype(np.float64)
    hits, chances = count_passes.ranked(areas, np.concatenate(numbers), draws.cumsum(), draws, compiled)
    expected = [int((each >= area).sum()) for each, area in zip(simulated, areas.tolist(), strict=True)]
    assert hits.tolist() == expected
    known = [(hit + 1) / (count + 1) if count else np.nan for hit, count in zip(expected, draws.tolist(), strict=True)]
    assert np.array_equal(chances, known, equal_nan=True)


@pytest.mark.parametrize("compiled", PICKERS)
def test_places_are_picked_out_of_any_list(compiled: picking.Kernel | None) -> None:
    for places in ([], [2], [2, 0, 2, -1], [-3]):
        for values in (["a", "b", "c"], "abc", ("a", "b", "c")):
            assert picking.picker(places, compiled)(values) == ["abc"[place] for place in places]
    for places in ([0, 3], [-4, 0]):
        with pytest.raises(IndexError):
            picking.picker(places, compiled)("abc")


@pytest.mark.parametrize("compiled", PASSES)
@settings(deadline=None)
@given(SEEDS, LARGEST)
def test_sparse_cells_are_tested_one_by_one(compiled: count_passes.Kernel | None, seed: int, largest: int) -> None:
    columns = alongside(
        [ColumnSample("x", "categorical", *sides) for sides in zip(*counts_of(seed, largest, 60), strict=True)]
    )
    counted = tables.tables(columns).counted
    found = tables.rarest_of(counted, columns, compiled)
    for column, is_sparse in enumerate(counted.sparse):
        n, m = int(columns.before.rows[column]), int(columns.rows[column])
        before, now = (side[column][is_sparse].tolist() for side in counted.rows)
        p_values = [tables.binomial_p_value(b, a + b, m / (n + m)) for a, b in zip(before, now, strict=True)]
        assert (min(p_values, default=1.0), len(p_values)) == (1.0, 0) if found is None else True
        if found is not None:
            assert found.smallest[column] == min(p_values, default=1.0)
            assert found.cells[column] == len(p_values)
            assert (column in found.columns) is bool(p_values)


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
def test_figures_are_rounded_as_python_rounds_them(compiled: reasons.Kernel | None) -> None:
    rng = np.random.default_rng(1)
    halves = [(number + 0.5) * 10.0**power for number in range(95, 1005) for power in range(-8, 3)]
    beside = [float(np.nextafter(half, end)) for half in halves for end in (0.0, 1e9)]
    drawn = (10.0 ** rng.uniform(-14, 6, 20_000)).tolist()
    numbers = [*halves, *beside, *drawn, *(10.0**power for power in range(-13, 5)), 0.0, -0.0, -0.25]
    p_values = [min(1.0, abs(number)) for number in numbers]
    none = [""] * len(numbers)
    told = reasons.quiet_each(none, numbers, list(p_values), none, compiled)
    assert told == [measured("", number, p)[1:] for number, p in zip(numbers, p_values, strict=True)]


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
