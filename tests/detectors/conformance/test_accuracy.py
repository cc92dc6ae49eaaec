"""What everything that is said of accuracy promises, held for each task and each kind in one list."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detectors.accuracy.delay_bias import adjusted_accuracy
from detectors.baselines.reference import Reference, build_reference, load_reference
from detectors.counts.frames import judged_rows, window_rows
from detectors.counts.summary import Section, WindowState, merge
from detectors.evaluating.accuracy_streams import OrderedAccuracy
from detectors.evaluating.accuracy_tests import AccuracyTests
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from driftline.monitors import Monitor, parse_monitor
from driftline.results import (
    LabelState,
    OutcomeMaturity,
    Result,
    StreamKey,
    Verdict,
    WindowKey,
    WindowLabels,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """Results that one page explains; ``names`` as results have them, without class or cutoff."""

    page: str
    names: tuple[str, ...]


CLASSIFICATION = ("accuracy", "precision", "recall", "f1", "auc", "brier", "log_loss", "calibration_error")
MEANS = ("f1_macro", "precision_macro", "recall_macro", "f1_weighted", "precision_weighted")
ESTIMATED = ("accuracy", "precision", "recall", "f1", "auc", "f1_macro")
#: To add a kind: its results, its page, and a line here.
KINDS = (
    Kind("classification", (*CLASSIFICATION, *MEANS)),
    Kind("regression", ("mae", "rmse", "bias", "median_absolute_error", "p90_absolute_error", "r2")),
    Kind("ranking", ("ndcg", "mrr", "map", "precision", "hit_rate", "nothing_relevant_rate")),
    Kind("cbpe", tuple(f"estimated_{name}" for name in ESTIMATED)),
    Kind("direct_loss", ("estimated_mae", "corrected_mae")),
    Kind("prediction_powered", ("corrected_accuracy",)),
    Kind("label_shift", ("label_shift",)),
    Kind("decomposition", tuple(f"accuracy_change_{cause}" for cause in ("covariate", "label", "concept"))),
    Kind("explanation", tuple(f"accuracy_change_by_{what}" for what in ("column", "segment", "value"))),
    Kind("accuracy_alarm", ("accuracy_alarm", "accuracy_budget", "entered")),
    Kind("delay_adjusted", ("delay_adjusted_accuracy",)),
)
TASKS = ("binary", "multiclass", "regression", "ranking")
STREAM = StreamKey("default", "m", "1", "stable")
KEY = WindowKey(STREAM, "", 0.0, 3600.0)
DOCS = Path(__file__).parents[3] / "docs" / "detectors"
ANSWERS = {"binary": ["0", "1"], "multiclass": ["u", "v", "w"]}
every_task = pytest.mark.parametrize("task", TASKS)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.page)


def monitor(task: str) -> Monitor:
    score = "prediction: {score: score}" if task in ANSWERS else ""
    columns = "columns: [{name: x, type: numeric}, {name: c, type: categorical}]\nsegments: [c]"
    tests = "detectors: {accuracy: {test: e_cusum}}"
    return parse_monitor(
        f"model: m\ntask: {task}\n{columns}\n{score}\n{tests}\nreference: {{path: r, label: label}}", "m.yaml"
    )


def frame(task: str, rows: int, seed: int, noise: float = 0.4) -> pd.DataFrame:
    """Rows of a model that is right by so much; a query has six."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    data = pd.DataFrame({"x": x, "c": rng.choice(["a", "b"], rows), "query": np.arange(rows) // 6})
    seen = x + rng.normal(0.0, noise, rows)
    if task in ANSWERS:
        names, cuts = np.array(ANSWERS[task]), [0.0] if task == "binary" else [-0.5, 0.5]
        data["label"], data["prediction"] = names[np.digitize(x, cuts)], names[np.digitize(seen, cuts)]
        data["score"] = 1.0 / (1.0 + np.exp(-3.0 * (seen if task == "binary" else np.abs(seen))))
    else:
        data["label"] = np.digitize(x, [-0.5, 0.5, 1.5]).astype(float) if task == "ranking" else x
        data["prediction"] = seen
    return data


