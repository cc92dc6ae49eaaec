"""All columns together from sums of random features: exact sums, a kernel that is Gaussian, a law that holds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.baselines.history import KeptWindows
from detectors.baselines.reference import build_reference, load_reference
from detectors.counts.feature_reference import ExpectedFeatures, fit_features, parts_of_spread
from detectors.counts.random_features import NAME, VALUE_STEPS, WEIGHT_TURN, count_features, encode, feature_means
from detectors.counts.summary import WindowState, merge
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluated, Evaluator, default_bridge
from detectors.evaluating.job import expecting
from detectors.multivariate.mmd_features import Along, chance_square, compare
from detectors.statistics.hanging_directions import functions_along
from driftline.columns import ColumnBatch
from driftline.errors import MonitorError, ReferenceDataError
from driftline.monitors import Monitor, parse_monitor
from driftline.results import ALL_COLUMNS, WHOLE_WINDOW, Result, StreamKey, Verdict, WindowKey

KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
COLUMNS = "columns: [{name: x, type: numeric}, {name: y, type: numeric}, {name: c, type: categorical}]"


def monitor(multivariate: str = NAME, more: str = "") -> Monitor:
    text = f"model: m\ntask: binary\n{COLUMNS}\nreference: {{path: r.csv}}\nsegments: [c]\n"
    return parse_monitor(f"{text}detectors: {{multivariate: [{multivariate}]{more}}}", "m.yaml")


def frame(rng: np.random.Generator, rows: int, together: float = 0.0) -> pd.DataFrame:
    x, noise = rng.normal(size=rows), rng.normal(size=rows)
    return pd.DataFrame(
        {
            "x": x,
            "y": together * x + np.sqrt(1.0 - together**2) * noise,
            "c": rng.choice(["a", "b"], rows),
            "prediction": rng.choice(["0", "1"], rows),
        }
    )


def batch(data: pd.DataFrame) -> ColumnBatch:
    numeric = {name: data[name].to_numpy(dtype=np.float64) for name in ("x", "y")}
    return ColumnBatch(len(data), numeric, {name: data[name].to_numpy(dtype=object) for name in ("c", "prediction")})


REFERENCE = build_reference(frame(np.random.default_rng(1), 3000), monitor())
ENGINE = StatisticsEngine({"default/m": REFERENCE})


def evaluate(data: pd.DataFrame, key: WindowKey = KEY, watched: Monitor | None = None) -> Evaluated:
    state = ENGINE.observe(monitor(), None, batch(data))
    evaluator = Evaluator(watched or monitor(), REFERENCE, default_bridge())
    return evaluator.evaluate(key, WindowState.from_bytes(state))


def result_of(found: Evaluated, column: str) -> Result:
    return next(result for result in found.results if result.column == column and result.kind == "drift")


NUMBERS = st.one_of(st.floats(width=64), st.sampled_from([0.5, np.nan, np.inf, -np.inf, 1e308]))
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from(["a", "b", "new", "", None])), min_size=1, max_size=20)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(st.integers(0, 2), min_size=20, max_size=20), st.randoms(use_true_random=False))
def test_any_split_and_order_of_the_rows_gives_the_same_bytes(rows, owners, shuffler) -> None:
    def counted(state: bytes | None, some: list) -> bytes:
        texts = np.array([row[2] for row in some], dtype=object)
        numeric = {"x": np.array([row[0] for row in some]), "y": np.array([row[1] for row in some])}
        return ENGINE.observe(monitor(), state, ColumnBatch(len(some), numeric, {"c": texts}))

    mixed = list(zip(rows, owners, strict=False))
    shuffler.shuffle(mixed)
    parts: list[bytes | None] = [None, None, None]
    for row, owner in mixed:
        parts[owner] = counted(parts[owner], [row])
    states = [WindowState.from_bytes(part) for part in parts if part is not None]
    assert merge(states).to_bytes() == counted(None, rows)


def mean_kernel(a: NDArray[np.float64], b: NDArray[np.float64], width: float) -> float:
    return float(np.exp(-((a[:, None] - b[None]) ** 2).sum(axis=2) / (2.0 * width**2)).mean())


def exact_square(x: NDArray[np.float64], y: NDArray[np.float64], width: float) -> float:
    """Unbiased within the samples, as Gretton and others' equation 3."""

    within = sum((len(z) * mean_kernel(z, z, width) - 1.0) / (len(z) - 1) for z in (x, y))
    return within - 2.0 * mean_kernel(x, y, width)


