"""Every statistic of one column against an independent oracle."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import integrate, spatial, stats

from detectors.adapters import alibi as alibi_adapter
from detectors.adapters import evidently as evidently_adapter
from detectors.evaluating.catalogue import check_detectors
from detectors.statistics.brownian_bridge import STEPS
from detectors.statistics.columns import alone
from detectors.statistics.count_passes import homogeneity
from detectors.statistics.effect_size import effect_size
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.quadratic_form import Steps, steps, tail
from detectors.statistics.reasons import movement
from detectors.statistics.tables import binomial_p_value, binomial_p_values, tables
from detectors.statistics.two_proportions import two_proportions
from detectors.univariate.anderson_darling import anderson_darling
from detectors.univariate.chi_square import chi_square
from detectors.univariate.cramer_von_mises import cramer_von_mises
from detectors.univariate.energy_distance import energy_distance
from detectors.univariate.g_test import likelihood_ratio, williams
from detectors.univariate.hellinger import distance as hellinger_distance
from detectors.univariate.jensen_shannon import distance
from detectors.univariate.ks import ks
from detectors.univariate.psi import psi, stability_index
from detectors.univariate.wasserstein import wasserstein
from driftline.errors import MonitorError
from driftline.monitors import parse_monitor
from tests.parts.column_samples import BRIDGE, categorical, numeric, rows

COUNTS = arrays.arrays(np.int64, 12, elements=st.integers(0, 400)).filter(lambda counts: counts[1:-2].sum() > 0)


@settings(max_examples=40, deadline=None)
@given(COUNTS, COUNTS)
def test_ks_agrees_with_scipy_on_the_rows(reference: NDArray[np.int64], current: NDArray[np.int64]) -> None:
    found = ks(numeric(reference, current))
    oracle = stats.ks_2samp(rows(reference), rows(current), method="asymp")
    assert found.statistic == pytest.approx(oracle.statistic, abs=1e-12)
    assert found.p_value is not None
    # scipy corrects for the sample size, the limit law does not: never far apart, and ours never the smaller by much.
    assert found.p_value >= oracle.pvalue * 0.8 - 1e-9


def test_ks_is_exact_for_small_samples() -> None:
    reference, current = np.zeros(203, dtype=np.int64), np.zeros(203, dtype=np.int64)
    reference[1:101], current[11:61] = 1, 1
    oracle = stats.ks_2samp(rows(reference), rows(current), method="exact")
    assert ks(numeric(reference, current)).p_value == pytest.approx(oracle.pvalue)


@pytest.mark.filterwarnings("error")
def test_ks_is_exact_without_a_warning_where_both_samples_differ_least() -> None:
    """Where scipy's exact sum comes out above 1 (at 37 and 37 rows, say), it warns and takes another law."""
    for count in range(1, 201):
        reference, current = np.zeros(203, dtype=np.int64), np.zeros(203, dtype=np.int64)
        reference[1:3], current[1:3] = (count, 0), (count - 1, 1)
        assert ks(numeric(reference, current)).p_value == pytest.approx(1.0, abs=1e-9)  # any two samples differ so much


@settings(max_examples=40, deadline=None)
@given(COUNTS, COUNTS)
def test_wasserstein_agrees_with_scipy_in_standard_deviations(reference, current) -> None:
    reference[[0, -2, -1]] = current[[0, -2, -1]] = 0
    found = wasserstein(numeric(reference, current))
    before, now = rows(reference) - 1.0, rows(current) - 1.0
    scale = before.std() or abs(before.mean()) or 1.0
    assert found.statistic == pytest.approx(stats.wasserstein_distance(before, now) / scale, abs=1e-9)


def test_the_area_under_a_bridge_has_its_known_mean_and_variance() -> None:
    areas = BRIDGE[:, :STEPS].mean(axis=1)
    assert areas.mean() == pytest.approx(np.sqrt(np.pi / 32), rel=0.02)
    assert areas.var() == pytest.approx(7 / 60 - np.pi / 32, rel=0.08)