@cache
def reference(task: str) -> Reference:
    return build_reference(frame(task, 2400, seed=0), monitor(task))


def labelled(data: pd.DataFrame, share: float) -> pd.DataFrame:
    """Only the first rows have labels: whole queries, too."""
    data = data.copy()
    data.loc[data.index[int(share * len(data)) :], "label"] = None
    return data


def _odd(data: pd.DataFrame, value: object) -> pd.DataFrame:
    return data.assign(label=value, prediction=value)


def windows(task: str) -> dict[str, pd.DataFrame]:
    """The windows that everything must have an answer for."""
    usual, worse = frame(task, 1200, seed=1), frame(task, 1200, seed=2, noise=2.0)
    one = "1" if task == "binary" else "u" if task == "multiclass" else 1.0
    found = {
        "like the reference": usual,
        "worse": worse,
        "worse, few labels": labelled(worse, 0.02),
        "worse, half of the labels": labelled(worse, 0.5),
        "worse in one segment": pd.concat([usual[usual["c"] == "a"], worse[worse["c"] == "b"]]).sort_values("query"),
        "other labels": usual[usual["x"] > 0.3],
        "other labels, none known": labelled(usual[usual["x"] > 0.3], 0.0),
        "no labels": labelled(usual, 0.0),
        "no predictions": usual.assign(prediction=None),
        "empty": usual.iloc[:0],
        "one row": usual.iloc[:1],
        "constant": _odd(usual, one),
        "right without exception": usual.assign(prediction=usual["label"]),
    }
    if task in ANSWERS:
        return {**found, "unseen": _odd(usual, "elsewhere"), "no scores": usual.assign(score=np.nan)}
    return {**found, "infinite": _odd(usual, np.inf), "huge": _odd(usual, 1e300)}


def counted(task: str, data: pd.DataFrame, built: Reference | None = None) -> dict[str, WindowState]:
    """The window and its segments, as bytes that were read again."""
    watched = monitor(task)
    engine = StatisticsEngine({watched.name: built or reference(task)})
    rows = window_rows(data, watched)
    judged = judged_rows(data, rows, watched)
    states = {}
    for segment, chosen in (("", np.ones(len(data), bool)), *((f"c={name}", data["c"] == name) for name in "ab")):
        members = np.asarray(chosen, dtype=bool)
        state = engine.observe(watched, None, rows.take(members))
        if judged is not None and members.any():
            known = np.array([value is not None and value == value for value in judged.prediction])
            kept = members & (known | (task == "ranking"))
            if segment:
                state = engine.judge(watched, state, judged.labelled(kept)) if kept.any() else state
            else:
                state = engine.judge_rows(watched, state, rows.take(kept), judged.take(kept))
        states[segment] = WindowState.from_bytes(state)
    return states


def told(task: str, states: dict[str, WindowState], built: Reference | None = None) -> list[Result]:
    evaluator = Evaluator(monitor(task), built or reference(task), default_bridge())
    found = evaluator.evaluate(KEY, states[""], part=states.__getitem__).results
    results = [result for result in found if result.kind in ("performance", "explanation")]
    sequential = OrderedAccuracy(AccuracyTests(evaluator.monitor, evaluator.reference))
    results += sequential.next(KEY, evaluator.judged(states[""]))
    late = LabelState(
        WindowLabels(STREAM, 0.0, 3600.0, 1200, 600), 1200.0, 0.5, 0.5, False, OutcomeMaturity(0.9, 0.4, 500, 300)
    )
    later = (adjusted_accuracy(result, late) for result in results if result.detector == "accuracy")
    return [*results, *(result for result in later if result is not None)]


def plain(result: Result) -> str:
    return result.detector.partition("[")[0].partition("@")[0].partition(":")[0]


