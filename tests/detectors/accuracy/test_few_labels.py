"""Intervals of ten, thirty and a hundred labels: how often they hold what a million labels show."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from detectors.accuracy.class_means import class_means
from detectors.accuracy.performance import expected_performance, measure, performance_results
from detectors.accuracy.regression import tail_weight
from detectors.counts.performance_counts import PerformanceLayout, count_judged
from detectors.statistics.bounded_mean import bounded_mean, exact_share
from detectors.statistics.wilson import wilson
from driftline.columns import JudgedBatch
from driftline.results import HEAVY_TAILS, Interval, StreamKey, WindowKey

Draw = Callable[[np.random.Generator, int], JudgedBatch]
LAYOUTS = {
    "binary": PerformanceLayout("binary", "1"),
    "multiclass": PerformanceLayout("multiclass", "", ("a", "b", "c")),
    "ten": PerformanceLayout("multiclass", "", tuple("abcdefghij")),
    "regression": PerformanceLayout("regression"),
}
RUNS, LABELS, EXPECTED = 150, (10, 30, 100), 0.94


def of_scores(low: float, high: float, power: float = 1.0) -> Draw:
    """Scores whose right values follow a beta law, and are told to this power."""

    def draw(rng: np.random.Generator, rows: int) -> JudgedBatch:
        right = rng.beta(low, high, rows)
        score, truth = right**power, rng.random(rows) < right
        said, label = ((score > 0.5).astype(int).astype(str), truth.astype(int).astype(str))
        return JudgedBatch(said.astype(object), score, label.astype(object), np.ones(rows, dtype=np.int64))

    return draw


def of_classes(shares: Sequence[float], right: Sequence[float]) -> Draw:
    """Classes so frequent, and recognised so often; what is wrong is any class."""
    names, hits = np.array(list("abcdefghij"[: len(shares)]), dtype=object), np.array(right)

    def draw(rng: np.random.Generator, rows: int) -> JudgedBatch:
        truth = rng.choice(len(names), rows, p=shares)
        said = np.where(rng.random(rows) < hits[truth], truth, rng.integers(0, len(names), rows))
        score = np.clip(rng.normal(0.85, 0.1, rows), 0.0, 1.0)
        return JudgedBatch(names[said], score, names[truth], np.ones(rows, dtype=np.int64))

    return draw


def of_errors(errors: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    def draw(rng: np.random.Generator, rows: int) -> JudgedBatch:
        truth = 2.0 * rng.normal(size=rows)
        return JudgedBatch(truth + errors(rng, rows), np.full(rows, np.nan), truth, np.ones(rows, dtype=np.int64))

    return draw


LAWS: dict[str, tuple[str, Draw]] = {
    "honest scores": ("binary", of_scores(2.0, 3.0)),
    "rare positives": ("binary", of_scores(1.0, 9.0)),
    "sure scores": ("binary", of_scores(0.5, 0.5)),
    "scores too high": ("binary", of_scores(2.0, 3.0, 0.5)),
    "scores much too high": ("binary", of_scores(6.0, 4.0, 0.3)),
    "classes": ("multiclass", of_classes([0.5, 0.3, 0.2], [0.85] * 3)),
    "a class of one in twenty": ("multiclass", of_classes([0.6, 0.35, 0.05], [0.9, 0.9, 0.4])),
    "a class of one in a hundred": ("multiclass", of_classes([0.7, 0.29, 0.01], [0.9, 0.8, 0.2])),
    "ten classes": ("ten", of_classes([0.1] * 10, [0.8] * 10)),
    "normal errors": ("regression", of_errors(lambda rng, rows: rng.normal(size=rows))),
    "one-sided errors": ("regression", of_errors(lambda rng, rows: rng.exponential(size=rows))),
    "heavy-tailed errors": ("regression", of_errors(lambda rng, rows: rng.standard_t(5, rows))),
    "even errors": ("regression", of_errors(lambda rng, rows: rng.uniform(-1.0, 1.0, rows))),
}


@pytest.mark.parametrize("law", LAWS)
def test_few_labels_say_as_little_as_they_know(law: str) -> None:
    task, draw = LAWS[law]
    layout = LAYOUTS[task]
    many = count_judged(layout, draw(np.random.default_rng(1), 300_000))
    truth = {one.name: one.interval.value for one in measure(layout, many, np.random.default_rng(0))}
    for labels in LABELS:
        rng, held = np.random.default_rng(labels), dict[str, list[bool]]()
        for run in range(RUNS):
            for one in measure(layout, count_judged(layout, draw(rng, labels)), np.random.default_rng(run)):
                ends = one.interval.lower - 1e-3, one.interval.upper + 1e-3
                held.setdefault(one.name, []).append(ends[0] <= truth[one.name] <= ends[1])
        for name, found in held.items():
            if "[" in name:
                continue
            least = EXPECTED - 3.5 * np.sqrt(EXPECTED * (1.0 - EXPECTED) / len(found))
            assert np.mean(found) >= least, (labels, name, np.mean(found))


@pytest.mark.parametrize("trials", [10, 30, 100])
def test_shares_are_held_whatever_they_are(trials: int) -> None:
    hits = np.arange(trials + 1)
    ends = [exact_share(each, trials) for each in hits]
    rough = [wilson(each, trials) for each in hits]
    shares = np.linspace(0.002, 0.998, 499)
    held = np.array([[one.lower <= share <= one.upper for one in ends] for share in shares])
    roughly = np.array([[one.lower <= share <= one.upper for one in rough] for share in shares])
    chances = stats.binom.pmf(hits, trials, shares[:, None])
    assert (held * chances).sum(axis=1).min() >= 0.95
    assert (roughly * chances).sum(axis=1).min() < 0.935  # why it is not Wilson's
    for each, one in zip(hits, ends, strict=True):
        found = stats.binomtest(int(each), trials).proportion_ci(method="exact")
        assert (one.lower, one.upper) == pytest.approx((found.low, found.high))


def test_a_mean_of_zeros_and_ones_is_a_share() -> None:
    for hits in (0, 1, 7, 29, 30):
        found, share = bounded_mean(30, float(hits), float(hits)), exact_share(hits, 30)
        assert (found.value, found.lower, found.upper) == pytest.approx((share.value, share.lower, share.upper))


def test_what_is_known_of_the_scatter_widens_a_mean() -> None:
    plain, known = bounded_mean(30, 3.0, 0.3), bounded_mean(30, 3.0, 0.3, least_variance=0.09)
    assert known.lower < plain.lower < plain.upper < known.upper
    assert bounded_mean(30, 3.0, 0.3, least_variance=10.0).upper < 1.0


# --- means over classes -----------------------------------------------------------------------------------------------
def scattered(chances: np.ndarray, rows: int, runs: int) -> np.ndarray:
    """Confusion tables of so many rows, with a place for all other classes, which nothing is in."""
    side = len(chances)
    drawn = np.random.default_rng(rows).multinomial(rows, chances.ravel(), size=runs).reshape(runs, side, side)
    return np.pad(drawn, ((0, 0), (0, 1), (0, 1)))


def test_the_mean_over_one_class_is_that_class() -> None:
    found, share = class_means(np.array([[20, 0], [0, 0]])), exact_share(20, 20)
    for name in ("recall_macro", "precision_macro", "precision_weighted"):
        assert (found[name].value, found[name].lower, found[name].upper) == pytest.approx((1.0, share.lower, 1.0))


def test_a_known_class_that_did_not_occur_may_have_any_recall_until_it_would_have() -> None:
    few, many = ((np.pad(np.diag([rows // 2, rows // 2]), (0, 2))) for rows in (40, 2000))
    absent, gone = class_means(few)["recall_macro"], class_means(many)["recall_macro"]
    assert absent.value == gone.value == 1.0
    assert absent.lower < 2 / 3 < 0.99 < gone.lower
    known = class_means(few[[0, 1, 3]][:, [0, 1, 3]])["recall_macro"]
    assert absent.lower == pytest.approx(known.lower * 2 / 3)


@pytest.mark.parametrize("rows", [10, 30, 100, 1000])
def test_a_rare_class_does_not_make_means_look_sure(rows: int) -> None:
    chances = np.array([[0.63, 0.05, 0.02], [0.04, 0.24, 0.01], [0.005, 0.002, 0.003]])
    hits, there, said = np.diagonal(chances), chances.sum(axis=1), chances.sum(axis=0)
    truth = {"recall": hits / there, "precision": hits / said, "f1": 2.0 * hits / (there + said)}
    tables = scattered(chances, rows, 400)
    found = [class_means(table) for table in tables]
    for name, rates in truth.items():
        held = np.mean([one[f"{name}_macro"].lower <= rates.mean() <= one[f"{name}_macro"].upper for one in found])
        assert held >= 0.95 - 3.0 * np.sqrt(0.05 * 0.95 / len(found)), name


# --- the mean of errors -----------------------------------------------------------------------------------------------
def lognormal(rng: np.random.Generator, rows: int) -> JudgedBatch:
    return of_errors(lambda rng, rows: rng.lognormal(size=rows))(rng, rows)


def test_a_reference_that_has_seen_the_tails_makes_intervals_of_few_labels_hold() -> None:
    layout, square = LAYOUTS["regression"], float(stats.lognorm(1.0).moment(2))
    truth = {"rmse": np.sqrt(square), "r2": 1.0 - square / 4.0}
    for labels in (10, 30, 100, 1000):
        rng = np.random.default_rng((labels, 7))
        alone, beside = ({name: list[bool]() for name in truth} for _ in range(2))
        for run in range(200):
            if run % 10 == 0:
                tail = tail_weight(count_judged(layout, lognormal(rng, 2000)))
            counted = count_judged(layout, lognormal(rng, labels))
            for held, expected in ((alone, 0.0), (beside, tail)):
                for one in measure(layout, counted, rng, expected):
                    if one.name in truth:
                        ends = one.interval
                        held[one.name].append(ends.lower <= truth[one.name] <= ends.upper)
        for name in truth:
            least = EXPECTED - 3.5 * np.sqrt(EXPECTED * (1.0 - EXPECTED) / len(beside[name]))
            assert np.mean(beside[name]) >= max(least, np.mean(alone[name]) + 0.02), (labels, name)


@pytest.mark.parametrize(
    ("draw", "rows", "heavy"),
    [(LAWS["normal errors"][1], 300, False), (LAWS["even errors"][1], 30, False), (lognormal, 3000, True)],
)
def test_heavy_tails_are_told_beside_what_they_decide(draw: Draw, rows: int, heavy: bool) -> None:
    layout = LAYOUTS["regression"]
    few, many = (count_judged(layout, draw(np.random.default_rng(5), count)) for count in (20, rows))
    key = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 1.0)
    cases = ((many, None), (few, expected_performance(layout, many)))
    for section, expected in cases:
        found = performance_results(key, layout, section, expected, rows, 1)
        told = {result.detector for result in found if HEAVY_TAILS in result.reason}
        assert told == ({"rmse", "r2"} if heavy else set())
        assert {result.detector for result in found if result.heavy_tails} == told


def test_the_reference_s_tails_move_nothing_but_the_upper_end_and_that_within_a_bound() -> None:
    layout = LAYOUTS["regression"]
    counted = count_judged(layout, LAWS["normal errors"][1](np.random.default_rng(5), 40))
    plain, light, heavy, monstrous = (
        {one.name: one.interval for one in measure(layout, counted, np.random.default_rng(0), tail)}
        for tail in (0.0, 1.0, 30.0, 1e300)
    )
    assert plain == light
    assert {name for name in plain if plain[name] != heavy[name]} == {"rmse", "r2"}
    assert heavy["rmse"].lower == plain["rmse"].lower
    assert heavy["rmse"].upper > plain["rmse"].upper
    assert heavy["r2"].upper == plain["r2"].upper
    assert heavy["r2"].lower < plain["r2"].lower
    assert monstrous["rmse"].upper == pytest.approx(plain["rmse"].value * np.exp(stats.t.ppf(0.975, 39) / 2.0))


def bias_of(errors: np.ndarray) -> Interval:
    batch = JudgedBatch(errors, np.full(len(errors), np.nan), np.zeros(len(errors)), np.ones(len(errors), dtype=int))
    measures = measure(LAYOUTS["regression"], count_judged(LAYOUTS["regression"], batch), np.random.default_rng(0))
    return next(one.interval for one in measures if one.name == "bias")


def test_a_bias_reaches_further_to_the_side_that_errors_lean_to() -> None:
    errors = np.random.default_rng(3).exponential(size=30)
    half = stats.t.ppf(0.975, 29) * stats.sem(errors)
    found, mirrored = bias_of(errors), bias_of(-errors)
    assert found.lower == pytest.approx(found.value - half)
    assert found.upper > found.value + 1.1 * half
    assert (-mirrored.upper, -mirrored.lower) == pytest.approx((found.lower, found.upper))


def test_bins_that_are_too_wide_say_nothing_of_how_errors_lean() -> None:
    errors = 1000.0 + np.random.default_rng(4).exponential(size=30)
    half = stats.t.ppf(0.975, 29) * stats.sem(errors)
    found = bias_of(errors)
    assert (found.lower, found.upper) == pytest.approx((found.value - half, found.value + half))