def distinct(rng: np.random.Generator, n: int, m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two samples without ties, as counts of bins that hold one row each."""
    order = rng.permutation(n + m) < n
    ends = np.zeros(1, dtype=np.int64), np.zeros(2, dtype=np.int64)
    return np.concatenate((ends[0], order, ends[1])), np.concatenate((ends[0], ~order, ends[1]))


def test_cramer_von_mises_agrees_with_scipy_where_there_are_no_ties() -> None:
    rng = np.random.default_rng(2)
    for n, m in ((80, 120), (200, 60), (150, 150)):
        before, now = distinct(rng, n, m)
        oracle = stats.cramervonmises_2samp(rows(before), rows(now), method="asymptotic")
        found = cramer_von_mises(numeric(before, now))
        # scipy counts ranks, whose square is a little larger for being centred: T + 1/6 - (4nm - 1) / 6(n + m) terms.
        assert found.statistic == pytest.approx(oracle.statistic, abs=1.0 / min(n, m))
        assert found.p_value == pytest.approx(oracle.pvalue, rel=0.15, abs=0.02)


def test_anderson_darling_is_scholz_and_stephens_sixth_formula_in_both_directions() -> None:
    rng = np.random.default_rng(3)
    before, now = rng.integers(0, 30, 12), rng.integers(0, 30, 12)
    n, m, together = before.sum(), now.sum(), before + now
    total = n + m
    expected = 0.0
    for way in (1, -1):
        for counts, size in ((before[::way], n), (now[::way], m)):
            below, all_below = np.cumsum(counts)[:-1], np.cumsum(together[::way])[:-1]
            squares = (total * below - size * all_below) ** 2 / (all_below * (total - all_below))
            expected += (together[::way][:-1] / total * squares).sum() / size / 2
    assert anderson_darling(numeric(before, now)).statistic == pytest.approx(expected)


@pytest.mark.parametrize("detect", [ks, cramer_von_mises, anderson_darling])
def test_tests_of_distribution_functions_do_not_know_up_from_down(detect: Callable[[ColumnSample], Evidence]) -> None:
    rng = np.random.default_rng(12)
    before, now = rng.integers(0, 30, 12), rng.integers(0, 30, 12)
    found, mirrored = detect(numeric(before, now)), detect(numeric(before[::-1], now[::-1]))
    assert found.statistic == pytest.approx(mirrored.statistic)
    assert found.p_value == pytest.approx(mirrored.p_value)


def test_energy_distance_agrees_with_scipy_in_standard_deviations() -> None:
    rng = np.random.default_rng(4)
    before, now = rng.integers(0, 300, 12), rng.integers(0, 60, 12)
    before[[0, -2, -1]] = now[[0, -2, -1]] = 0
    values, values_now = rows(before) - 1.0, rows(now) - 1.0
    oracle = stats.energy_distance(values, values_now) / np.sqrt(values.std())
    assert energy_distance(numeric(before, now)).statistic == pytest.approx(oracle)


def test_quadratic_sums_have_the_points_of_the_published_tables() -> None:
    """The limits of Cramer-von Mises and Anderson-Darling: Csorgo and Faraway 1996, Marsaglia and Marsaglia 2004."""
    j = np.arange(1, 2001)
    for lambdas, points in (
        (1.0 / (np.pi * j) ** 2, {0.10: 0.34730, 0.05: 0.46136, 0.01: 0.74346, 0.001: 1.16786}),
        (1.0 / (j * (j + 1)), {0.10: 1.9330, 0.05: 2.4924, 0.01: 3.8781}),
    ):
        for p_value, point in points.items():
            assert 0.99 * p_value <= tail(lambdas, point) <= 1.1 * p_value


def test_a_sum_of_equal_weights_is_a_chi_square_wherever_it_is_asked_for() -> None:
    for weights in (1, 2, 5, 40):
        for x in (0.0, 0.2, 0.999 * weights, weights, 1.001 * weights, 3.0 * weights, 200.0 + weights):
            oracle = stats.chi2.sf(x, weights)
            assert 0.97 * oracle <= tail(np.full(weights, 2.0), 2.0 * x) <= 1.1 * oracle + 1e-300


def test_the_eigenvalues_are_those_of_the_full_matrix() -> None:
    rng = np.random.default_rng(6)
    seen = steps(rng.integers(1, 50, 20), rng.integers(0, 50, 20))
    weights = rng.uniform(0.1, 2.0, len(seen.pooled))
    covariance = np.minimum.outer(seen.pooled, seen.pooled) - np.multiply.outer(seen.pooled, seen.pooled)
    full = np.linalg.eigvalsh(covariance * np.sqrt(np.multiply.outer(weights, weights)))
    draws = (rng.standard_normal((200_000, len(full))) ** 2) @ full
    for point in np.quantile(draws, [0.5, 0.95, 0.999]):
        scaled = Steps(np.sqrt(np.full(len(weights), point) / weights.sum()), seen.pooled, seen.bins, 1.0)
        assert scaled.p_value(weights) == pytest.approx((draws >= point).mean(), rel=0.1)


def test_many_thresholds_are_put_together_and_the_law_stays() -> None:
    rng = np.random.default_rng(8)
    seen = steps(rng.integers(1, 50, 256), rng.integers(0, 50, 256))
    flat = np.diff(seen.pooled, prepend=0.0)
    for weights in (flat, flat / (seen.pooled * (1 - seen.pooled)), rng.pareto(1.5, len(flat)) + 0.01):
        covariance = np.minimum.outer(seen.pooled, seen.pooled) - np.multiply.outer(seen.pooled, seen.pooled)
        full = np.linalg.eigvalsh(covariance * np.sqrt(np.multiply.outer(weights, weights)))
        for times_the_mean in (1.5, 3.0, 6.0):
            point = times_the_mean * full.sum()
            scaled = Steps(np.sqrt(np.full(len(weights), point) / weights.sum()), seen.pooled, seen.bins, 1.0)
            assert scaled.p_value(weights) == pytest.approx(tail(full, point), rel=0.05)


def test_g_agrees_with_scipy_and_hellinger_with_its_closed_form() -> None:
    before, now = np.array([300, 200, 90, 60, 30]), np.array([100, 90, 10, 30, 20])
    oracle = stats.chi2_contingency([before, now], lambda_="log-likelihood")
    assert likelihood_ratio(before, now) == pytest.approx(oracle.statistic)
    total, columns = (before + now).sum(), before + now
    correction = (total / before.sum() + total / now.sum() - 1) * ((total / columns).sum() - 1) / (6 * total * 4)
    assert williams(before, now) == pytest.approx(1 + correction)
    # Of two geometric laws on the whole numbers: the coefficient of their overlap has a closed form.
    p, q = 0.3, 0.5
    k = np.arange(400)
    overlap = np.sqrt(p * q) / (1 - np.sqrt((1 - p) * (1 - q)))
    found = hellinger_distance(p * (1 - p) ** k, q * (1 - q) ** k)
    assert found == pytest.approx(np.sqrt(1 - overlap))


def test_psi_is_that_of_two_normal_laws() -> None:
    # PSI of N(0, 1) and N(1, 1) is 1; by quadrature here, by binned samples in the detector (bins can only lower it).
    gap = integrate.quad(lambda x: (stats.norm.pdf(x, 1) - stats.norm.pdf(x)) * (x - 0.5), -12, 13)[0]
    assert gap == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    edges = np.linspace(-4, 5, 257)
    counted = [
        np.concatenate(([0], np.histogram(rng.normal(mean, 1, 100_000), edges)[0], [0, 0])) for mean in (0.0, 1.0)
    ]
    assert 0.85 <= psi(numeric(*counted)).statistic <= 1.0


def test_jensen_shannon_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, other = rng.dirichlet(np.ones(8)), rng.dirichlet(np.ones(8))
        assert distance(one, other) == pytest.approx(spatial.distance.jensenshannon(one, other, base=2))


def test_chi_square_agrees_with_scipys_contingency_table() -> None:
    before, now = [300, 200, 90, 60, 30], [100, 90, 10, 30, 20]
    oracle = stats.chi2_contingency([before, now])
    found = chi_square(categorical(before, now))
    assert homogeneity(np.array(before), np.array(now)) == pytest.approx(oracle.statistic)
    assert (found.statistic, found.p_value) == pytest.approx((oracle.statistic, oracle.pvalue))


def test_the_exact_tail_agrees_with_scipys_binomial_test() -> None:
    for hits, trials, share in ((0, 4, 0.1), (3, 4, 0.1), (9, 30, 0.2), (1, 30, 0.2)):
        oracle = min(stats.binomtest(hits, trials, share, side).pvalue for side in ("less", "greater"))
        (found,) = binomial_p_values(np.array([hits]), np.array([trials]), np.array([share]))
        assert found == pytest.approx(min(1.0, 2 * oracle))
        assert found == binomial_p_value(hits, trials, share)


def test_one_unseen_value_in_a_million_rows_proves_nothing_and_thirty_in_a_hundred_do() -> None:
    assert chi_square(categorical([500_000, 500_000, 0, 0], [500_000, 499_999, 1, 0])).p_value == pytest.approx(1.0)
    for detect in (chi_square, psi):
        found = detect(categorical([2500, 2500, 0, 0], [35, 35, 30, 0]))
        assert found.p_value is not None
        assert found.p_value < 1e-30


def test_sparse_categories_are_pooled_and_no_row_is_lost() -> None:
    found = tables(alone(categorical([5000, 3, 2, 1, 1, 0, 4], [500, 0, 1, 0, 0, 1, 0]))).counted
    used = found.dense | found.sparse
    assert [side[used].sum() for side in found.rows] == [5011, 502]
    assert (found.dense.sum(), found.sparse.sum()) == (1, 3)


def test_two_proportions_are_about_as_sure_as_fishers_exact_test() -> None:
    for hits, trials, before, trials_before in ((30, 100, 100, 1000), (5, 50, 20, 800), (97, 100, 700, 800)):
        oracle = stats.fisher_exact([[hits, trials - hits], [before, trials_before - before]]).pvalue
        found = two_proportions(hits, trials, before, trials_before).p_value
        assert found is not None
        assert oracle * 0.9 <= found <= max(3.0 * oracle, oracle**0.7)


@settings(max_examples=60, deadline=None)
@given(COUNTS, COUNTS)
def test_effects_lie_in_their_intervals_and_chance_is_taken_off(reference, current) -> None:
    sample = numeric(reference, current)
    effect = effect_size(sample)
    assert 0.0 <= effect.lower <= effect.value <= effect.upper <= 1.0
    assert effect.value <= ks(sample).statistic
    same = effect_size(ColumnSample("c", "categorical", reference, reference))
    assert (same.value, same.lower) == (0.0, 0.0)


def test_stability_of_equal_shares_is_zero() -> None:
    shares = np.array([0.2, 0.3, 0.5])
    assert stability_index(shares, shares) == 0.0


# --- names ----------------------------------------------------------------------------------------------------------
def monitor(detectors: str):
    return parse_monitor(
        f"model: m\ntask: multiclass\ncolumns: [{{name: x, type: numeric}}]\ndetectors: {detectors}", "m.yaml"
    )


def test_the_default_detectors_are_known() -> None:
    check_detectors(monitor("{}"))


@pytest.mark.parametrize(
    ("detectors", "message"),
    [
        ("{numeric: [kss]}", r"detectors\.numeric\.0: 'kss' is not a detector; did you mean 'ks'\?"),
        ("{numeric: [zzzzzz]}", r"'zzzzzz' is not a detector; known: ks, psi"),
        ("{categorical: [ks]}", r"detectors\.categorical\.0: 'ks' cannot look at categorical columns"),
        ("{numeric: [evidently:psi, ks]}", r"'evidently:psi' has no p-value and cannot decide"),
        ("{categorical: []}", r"detectors\.categorical: names no detector"),
    ],
)
def test_wrong_detector_names_are_refused_with_the_nearest_valid_one(detectors: str, message: str) -> None:
    with pytest.raises(MonitorError, match=message):
        check_detectors(monitor(detectors))


def test_an_absent_library_is_named_with_its_extra_and_licence() -> None:
    wanted = [
        (alibi_adapter, "alibi:ks", r"driftline\[alibi\].*licence"),
        (evidently_adapter, "evidently:ks", r"driftline\[evidently\]"),
    ]
    for adapter, name, message in wanted:
        if adapter.AVAILABLE:
            check_detectors(monitor(f"{{numeric: ['{name}']}}"))
            continue
        with pytest.raises(MonitorError, match=message):
            check_detectors(monitor(f"{{numeric: ['{name}']}}"))
        with pytest.raises(MonitorError, match=message):
            adapter.ks(numeric(np.ones(12, dtype=np.int64), np.ones(12, dtype=np.int64)))


# --- other people's detectors, where installed ------------------------------------------------------------------------
@pytest.mark.extras
@pytest.mark.skipif(not alibi_adapter.AVAILABLE, reason="alibi-detect is not installed")
def test_alibi_detect_agrees_where_the_methods_coincide() -> None:
    before, now = np.array([0, 300, 300, 300, 0, 0]), np.array([0, 50, 60, 90, 0, 0])
    sample = numeric(before, now)
    theirs = alibi_adapter.ks(sample)
    oracle = stats.ks_2samp(rows(before), rows(now), method="asymp")
    assert theirs.statistic == pytest.approx(ks(sample).statistic, abs=1e-6)
    assert theirs.p_value == pytest.approx(oracle.pvalue, rel=1e-5)
    # Theirs takes the reference's shares for certain and so has the larger statistic.
    counted = categorical([300, 300, 300, 0, 0], [50, 60, 90, 0, 0])
    certain = stats.chisquare([50, 60, 90], [200 / 3] * 3).statistic
    assert alibi_adapter.chi_square(counted).statistic >= chi_square(counted).statistic
    assert certain >= chi_square(counted).statistic


@pytest.mark.extras
@pytest.mark.skipif(not evidently_adapter.AVAILABLE, reason="Evidently is not installed")
def test_evidently_agrees_where_the_methods_coincide() -> None:
    before, now = np.array([0, 300, 300, 300, 0, 0]), np.array([0, 50, 60, 90, 0, 0])
    sample = numeric(before, now)
    oracle = stats.ks_2samp(rows(before), rows(now)).pvalue
    assert evidently_adapter.ks(sample).statistic == pytest.approx(oracle, rel=1e-6)
    assert evidently_adapter.ks(sample).direction == "smaller_is_worse"
    assert evidently_adapter.wasserstein(sample).statistic == pytest.approx(wasserstein(sample).statistic, rel=1e-6)
    assert evidently_adapter.psi(sample).p_value is None
    counted = categorical([300, 300, 300, 0, 0], [50, 60, 90, 0, 0])
    assert evidently_adapter.psi(counted).statistic == pytest.approx(psi(counted).statistic, rel=0.1)
    assert 0.0 <= (evidently_adapter.chisquare(counted).p_value or 0.0) < 0.05
    assert evidently_adapter.jensenshannon(counted).statistic > 0.0


@pytest.mark.parametrize(
    ("current", "told"),
    [
        ([20, 70, 110, 0, 0], "moved down about the same median 3"),
        ([0, 0, 110, 70, 20], "moved up about the same median 3"),
        ([60, 10, 60, 10, 60], "changed its shape about the same median 3"),
    ],
)
def test_rows_that_all_went_one_way_are_said_to_even_where_the_median_stayed(current: list[int], told: str) -> None:
    before, now = (np.array([0, *side, 0, 0]) for side in ([20, 50, 60, 50, 20], current))
    sample = ColumnSample(
        "x", "numeric", before, now, values=np.array([np.nan, 1.0, 2.0, 3.0, 4.0, 5.0, np.nan, np.nan])
    )
    assert movement(sample) == told
