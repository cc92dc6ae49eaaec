"""The false-alarm budget is kept where nothing moved, and shifts are found where something did."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from detectors.counts.binning import full_edges
from detectors.counts.layout import Kind
from detectors.counts.reference_bins import numeric_cuts
from detectors.error_control.benjamini_hochberg import adjusted, rejected
from detectors.evaluating.catalogue import detector
from detectors.evaluating.decision import Rule, decide, decide_window
from detectors.statistics.brownian_bridge import absolute_bridges, area_nulls
from detectors.statistics.effect_size import effect_size
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.wilson import difference, wilson
from driftline.results import Verdict

RULE = Rule(false_alarm_rate=0.05, minimum_effect=0.1)
BRIDGE = absolute_bridges(np.random.default_rng(3), draws=1000)
P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20)


@given(P_VALUES, st.floats(0.001, 0.5))
def test_rejections_agree_with_scipys_adjusted_p_values(p_values: list[float], rate: float) -> None:
    oracle = stats.false_discovery_control(p_values)
    assert adjusted(p_values) == pytest.approx(oracle.tolist())
    for found, adjusted_p in zip(rejected(p_values, rate), oracle, strict=True):
        if abs(adjusted_p - rate) > 1e-9:
            assert found == (adjusted_p <= rate)


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (1, 7), (50, 100), (100, 100)])
def test_wilsons_interval_agrees_with_scipy(hits: int, trials: int) -> None:
    oracle = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    found = wilson(hits, trials)
    assert (found.lower, found.upper) == pytest.approx((oracle.low, oracle.high))


def test_newcombes_interval_is_that_of_the_paper() -> None:
    # Newcombe 1998, table II, example (a): 56/70 against 48/80, method 10.
    found = difference(56, 70, 48, 80)
    assert (round(found.value, 4), round(found.lower, 4), round(found.upper, 4)) == (0.2, 0.0524, 0.3339)


def test_only_a_sure_and_large_change_is_drift() -> None:
    (found,) = decide([[1e-9, 1e-9, 0.5, None]], [0.3, 0.05, 0.3, 0.9], RULE)
    assert found == [Verdict.DRIFTED, Verdict.WARNING, Verdict.OK, Verdict.OK]


def test_the_first_detector_decides_and_the_others_are_shown() -> None:
    assert decide([[0.5], [1e-9]], [0.3], RULE) == [[Verdict.OK], [Verdict.WARNING]]
    assert decide([[1e-9], [1e-9], [0.9]], [0.3], RULE) == [[Verdict.DRIFTED], [Verdict.DRIFTED], [Verdict.OK]]
    assert decide([], [], RULE) == []


def test_the_window_drifts_with_as_many_columns_as_asked() -> None:
    rule = Rule(0.05, 0.1, drifted_columns=2)
    ok, warned, drifted = Verdict.OK, Verdict.WARNING, Verdict.DRIFTED
    assert decide_window([drifted, drifted, ok], rule) is drifted
    assert decide_window([drifted, ok], rule) is warned
    assert decide_window([warned, ok], rule) is warned
    assert decide_window([ok, ok], rule) is ok
    assert decide_window([], rule) is Verdict.NOT_ENOUGH_EVIDENCE


# --- simulation: fourteen columns, binned counts drawn as windows would be --------------------------------------------
COLUMNS, REFERENCE_ROWS, WINDOW_ROWS = 14, 5000, 400


def _laws(rng: np.random.Generator) -> list[tuple[Kind, NDArray[np.float64]]]:
    """True shares per bin: continuous columns, few-valued ones, some missing, categories even and skewed."""
    laws: list[tuple[Kind, NDArray[np.float64]]] = []
    bins = len(full_edges(numeric_cuts(rng.normal(size=REFERENCE_ROWS)))) + 1
    for missing in (0.0, 0.0, 0.01, 0.3, 0.0, 0.0):
        shares = np.concatenate(([0.0], np.full(bins - 3, 1.0 / (bins - 3)), [0.0, 0.0])) * (1 - missing)
        shares[-1] = missing
        laws.append(("numeric", shares))
    laws.append(("numeric", np.array([0.0, 0.7, 0.2, 0.1, 0.0, 0.0])))
    for categories, slope in ((3, 0.0), (10, 0.0), (50, 0.0), (50, 1.0), (200, 1.2), (2, 3.0), (16, 0.5)):
        shares = np.arange(1, categories + 1.0) ** -slope
        laws.append(("categorical", np.concatenate((shares / shares.sum() * 0.998, [0.0, 0.002]))))
    return laws


def _verdicts(detectors: dict[Kind, str], windows: int, seed: int, shift: float = 0.0) -> list[list[Verdict]]:
    rng = np.random.default_rng(seed)
    laws = _laws(rng)
    moved = [_shifted(shares, shift) if place == 0 else shares for place, (_, shares) in enumerate(laws)]
    # Each window meets a reference of its own: the budget holds over references too, not only over windows.
    references = [rng.multinomial(REFERENCE_ROWS, shares, size=windows) for _, shares in laws]
    currents = [rng.multinomial(WINDOW_ROWS, shares, size=windows) for shares in moved]
    result = []
    for window in range(windows):
        p_values, effects = [], []
        for place, (kind, shares) in enumerate(laws):
            values = np.concatenate(([np.nan], np.arange(len(shares) - 3.0), [np.nan, np.nan]))
            sample = ColumnSample(
                "x",
                kind,
                references[place][window],
                currents[place][window],
                values,
                nulls=area_nulls(references[place][window], values, BRIDGE),
            )
            p_values.append(detector(detectors[kind])(sample).p_value)
            effects.append(effect_size(sample).value)
        result += decide([p_values], effects, RULE)
    return result


def _shifted(shares: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    result = shares.copy()
    half = len(shares) // 2
    result[1:half] *= 1 - 2 * shift
    result[half:-2] *= (1 - result[1:half].sum() - result[-1]) / result[half:-2].sum()
    return result / result.sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numeric", "categorical"), [("ks", "chi_square"), ("psi", "jensen_shannon"), ("wasserstein", "psi")]
)
def test_undrifted_windows_raise_no_more_alarms_than_the_budget_allows(numeric: str, categorical: str) -> None:
    windows = 160
    verdicts = _verdicts({"numeric": numeric, "categorical": categorical}, windows, seed=11)
    drifted = sum(Verdict.DRIFTED in given for given in verdicts)
    significant = sum(set(given) != {Verdict.OK} for given in verdicts)
    # Even without the minimum effect the budget of 5 % must hold; the bound leaves Monte Carlo one chance in 10,000.
    assert significant <= stats.binom.ppf(0.9999, windows, RULE.false_alarm_rate)
    assert drifted <= stats.binom.ppf(0.9999, windows, RULE.false_alarm_rate / 2)


@pytest.mark.parametrize("numeric", ["ks", "psi", "wasserstein"])
def test_a_moved_column_among_fourteen_is_found(numeric: str) -> None:
    verdicts = _verdicts({"numeric": numeric, "categorical": "chi_square"}, windows=40, seed=12, shift=0.2)
    assert sum(given[0] is Verdict.DRIFTED for given in verdicts) >= 38
    assert sum(Verdict.DRIFTED in given[1:] for given in verdicts) <= 6
