"""Directions that hang together by themselves: found, or left alone, by simulation; and deals that are stretched along
them, against sums written out.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import spatial

from detectors.multivariate.hanging_deals import Stretch, stretch, stretched
from detectors.multivariate.kernels import gaussian
from detectors.multivariate.permutations import deal, mixed, permutation_test
from detectors.multivariate.prepared import prepare
from detectors.statistics.hanging_directions import HangingDirections, hanging_directions, rest_of
from detectors.statistics.hanging_rows import rows_together_along
from detectors.statistics.table_sample import Drawn, TableSample
from tests.detectors.test_hanging_rows import days, slow

Rows = NDArray[np.float64]
ROWS = 10_000


def single(rng: np.random.Generator, columns: int) -> Rows:
    return rng.normal(size=(ROWS, columns))


def alike(rng: np.random.Generator) -> Rows:
    return np.repeat(rng.normal(size=(ROWS // 20, 4)), 20, axis=0)


def slow_columns(rng: np.random.Generator) -> Rows:
    return np.column_stack([slow(rng, ROWS, 0.9) for _ in range(4)])


def different_days(rng: np.random.Generator) -> Rows:
    return np.column_stack([days(rng, ROWS, 0.1) for _ in range(4)])


@pytest.mark.parametrize("draw", [lambda rng: single(rng, 6), alike, slow_columns, different_days])
def test_where_all_directions_hang_together_alike_none_stands_out(draw: Callable[[np.random.Generator], Rows]) -> None:
    assert [len(hanging_directions(draw(np.random.default_rng(seed)))) for seed in range(12)] == [0] * 12


def test_a_slow_column_stands_out_and_the_rest_is_independent() -> None:
    rng = np.random.default_rng(1)
    rows = np.column_stack((single(rng, 2), slow(rng, ROWS, 0.9), single(rng, 3)))
    found = hanging_directions(rows)
    assert found.weights.tolist() == [[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]
    (as_one,), freedom = found.of_windows(1000)
    assert 14 <= as_one <= 26
    assert 10.0 < freedom[0] < ROWS / 19
    rest = rest_of(rows, found)
    assert rest.shape == (ROWS, 5)
    assert rows_together_along(rest, []).max() == 1


def test_a_factor_that_no_column_shows_much_stands_out_as_a_direction() -> None:
    rng = np.random.default_rng(2)
    rows = np.sqrt(0.1) * slow(rng, ROWS, 0.9)[:, None] * np.sqrt(1 - 0.9**2) + np.sqrt(0.9) * single(rng, 10)
    (direction,) = hanging_directions(rows).weights
    assert abs(direction.sum()) / np.sqrt(10.0) == pytest.approx(1.0, abs=0.02)


def test_a_column_stands_out_by_how_far_out_it_is_alone() -> None:
    rng = np.random.default_rng(3)
    wide = np.repeat(rng.choice([0.5, 2.0], ROWS // 50), 50)
    rows = np.column_stack((single(rng, 3), wide * rng.normal(size=ROWS)))
    found = hanging_directions(rows)
    assert found.weights.tolist() == [[0.0, 0.0, 0.0, 1.0]]
    assert found.of_windows(1000)[0][0] > 5


def test_missing_values_and_few_rows_say_nothing() -> None:
    assert len(hanging_directions(np.full((100, 2), np.nan))) == 0
    assert len(hanging_directions(np.empty((0, 3)))) == 0
    assert len(hanging_directions(np.empty((50, 0)))) == 0
    assert len(hanging_directions(np.zeros((1, 2)))) == 0
    nothing = HangingDirections()
    assert nothing.along(np.ones((5, 3))).shape == (5, 0)
    assert nothing.of_windows(1000)[0] == ()


def sample(rng: np.random.Generator, as_one: int, *, freedom: float = 1e9) -> TableSample:
    """400 and 300 rows, as many as there are, of which the second column hangs together."""
    found = HangingDirections(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), np.array([[0.0, 1.0, 0.0]]))
    return TableSample(
        ("a", "b", "c"),
        rng.normal(size=(400, 3)),
        rng.normal(size=(300, 3)),
        reference_drawn=Drawn(400, 1, (as_one,)),
        current_drawn=Drawn(300, 1, (as_one,)),
        directions=found,
        freedom=np.array([freedom]),
    )


def test_a_stretched_deal_is_longer_along_the_direction_and_as_before_elsewhere() -> None:
    rng = np.random.default_rng(5)
    table = sample(rng, 9)
    prepared = prepare(table, rng)
    assert prepared is not None
    by = stretch(table, prepared, 50, rng)
    assert by is not None
    deals = deal(np.arange(700), 400, 50, rng)[:, 1:]
    found = stretched(deals, by).astype(np.float64)
    along, across = prepared.along[:, 0] - prepared.along[:, 0].mean(), by.functions @ by.functions.T
    assert np.allclose(by.times, 3.0, rtol=1e-3)
    assert np.allclose(found.sum(axis=0), 400.0, atol=1e-2)
    for function in (along, along**2, np.sign(along) * along**2, np.cos(2.0 * along)):
        # What depends on the direction alone is nearly all of it stretched.
        centred = function - function.mean()
        assert centred @ across @ centred > 0.95 * (centred @ centred)
    assert np.allclose(along @ found, 3.0 * (along @ deals), atol=1e-2)
    rest = rng.normal(size=700)
    rest -= rest.mean() + across @ (rest - rest.mean())
    assert np.allclose(rest @ found, rest @ deals, atol=1e-2)


def test_how_surely_it_is_known_is_how_much_deals_differ() -> None:
    rng = np.random.default_rng(6)
    table = sample(rng, 9, freedom=12.0)
    prepared = prepare(table, rng)
    assert prepared is not None
    by = stretch(table, prepared, 20_000, rng)
    assert by is not None
    # The mean of 1 / chi-square of 12, times 12.
    assert (by.times[0] ** 2).mean() == pytest.approx(9.0 * 12.0 / 10.0, rel=0.03)


def test_stretched_permutations_in_tiles_are_the_sums_written_out() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(1100, 4)).astype(np.float32)
    rows[600:, 1] += 0.15
    functions = np.linalg.qr(np.column_stack((np.ones(1100), rows[:, 1].astype(np.float64))))[0][:, 1:]
    by = Stretch(functions, np.full((1, 60), 2.0))
    found = permutation_test(rows, 600, gaussian(1.7), 60, np.random.default_rng(2), inflation=1.5, along=by)
    kernel = np.exp(-spatial.distance.cdist(rows, rows, "sqeuclidean") / (2.0 * 1.7**2))
    order = mixed(600, 500)
    weights = np.where(deal(order, 600, 60, np.random.default_rng(2)) > 0, 1 / 600, -1 / 500)
    functions = functions[order]
    weights[:, 1:] += functions @ (functions.T @ weights[:, 1:])
    squares = np.einsum("ij,ij->j", weights, kernel[np.ix_(order, order)] @ weights)
    squares[1:] *= 1.5
    assert found.square == pytest.approx(squares[0], rel=1e-5)
    assert found.chance == pytest.approx(squares[1:].mean(), rel=1e-4)
    assert found.furthest == pytest.approx(np.quantile(squares[1:], 0.95), rel=1e-4)
    assert found.p_value == (1 + sum(square >= squares[0] for square in squares[1:])) / 61
    assert 1 / 61 < found.p_value < 1.0
    plain = permutation_test(rows, 600, gaussian(1.7), 60, np.random.default_rng(2))
    assert plain.more == 0.0 < found.more
    assert found.unbiased == pytest.approx(plain.unbiased, abs=1e-9)