def test_with_many_projections_the_distance_of_means_is_the_exact_discrepancy() -> None:
    rng = np.random.default_rng(3)
    before, now = batch(frame(rng, 400)), batch(frame(rng, 300, together=0.9))
    columns: list = [("x", "numeric", ()), ("y", "numeric", ()), ("c", "categorical", ("a", "b"))]
    fitted = fit_features(columns, before, {}, projections=4096).map
    gap = feature_means(count_features(fitted, before).values) - feature_means(count_features(fitted, now).values)
    width = 1.0 / (2.0 * np.pi * fitted.weights.std() / WEIGHT_TURN)
    vectors = [encode(fitted.columns, rows) / VALUE_STEPS for rows in (before, now)]
    exact = exact_square(vectors[0], vectors[1], width)
    assert exact > 0.02
    # A row's kernel with itself is 1: what the distance of means has and the unbiased form has not.
    within = sum((1.0 - mean_kernel(x, x, width)) / (len(x) - 1) for x in vectors)
    assert float(gap @ gap) - within == pytest.approx(exact, abs=0.003)


@pytest.mark.parametrize("kind", ["normal", "heavy", "rare"])
def test_false_alarms_keep_to_their_rate(kind: str) -> None:
    rng = np.random.default_rng(7)

    def draw(rows: int) -> ColumnBatch:
        if kind == "rare":
            values = (rng.random((rows, 6)) < 0.02).astype(np.float64)
        else:
            values = rng.normal(size=(rows, 6)) if kind == "normal" else rng.standard_t(2, size=(rows, 6))
        return ColumnBatch(rows, {str(place): values[:, place] for place in range(6)})

    p_values = []
    for _ in range(15):
        reference = draw(1500)
        fitted = fit_features(
            [(str(place), "numeric", ()) for place in range(6)], reference, {"": np.ones(1500, bool)}, 64
        )
        expected = fitted.expected[""]
        p_values += [
            compare(expected, count_features(fitted.map, draw(200)).values, 1.0).evidence.p_value for _ in range(20)
        ]
    found = np.array(p_values)
    for rate in (0.2, 0.05, 0.01):
        # Windows share references, so that they count for fewer than they are: five standard errors of 300 windows.
        assert np.mean(found <= rate) < rate + 5.0 * np.sqrt(rate * (1 - rate) / len(found))
    assert np.mean(found <= 0.2) > 0.2 - 5.0 * np.sqrt(0.16 / len(found))


def test_columns_that_only_go_together_are_drift_of_the_window() -> None:
    found = evaluate(frame(np.random.default_rng(4), 1000, together=0.9))
    together, whole = result_of(found, ALL_COLUMNS), result_of(found, WHOLE_WINDOW)
    assert together.verdict is whole.verdict is Verdict.DRIFTED
    assert together.effect is not None
    assert 0.05 < together.effect.lower < together.effect.value < together.effect.upper < 1.0
    assert "all columns together" in whole.reason
    assert whole.statistic == 0.0  # columns drifted
    quiet = evaluate(frame(np.random.default_rng(5), 1000))
    assert result_of(quiet, ALL_COLUMNS).verdict is result_of(quiet, WHOLE_WINDOW).verdict is Verdict.OK


