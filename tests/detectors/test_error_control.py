"""Error control inside a window and across windows: published rules by other hands, closed forms, and simulation.

The levels of LORD++, SAFFRON and ADDIS are what ``online-fdr`` 1.0.0 (BSD-3) gives for the fifteen p-values of the
manual of the R package onlineFDR: ``LordPlusPlus(0.05, 0.005)``, ``Saffron(0.05, 0.025, 0.5)`` and
``Addis(0.05, 0.025, 0.25, 0.5)``.
"""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from detectors.error_control.across import ACROSS, control, fold
from detectors.error_control.benjamini_yekutieli import adjusted, rejected
from detectors.error_control.calibrators import to_e
from detectors.error_control.e_benjamini_hochberg import adjusted as e_adjusted
from detectors.error_control.e_benjamini_hochberg import rejected as e_rejected
from detectors.error_control.fading import Fading
from detectors.error_control.inside import INSIDE, Inside, inside
from detectors.error_control.lord import Lord
from detectors.error_control.saffron import Saffron, addis

P_VALUES = [
    2.90e-08, 0.06743, 0.01514, 0.08174, 0.00171, 3.60e-05, 0.79149, 0.27201, 0.28295, 7.59e-08, 0.69274, 0.30443,
    0.00136, 0.72342, 0.54757,
]  # fmt: skip
LORD = [
    0.0002675839, 0.0024664457, 0.0005732818, 0.0004872805, 0.0004059066, 0.0003447286, 0.0029745013, 0.0008450114,
    0.0007305648, 0.0006243143, 0.0032185913, 0.0010617227, 0.0009256825, 0.0008019657, 0.000705961,
]  # fmt: skip
SAFFRON = [
    0.0054686271, 0.0109372541, 0.0109372541, 0.0109372541, 0.0109372541, 0.0218745083, 0.0328117624, 0.010823845,
    0.010823845, 0.010823845, 0.0217610992, 0.0092655915, 0.0092655915, 0.0202028456, 0.0090643667,
]  # fmt: skip
ADDIS = [
    0.0027343135, 0.0054686271, 0.0054686271, 0.0054686271, 0.0054686271, 0.0109372541, 0.0164058812, 0.0164058812,
    0.0054119225, 0.0028288216, 0.0082974486, 0.0082974486, 0.0035892428, 0.0090578699, 0.0090578699,
]  # fmt: skip


# --- inside a window --------------------------------------------------------------------------------------------------
def test_benjamini_yekutieli_adjusts_as_scipy_does() -> None:
    rng = np.random.default_rng(1)
    for count in (1, 2, 7, 40):
        p_values = (rng.random(count) ** 3).tolist()
        assert adjusted(p_values) == pytest.approx(stats.false_discovery_control(p_values, method="by").tolist())
        for rate in (0.01, 0.1, 0.5):
            assert rejected(p_values, rate) == [value <= rate for value in adjusted(p_values)]


def test_e_values_are_rejected_by_the_definition() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        values = np.exp(rng.normal(1.0, 2.0, 12))
        ranked = np.sort(values)[::-1]
        most = max((k for k in range(1, 13) if k * ranked[k - 1] / 12 >= 1 / 0.1), default=0)
        assert (
            e_rejected(values.tolist(), 0.1) == [bool(value >= ranked[most - 1]) for value in values] if most else True
        )
        assert sum(e_rejected(values.tolist(), 0.1)) == most
        assert sum(value <= 0.1 for value in e_adjusted(values.tolist())) == most
    assert e_rejected([0.0, 1e9], 0.01) == [False, True]


def test_a_calibrated_p_value_is_an_e_value_and_falls_as_it_grows() -> None:
    mean, _ = integrate.quad(lambda at: to_e(math.exp(-at)) * math.exp(-at), 0.0, 60.0, limit=200)
    # The tail beyond exp(-60) holds 1 / 60 of the mean: the e-value is about 1 / (p * log(p) ** 2) there.
    assert mean == pytest.approx(1.0 - 1.0 / 60.0, abs=1e-3)
    grid = [0.0, 1e-300, 1e-12, 1e-3, 0.3, 0.9998, 0.99991, 1.0]
    values = [to_e(p_value) for p_value in grid]
    assert values[1:] == sorted(values[1:], reverse=True)
    assert all(math.isfinite(value) for value in values)
    assert to_e(1.0) == 0.5


@pytest.mark.parametrize("procedure", INSIDE, ids=lambda each: each.name)
def test_a_procedure_inside_a_window_answers_anything_in_any_order(procedure: Inside) -> None:
    assert procedure.rejected([], 0.1) == []
    assert procedure.p_value([]) == 1.0
    assert procedure.rejected([1.0, 1.0], 0.1) == [False, False]
    assert procedure.rejected([0.0], 0.1) == [True]
    rng = np.random.default_rng(3)
    p_values = (rng.random(15) ** 4).tolist()
    order = rng.permutation(15)
    found = procedure.rejected(p_values, 0.2)
    assert procedure.rejected([p_values[place] for place in order], 0.2) == [found[place] for place in order]
    for rate in (0.01, 0.05, 0.3):
        assert any(procedure.rejected(p_values, rate)) == (procedure.p_value(p_values) <= rate)


