"""The smallest effect that is found: by simulation, in the place that is least favourable."""

import numpy as np
import pytest

from detectors.statistics.effect_size import effect_size
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.power import POWER, detectable_effect
from detectors.univariate.chi_square import chi_square
from detectors.univariate.ks import ks

RATE = 0.01


@pytest.mark.parametrize("rows", [300, 3000])
def test_a_shift_in_the_middle_of_that_effect_is_found_four_times_in_five(rows: int) -> None:
    rng = np.random.default_rng(11)
    shares = np.array([0, *[0.05] * 20, 0, 0])
    reference = rng.multinomial(20_000, shares)
    wanted = detectable_effect(ColumnSample("x", "numeric", reference, rng.multinomial(rows, shares)), RATE)
    moved = shares.copy()
    moved[1:11] -= wanted / 10
    moved[11:21] += wanted / 10
    found = [ks(ColumnSample("x", "numeric", reference, rng.multinomial(rows, moved))).p_value for _ in range(400)]
    assert np.mean(np.array(found) <= RATE) == pytest.approx(POWER, abs=0.12)


@pytest.mark.parametrize("categories", [2, 6])
def test_a_table_that_tips_by_that_effect_is_found_four_times_in_five(categories: int) -> None:
    rng = np.random.default_rng(12)
    shares = np.array([*[1 / categories] * categories, 0, 0])
    reference = rng.multinomial(20_000, shares)
    wanted = detectable_effect(ColumnSample("c", "categorical", reference, rng.multinomial(500, shares)), RATE)
    moved = shares.copy()
    half = categories // 2
    moved[:half] -= wanted / half
    moved[half:categories] += wanted / half
    draws = [ColumnSample("c", "categorical", reference, rng.multinomial(500, moved)) for _ in range(400)]
    assert np.mean([(chi_square(draw).p_value or 0.0) <= RATE for draw in draws]) == pytest.approx(POWER, abs=0.08)
    assert np.median([effect_size(draw).value for draw in draws]) == pytest.approx(wanted, rel=0.25)


def test_with_a_row_or_two_only_the_whole_would_be_found() -> None:
    for kind in ("numeric", "categorical"):
        sample = ColumnSample("x", kind, np.array([0, 5, 5, 0, 0]), np.array([0, 1, 0, 0, 0]))
        assert detectable_effect(sample, 0.001) == 1.0