def test_a_small_change_is_a_warning_however_sure() -> None:
    watched = monitor(more=", multivariate_effect: 0.6")
    found = evaluate(frame(np.random.default_rng(4), 1000, together=0.9), watched=watched)
    assert result_of(found, ALL_COLUMNS).verdict is result_of(found, WHOLE_WINDOW).verdict is Verdict.WARNING


def test_segments_have_expectations_of_their_own() -> None:
    data = frame(np.random.default_rng(6), 600, together=0.9)
    segment = WindowKey(KEY.stream, "c=a", 0.0, 3600.0)
    found = evaluate(data[data["c"] == "a"], segment)
    assert result_of(found, ALL_COLUMNS).verdict is Verdict.DRIFTED
    assert result_of(found, ALL_COLUMNS).reference_size == int(
        (frame(np.random.default_rng(1), 3000)["c"] == "a").sum()
    )


@pytest.mark.parametrize("rows", [0, 1, 99])
def test_few_rows_are_not_enough_evidence(rows: int) -> None:
    found = evaluate(frame(np.random.default_rng(8), rows))
    assert result_of(found, ALL_COLUMNS).verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_a_billion_rows_are_a_window_like_any_other() -> None:
    assert REFERENCE.features is not None
    expected = REFERENCE.features.expected[""]
    shifted = count_features(REFERENCE.features.map, batch(frame(np.random.default_rng(9), 1000, together=0.5)))
    found = compare(expected, shifted.values * 1_000_000, chance_square(expected.spread))
    assert found.evidence.p_value is not None
    assert found.evidence.p_value < 1e-12
    assert found.effect is not None
    assert found.effect.lower > 0.0


def test_a_reference_keeps_its_features_in_its_file(tmp_path: Path) -> None:
    REFERENCE.save(tmp_path / "r")
    loaded = load_reference(tmp_path / "r")
    data = batch(frame(np.random.default_rng(10), 50))
    assert StatisticsEngine({"default/m": loaded}).observe(monitor(), None, data) == ENGINE.observe(
        monitor(), None, data
    )
    evaluator = Evaluator(monitor(), loaded, default_bridge())
    state = WindowState.from_bytes(ENGINE.observe(monitor(), None, batch(frame(np.random.default_rng(4), 1000))))
    assert evaluator.evaluate(KEY, state) == Evaluator(monitor(), REFERENCE, default_bridge()).evaluate(KEY, state)


def test_a_reference_without_features_is_told_before_any_window() -> None:
    plain = build_reference(frame(np.random.default_rng(1), 300), monitor(""))
    assert plain.features is None
    with pytest.raises(ReferenceDataError, match="built without what 'mmd_features' needs"):
        plain.require_fit(monitor())


