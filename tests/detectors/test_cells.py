"""Looking values up in a table of cells finds the bins that a search among all edges finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.counts.binning import KERNEL, bin_numbers, count_numbers, full_edges
from detectors.counts.cells import Cells, cells_of
from detectors.counts.layout import ColumnLayout
from detectors.counts.reference_bins import exact_cuts, numeric_cuts

ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1e-50, -1e-50, 1.7e308, -1.7e308, 3.5e38, -3.5e38]
NUMBERS = st.one_of(st.floats(width=64), st.sampled_from(ODD), st.floats(999.9, 1000.1), st.integers(-5, 5).map(float))


def looked_up(values: NDArray[np.float64], cells: Cells) -> NDArray[np.int64]:
    """What the kernel does, step by step."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        distances = (values - cells.centre).astype(np.float32)
    bins = cells.below[distances.view(np.uint32) >> 16].astype(np.int64)
    for power in reversed(range(cells.halvings)):
        bins += (values >= cells.edges[bins + (1 << power) - 1]) << power
    return bins


def beside(values: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values, the cuts, and the numbers next to each cut."""
    with np.errstate(over="ignore"):
        return np.concatenate((values, ODD, cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf)))


def assert_counted(values: NDArray[np.float64], cuts: NDArray[np.float64]) -> None:
    edges = full_edges(cuts)
    cells = cells_of(edges)
    assert cells is not None
    expected = bin_numbers(values, edges)
    assert np.array_equal(looked_up(values, cells), expected)
    counted = np.bincount(expected, minlength=len(edges) + 1)
    assert np.array_equal(count_numbers(values, edges), counted)
    assert np.array_equal(count_numbers(values, edges, cells), counted)
    assert np.array_equal(count_numbers(np.repeat(values, 2)[::2], edges, cells), counted)


@settings(deadline=None)
@given(st.lists(NUMBERS, max_size=40), st.lists(NUMBERS, max_size=40))
def test_any_values_fall_into_the_bins_between_any_cuts(values: list[float], cuts: list[float]) -> None:
    ascending = np.unique(np.array([cut for cut in cuts if np.isfinite(cut)]))
    assert_counted(beside(np.array(values), ascending), ascending)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, rows: rng.normal(size=rows),
        lambda rng, rows: rng.normal(1e6, 1.0, rows),
        lambda rng, rows: rng.normal(1e-30, 1e-32, rows),
        lambda rng, rows: rng.normal(3e200, 1e199, rows),
        lambda rng, rows: rng.standard_cauchy(rows) ** 3,
        lambda rng, rows: rng.poisson(3.0, rows).astype(np.float64),
        lambda rng, rows: rng.normal(rng.choice([0.0, 1e9], rows), 1.0),
        lambda rng, rows: np.full(rows, 7.0),
    ],
)
@pytest.mark.filterwarnings("error")
def test_references_of_every_shape_are_counted_exactly(draw) -> None:
    rng = np.random.default_rng(1)
    cuts = numeric_cuts(draw(rng, 20_000))
    values = draw(rng, 3_000)
    values[::7] = np.nan
    assert_counted(beside(values, cuts), cuts)
    assert_counted(beside(values, exact_cuts(values)), exact_cuts(values))


def test_more_edges_than_the_table_can_number_are_searched() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=70_000)
    column = ColumnLayout("x", "numeric", exact_cuts(values))
    assert column.cells is None
    assert count_numbers(values, column.edges, column.cells).max() == 1


def test_a_layout_has_tables_where_something_looks_values_up_in_them() -> None:
    assert (ColumnLayout("x", "numeric", np.arange(3.0)).cells is None) is (KERNEL is None)
    assert ColumnLayout("c", "categorical", categories=("a",)).cells is None
