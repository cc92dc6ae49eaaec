"""Why accuracy changed: each cause alone is found, the parts add up, chance is not explained."""

import numpy as np
import pytest

from detectors.accuracy.decomposition import Decomposition, completed, decompose
from tests.parts.scored_rows import rows_of, strata_from, table_of

CUTS = np.linspace(0.05, 0.95, 19)


def found_for(seed: int = 0, count: int = 6000, **how: float) -> Decomposition:
    rng = np.random.default_rng(seed)
    before = table_of(*rows_of(20_000, rng), CUTS)
    now = table_of(*rows_of(count, rng, **how), CUTS)
    return decompose(strata_from(before, now).said, before, now, rng)


@pytest.mark.parametrize(
    ("cause", "how"), [("label", {"prior": 0.75}), ("concept", {"flipped": 0.2}), ("covariate", {"far": 0.9})]
)
def test_a_cause_alone_is_nearly_all_of_the_change(cause: str, how: dict[str, float]) -> None:
    found = found_for(**how)
    name, part = found.parts[0]
    assert name == cause
    assert part.value == pytest.approx(found.change.value, rel=0.35)
    assert part.lower > 0.0 or part.upper < 0.0
    assert sum(part.value for _, part in found.parts) == pytest.approx(found.change.value)


def test_where_nothing_changed_little_is_explained() -> None:
    apart = 0
    for seed in range(40):
        found = found_for(seed, 1500)
        apart += not found.change.lower <= 0.0 <= found.change.upper
    assert apart <= 40 * 0.05 + 5.0 * np.sqrt(40 * 0.05 * 0.95)


def test_the_interval_of_the_change_is_that_of_two_shares() -> None:
    found = found_for(1, 3000, flipped=0.1)
    rng = np.random.default_rng(1)
    before, now = rows_of(20_000, rng), rows_of(3000, rng, flipped=0.1)
    shares = [np.mean((score > 0.5) == truth) for score, truth in (before, now)]
    half = 1.96 * np.sqrt(sum(s * (1 - s) / n for s, n in zip(shares, (20_000, 3000), strict=True)))
    assert found.change.value == pytest.approx(shares[1] - shares[0])
    assert found.change.upper - found.change.lower == pytest.approx(2 * half, rel=0.25)


def test_labels_of_some_rows_stand_for_all_rows_of_their_stratum() -> None:
    before = np.array([[90.0, 10.0], [10.0, 90.0]])
    rows = np.array([[500.0, 0.0], [500.0, 0.0]])
    judged = np.array([[8.0, 2.0], [0.0, 0.0]])
    table = completed(strata_from(before, rows, judged))
    assert table.sum() == pytest.approx(10.0)
    assert table[0] / table[0].sum() == pytest.approx([0.8, 0.2])
    assert table[1] / table[1].sum() == pytest.approx([0.1, 0.9], abs=0.01)