def _two_sided(values: np.ndarray) -> np.ndarray:
    return 2 * stats.norm.sf(np.abs(values))


@pytest.mark.parametrize("dependence", ["none", "positive", "opposite"])
def test_of_what_is_rejected_inside_a_window_no_more_is_false_than_allowed(dependence: str) -> None:
    rng, rate, columns, moved, runs = np.random.default_rng(4), 0.2, 10, 3, 2500
    false_shares: dict[str, list[float]] = {each.name: [] for each in INSIDE}
    for _ in range(runs):
        noise = rng.normal(size=columns)
        if dependence != "none":
            signs = np.where(np.arange(columns) % 2, -1.0, 1.0) if dependence == "opposite" else 1.0
            noise = 0.6 * noise + 0.8 * signs * rng.normal()
        noise[:moved] += 3.5
        p_values = _two_sided(noise).tolist()
        for each in INSIDE:
            hits = each.rejected(p_values, rate)
            false_shares[each.name].append(sum(hits[moved:]) / max(sum(hits), 1))
    for name, shares in false_shares.items():
        allowed = rate * (columns - moved) / columns if name == "benjamini_hochberg" else rate
        assert np.mean(shares) <= allowed + 4 * np.std(shares) / math.sqrt(runs), name
    assert np.mean(false_shares["benjamini_hochberg"]) > np.mean(false_shares["benjamini_yekutieli"])


# --- across windows ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("procedure", "levels"), [(Lord(0.05), LORD), (Saffron(0.05), SAFFRON), (addis(0.05), ADDIS)], ids=str
)
def test_levels_are_those_of_another_hand(procedure, levels: list[float]) -> None:
    state, found = procedure.start(), []
    for p_value in P_VALUES:
        found.append(procedure.level(state))
        state = procedure.step(state, p_value)
    assert found == pytest.approx(levels, abs=6e-11)


EVERY = [
    *((each.name, control(each.name, 0.1, None)) for each in ACROSS),
    *((f"{each.name}, fading", control(each.name, 0.1, 0.97)) for each in ACROSS if each.fading is not None),
]
ACROSS_TIME = pytest.mark.parametrize("procedure", [each for _, each in EVERY], ids=[name for name, _ in EVERY])


@ACROSS_TIME
def test_never_is_more_spent_than_there_is(procedure) -> None:
    rng = np.random.default_rng(5)
    for chance in (0.0, 0.02, 0.3):
        state = procedure.start()
        assert procedure.spent(state) == 0.0
        for _ in range(600):
            level = procedure.level(state)
            assert 0.0 < level < 0.5
            p_value = 1e-12 if rng.random() < chance else rng.random()
            state = procedure.step(state, p_value)
            assert procedure.spent(state) <= 1.0 + 1e-9


@ACROSS_TIME
def test_of_alarms_over_time_no_more_are_false_than_allowed(procedure) -> None:
    rng, shares, found = np.random.default_rng(6), [], 0
    for _ in range(150):
        moved = rng.random(200) < 0.1
        p_values = _two_sided(rng.normal(size=200) + np.where(moved, 4.0, 0.0))
        state, hits = procedure.start(), []
        for p_value in p_values:
            hits.append(p_value <= procedure.level(state))
            state = procedure.step(state, float(p_value))
        false = np.count_nonzero(np.array(hits) & ~moved)
        shares.append(false / max(sum(hits), 1))
        found += int(np.count_nonzero(np.array(hits) & moved))
    assert np.mean(shares) <= 0.1 + 4 * np.std(shares) / math.sqrt(len(shares))
    assert found > 150 * 20 * 0.3


def test_what_forgets_does_not_starve_and_what_remembers_does() -> None:
    quiet = [0.4] * 2000
    lord, fading = Lord(0.05), Fading(0.05, keep=0.5 ** (1 / 30))
    assert lord.level(fold(lord, quiet)) < 1e-6
    assert fading.level(fold(fading, quiet)) == pytest.approx(0.8 * 0.05 * (1 - fading.keep), rel=0.05)


def test_recent_alarms_are_false_no_more_often_than_allowed_however_long_it_was_quiet() -> None:
    """The promise of what forgets: weighted false alarms, over weighted alarms or one, each in expectation."""
    rng, keep, false, most = np.random.default_rng(7), 0.95, [], []
    procedure = Fading(0.1, keep=keep)
    for _ in range(400):
        state, wrong, all_ = procedure.start(), 0.0, 0.0
        for _ in range(120):
            hit = (p_value := float(rng.random())) <= procedure.level(state)
            wrong, all_ = keep * wrong + hit, keep * all_ + hit
            state = procedure.step(state, p_value)
        false.append(wrong)
        most.append(max(1.0, all_))
    assert np.mean(false) <= 0.1 * np.mean(most) + 4 * np.std(false) / 20


def test_what_cannot_forget_says_so() -> None:
    with pytest.raises(ValueError, match="'addis' has no form that forgets"):
        control("addis", 0.1, 0.9)
    with pytest.raises(KeyError):
        inside("holm")