def test_who_does_not_ask_pays_nothing() -> None:
    plain = build_reference(frame(np.random.default_rng(1), 300), monitor(""))
    state = StatisticsEngine({"default/m": plain}).observe(
        monitor(""), None, batch(frame(np.random.default_rng(2), 300))
    )
    assert list(WindowState.from_bytes(state).sections) == [plain.fingerprint]
    found = Evaluator(monitor(""), plain, default_bridge()).evaluate(KEY, WindowState.from_bytes(state))
    assert not [result for result in found.results if result.column == ALL_COLUMNS]


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        ("mmd_feature", "0: 'mmd_feature' is not a detector of all columns together; did you mean 'mmd_features'?"),
        ("ks", "0: 'ks' is not a detector of all columns together; known: mmd_features"),
        ("mmd_features, mmd_features", "1: 'mmd_features' is named twice"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(named: str, fault: str) -> None:
    with pytest.raises(MonitorError) as caught:
        check_detectors(monitor(named))
    assert f"detectors.multivariate.{fault}" in str(caught.value)


def test_windows_before_are_compared_with_as_the_file_is() -> None:
    drifting = frame(np.random.default_rng(11), 1200, together=0.9)
    past = WindowState.from_bytes(ENGINE.observe(monitor(), None, batch(drifting[:600])))
    now = WindowState.from_bytes(ENGINE.observe(monitor(), None, batch(drifting[600:])))
    baseline = "reference: {path: r.csv, baseline: rolling, windows: 1, minimum_windows: 1, skip: 0, drifted: keep}"
    watched = parse_monitor(
        f"model: m\ntask: binary\n{COLUMNS}\n{baseline}\nsegments: [c]\ndetectors: {{multivariate: [{NAME}]}}", "m.yaml"
    )
    before = WindowKey(KEY.stream, "", -3600.0, 0.0)
    history = KeptWindows({before: [past.to_bytes()]}, {before: Verdict.DRIFTED})
    evaluator = Evaluator(watched, REFERENCE, default_bridge())
    expected, windows = expecting(evaluator, KEY, history)
    assert windows == (before,)
    found = expected.evaluate(KEY, now)
    assert result_of(found, ALL_COLUMNS).verdict is Verdict.OK
    assert result_of(found, ALL_COLUMNS).reference_size == 600
    assert result_of(evaluator.evaluate(KEY, now), ALL_COLUMNS).verdict is Verdict.DRIFTED


def test_parts_of_the_spread_are_all_of_it_and_along_nothing_that_hangs_together_the_p_value_is_the_same() -> None:
    rng = np.random.default_rng(21)
    data, now = batch(frame(rng, 3000)), batch(frame(rng, 400))
    fitted = fit_features([("x", "numeric", ()), ("y", "numeric", ())], data, {"rows": np.ones(3000, dtype=bool)})
    expected, sums = fitted.expected["rows"], count_features(fitted.map, now).values

    def explaining(rows: ColumnBatch) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        return functions_along(rows.numeric["x"][:, None])

    apart = replace(expected, parts=parts_of_spread(fitted.map, data, explaining))
    assert apart.parts.shape == (2, len(expected.spread))
    assert apart.parts.sum() == pytest.approx(expected.spread.sum(), rel=1e-9)
    # Of two alike columns each has about as much of it.
    assert 0.3 < apart.parts[1].sum() / apart.parts.sum() < 0.5
    plain = compare(expected, sums, chance_square(expected.spread), 3)
    found = compare(apart, sums, 0.0, 3, Along(np.array([3.0]), np.array([1e9])))
    assert found.evidence.statistic == pytest.approx(plain.evidence.statistic)
    assert found.evidence.p_value == pytest.approx(plain.evidence.p_value, abs=0.02)
    more = compare(apart, sums, 0.0, 3, Along(np.array([30.0]), np.array([1e9])))
    assert more.evidence.p_value is not None
    assert found.evidence.p_value is not None
    assert more.evidence.p_value > found.evidence.p_value


def test_how_surely_a_direction_is_known_is_in_the_law() -> None:
    rng = np.random.default_rng(22)
    rest, along, freedom = np.full(4, 0.02), np.array([1.0, 0.3]), 10.0
    size = 1.0 / 1000 + 1.0 / 1000
    expected = ExpectedFeatures(
        np.array([1000, 0, 0]), rest, np.array([np.append(rest, [0.0, 0.0]), np.append(along, np.zeros(4))])
    )
    drawn = rng.normal(size=(200_000, 6)) ** 2
    squares = drawn[:, :4] @ rest + 5.0 * (drawn[:, 4:] @ along) * freedom / rng.chisquare(freedom, len(drawn))
    for share in (0.1, 0.01):
        square = float(np.quantile(squares, 1.0 - share))
        # A gap of that square, in features whose sums are of 1,000 rows.
        sums = np.array([1000, round(np.sqrt(square * size) * 1000 * 1000), 0])
        found = compare(expected, sums, 0.0, 1, Along(np.array([5.0]), np.array([freedom])))
        assert found.evidence.p_value == pytest.approx(share, rel=0.2)