@cache
def results_of(task: str) -> dict[str, list[Result]]:
    """What is said of every window; a warning of NumPy's is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {name: told(task, counted(task, data)) for name, data in windows(task).items()}


@every_task
def test_every_window_is_answered_with_what_can_be_read(task: str) -> None:
    for name, results in results_of(task).items():
        assert results, name
        for result in results:
            assert np.isfinite(result.statistic), (name, result)
            assert result.verdict is not Verdict.DRIFTED, (name, result)
            assert result.reason, (name, result)
            assert result.coverage is None or 0.0 <= result.coverage <= 1.0
            if result.effect is not None:
                # A test's statistic is its evidence; what it has an interval for is how much more is lost.
                value = result.effect.value if result.kind == "sequential" else result.statistic
                ends = (result.effect.lower, value, result.effect.upper)
                assert all(np.isfinite(end) for end in ends), (name, result)
                assert all(low <= high + 1e-9 for low, high in pairwise(ends)), (name, result)


@every_task
def test_a_worse_model_is_seen_and_a_like_one_is_not(task: str) -> None:
    warned = {
        name: [result for result in results if result.verdict is Verdict.WARNING and "delay" not in result.detector]
        for name, results in results_of(task).items()
    }
    assert warned["worse"]
    assert not warned["like the reference"]


@every_task
def test_neither_the_order_of_rows_nor_parts_nor_a_repetition_changes_anything(task: str) -> None:
    data = windows(task)["worse, half of the labels"]
    whole = told(task, counted(task, data))
    assert told(task, counted(task, data)) == whole
    shuffled = data.sample(frac=1.0, random_state=3)
    assert told(task, counted(task, shuffled)) == whole
    cut = [data[data["query"] % 3 == place] for place in range(3)]
    parts = [counted(task, part) for part in cut]
    assert told(task, {name: merge(part[name] for part in parts) for name in parts[0]}) == whole


@every_task
def test_a_stored_reference_says_the_same(task: str, tmp_path: Path) -> None:
    reference(task).save(tmp_path / "reference.npz")
    again = load_reference(tmp_path / "reference.npz")
    data = windows(task)["worse"]
    assert told(task, counted(task, data, again), again) == told(task, counted(task, data))


@pytest.mark.filterwarnings("error")
@every_task
def test_a_billion_rows_are_told_of_like_a_thousand(task: str) -> None:
    states = counted(task, windows(task)["worse"])
    many = {name: _times(state, 900_000) for name, state in states.items()}
    few = {result.detector: result for result in told(task, states)}
    for result in told(task, many):
        if result.kind == "performance" and result.detector in few and not result.detector.startswith("calib"):
            assert result.statistic == pytest.approx(few[result.detector].statistic, rel=0.05, abs=0.02)


def _times(state: WindowState, factor: int) -> WindowState:
    return WindowState(
        {
            name: Section(section.values * factor, tuple(total * factor for total in section.sums))
            for name, section in state.sections.items()
        }
    )


@cache
def said() -> frozenset[tuple[str, str]]:
    """Task and plain name of every result of every window."""
    return frozenset(
        (task, plain(result)) for task in TASKS for results in results_of(task).values() for result in results
    )


def test_every_result_is_in_the_list() -> None:
    assert {name for _, name in said()} <= {name for kind in KINDS for name in kind.names}


@every_kind
def test_every_name_of_the_list_is_said_of_some_window(kind: Kind) -> None:
    wanted: Iterable[tuple[str, str]] = said()
    names = {name for task, name in wanted if (task == "ranking") == (kind.page == "ranking")}
    assert set(kind.names) <= names


@every_kind
def test_it_has_a_page_that_names_it(kind: Kind) -> None:
    page = (DOCS / f"{kind.page}.md").read_text(encoding="utf-8")
    assert page.startswith("# `")
    assert len(page.splitlines()) <= 30
    missing: Sequence[str] = [name for name in kind.names if f"`{name}`" not in page and f"`{name}@" not in page]
    assert not missing
