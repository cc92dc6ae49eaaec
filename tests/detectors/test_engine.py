"""What the collector keeps of a window does not depend on how its rows came in."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.baselines.reference import Reference, build_reference
from detectors.counts.summary import WindowState, merge
from detectors.evaluating.engine import StatisticsEngine
from driftline.columns import ColumnBatch, JudgedBatch
from driftline.errors import ReferenceDataError
from driftline.monitors import Monitor, parse_monitor

COLUMNS = "columns: [{name: x, type: numeric, minimum: 0}, {name: c, type: categorical, allowed: [a, b]}]"


def monitor(task: str = "binary", more: str = "") -> Monitor:
    score = "prediction: {score: score}\n" if task == "binary" else ""
    reference = "reference: {path: r.csv, label: label}\n"
    return parse_monitor(f"model: m\ntask: {task}\n{COLUMNS}\n{score}{reference}{more}", "m.yaml")


def reference(task: str = "binary") -> Reference:
    rng = np.random.default_rng(0)
    answers: dict[str, list[str] | list[float]] = {
        "binary": ["0", "1"],
        "multiclass": ["u", "v", "w"],
        "regression": [1.5, 2.5],
    }
    outputs = np.array(answers[task])
    frame = pd.DataFrame(
        {
            "x": rng.gamma(2.0, size=400),
            "c": rng.choice(["a", "b"], 400),
            "prediction": rng.choice(outputs, 400),
            "label": rng.choice(outputs, 400),
            "score": rng.random(400),
        }
    )
    return build_reference(frame, monitor(task))


def engine(task: str = "binary") -> StatisticsEngine:
    return StatisticsEngine({"default/m": reference(task)})


ENGINES = {task: engine(task) for task in ("binary", "multiclass", "regression")}
NUMBERS = st.one_of(st.floats(width=64), st.sampled_from([0.5, np.nan, np.inf, -np.inf]))
TEXTS = st.sampled_from(["a", "b", "new", "", None])
ROWS = st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=30)


def batch(rows: list[tuple[float, str | None]]) -> ColumnBatch:
    texts = np.array([text for _, text in rows], dtype=object)
    return ColumnBatch(len(rows), {"x": np.array([number for number, _ in rows])}, {"c": texts, "prediction": texts})


@settings(max_examples=60, deadline=None)
@given(ROWS, st.lists(st.integers(0, 2), min_size=30, max_size=30), st.randoms(use_true_random=False))
def test_any_split_and_order_of_the_rows_gives_the_same_bytes(rows, owners, shuffler) -> None:
    counting, watched = ENGINES["binary"], monitor()
    whole = counting.observe(watched, None, batch(rows))
    mixed = list(zip(rows, owners, strict=False))
    shuffler.shuffle(mixed)
    parts: list[bytes | None] = [None, None, None]
    for row, owner in mixed:
        parts[owner] = counting.observe(watched, parts[owner], batch([row]))
    states = [WindowState.from_bytes(part) for part in parts if part is not None]
    assert merge(states).to_bytes() == whole


def judged(task: str, rows: list[tuple[object, object, float]], weight: int = 1) -> JudgedBatch:
    kind = np.float64 if task == "regression" else object
    return JudgedBatch(
        np.array([row[0] for row in rows], dtype=kind),
        np.array([row[2] for row in rows], dtype=np.float64),
        np.array([row[1] for row in rows], dtype=kind),
        np.full(len(rows), weight, dtype=np.int64),
    )


CLASSES = st.sampled_from(["0", "1", "u", "v", "elsewhere", None])
SCORES = st.one_of(st.floats(0.0, 1.0), st.sampled_from([np.nan, -1.0, 2.0, 1.0]))
TASK_ROWS = st.one_of(
    st.tuples(st.sampled_from(["binary", "multiclass"]), st.lists(st.tuples(CLASSES, CLASSES, SCORES), min_size=1)),
    st.tuples(st.just("regression"), st.lists(st.tuples(NUMBERS, NUMBERS, st.just(np.nan)), min_size=1)),
)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(TASK_ROWS)
def test_a_label_taken_back_leaves_no_trace(case) -> None:
    task, rows = case
    counting, watched = ENGINES[task], monitor(task)
    before = counting.observe(watched, None, batch([(1.0, "a")]))
    after = counting.judge(watched, before, judged(task, rows))
    assert after != before
    assert counting.judge(watched, after, judged(task, rows, weight=-1)) == before


@settings(max_examples=60, deadline=None)
@given(TASK_ROWS)
def test_judging_rows_one_by_one_is_judging_them_at_once(case) -> None:
    task, rows = case
    counting, watched = ENGINES[task], monitor(task)
    state = None
    for row in reversed(rows):
        state = counting.judge(watched, state, judged(task, [row]))
    assert state == counting.judge(watched, None, judged(task, rows))
    apart = counting.judge_many(
        watched, [None, state], judged(task, [*rows, *rows[:1], *rows]), [len(rows), len(rows) + 1]
    )
    assert apart == [state, counting.judge(watched, state, judged(task, [*rows, *rows[:1]]))]


def test_invalid_values_are_counted_once_each() -> None:
    counting = ENGINES["binary"]
    rows = batch([(-1.0, "a"), (-np.inf, "b"), (np.inf, "new"), (np.nan, None), (5.0, "b")])
    section = WindowState.from_bytes(counting.observe(monitor(), None, rows)).section(reference().fingerprint)
    assert section is not None
    layout = reference().layout
    assert layout.invalid(section.values, layout.index("x")) == 3
    assert layout.invalid(section.values, layout.index("c")) == 1


def test_columns_absent_from_the_batch_count_as_missing() -> None:
    section = WindowState.from_bytes(ENGINES["binary"].observe(monitor(), None, ColumnBatch(7))).section(
        reference().fingerprint
    )
    assert section is not None
    layout = reference().layout
    assert [int(layout.counts(section.values, index)[-1]) for index in range(len(layout.columns))] == [7, 7, 7, 7]


def test_outlier_scores_are_nan_where_there_is_nothing_to_score() -> None:
    counting = ENGINES["binary"]
    scores = counting.outlier_scores(monitor(), batch([(1.0, "a"), (np.nan, "a"), (1e9, "a")]))
    assert np.isnan(scores).tolist() == [False, True, False]
    assert scores[2] > 1000 * scores[0]
    assert np.isnan(StatisticsEngine({}).outlier_scores(monitor(), batch([(1.0, "a")]))).all()


def test_a_reference_of_other_columns_is_refused_by_name() -> None:
    other = monitor(more="").model_copy(update={"columns": monitor().columns[:1]})
    with pytest.raises(ReferenceDataError, match="column 'c' is not in the monitor"):
        ENGINES["binary"].__class__({"default/m": reference()}).observe(other, None, batch([(1.0, "a")]))


def test_the_answers_that_a_reference_knows_are_its_classes() -> None:
    assert ENGINES["binary"].answers(monitor()) == ("0", "1")
    assert ENGINES["multiclass"].answers(monitor("multiclass")) == ("u", "v", "w")
    assert ENGINES["regression"].answers(monitor("regression")) == ()
    assert StatisticsEngine({}).answers(monitor()) == ()
