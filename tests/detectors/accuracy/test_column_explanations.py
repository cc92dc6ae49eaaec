"""Which columns' values hold a change of accuracy: counts against pandas, causes found, nothing where it is alike."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detectors.accuracy.explaining import BY_COLUMN, BY_VALUE, column_explanations
from detectors.baselines.reference import Reference, build_reference, load_reference
from detectors.counts.column_outcomes import count_outcomes
from detectors.counts.frames import judged_rows, window_rows
from detectors.counts.summary import Section, WindowState
from detectors.evaluating.engine import StatisticsEngine
from detectors.offline.files import OfflineWindows, Span
from driftline.columns import ColumnBatch
from driftline.monitors import Monitor, parse_monitor
from driftline.results import Result, StreamKey, Verdict, WindowKey

STREAM = StreamKey("default", "m", "1", "stable")
KEY = WindowKey(STREAM, "", 0.0, 86400.0)


def monitor(task: str = "binary") -> Monitor:
    return parse_monitor(
        f"model: m\ntask: {task}\ncolumns: [{{name: x, type: numeric}}, {{name: town, type: categorical}}, "
        "{name: idle, type: numeric}]\nreference: {path: r.csv, label: y}",
        "m.yaml",
    )


def rows(count: int, seed: int, *, broken: str = "nothing", task: str = "binary") -> pd.DataFrame:
    """Wrong one time in ten; where ``broken`` says, one time in two (a regression: off by five times as much)."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(0, 1, count), "town": rng.choice(["Bern", "Chur", "Genf"], count)})
    frame["idle"] = np.where(rng.random(count) < 0.02, np.nan, rng.normal(0, 1, count))
    worse = {
        "nothing": np.zeros(count, dtype=bool),
        "x": frame.x.to_numpy() > 1.0,
        "town": (frame.town == "Chur").to_numpy(),
        "missing": frame.idle.isna().to_numpy(),
        "everything": rng.random(count) < 0.4,
    }[broken]
    if task == "regression":
        frame["prediction"] = rng.normal(10, 3, count)
        frame["y"] = frame.prediction + rng.normal(0, 1, count) * np.where(worse, 5.0, 1.0)
        return frame
    wrong = rng.random(count) < np.where(worse, 0.5, 0.1)
    frame["prediction"] = rng.choice(["0", "1"], count)
    frame["y"] = np.where(wrong, np.where(frame.prediction == "0", "1", "0"), frame.prediction)
    return frame


REFERENCE = build_reference(rows(6000, 0), monitor())


def section(frame: pd.DataFrame, reference: Reference = REFERENCE, task: str = "binary", pieces: int = 1) -> Section:
    counted = OfflineWindows(monitor(task), reference, STREAM, Span(0.0, 86400.0))
    for piece in np.array_split(np.arange(len(frame)), pieces):
        counted.add(frame.iloc[piece])
    assert reference.outcomes is not None
    found = WindowState.from_bytes(counted.states()[KEY][0]).section(reference.outcomes.layout.fingerprint)
    assert found is not None
    return found


def told(frame: pd.DataFrame, reference: Reference = REFERENCE, task: str = "binary") -> list[Result]:
    assert reference.outcomes is not None
    return column_explanations(KEY, reference.outcomes, section(frame, reference, task))


def test_groups_count_what_pandas_counts_in_any_pieces() -> None:
    assert REFERENCE.outcomes is not None
    layout, frame = REFERENCE.outcomes.layout, rows(3000, 1, broken="x")
    frame.loc[:40, "y"] = np.nan  # no label yet
    frame.loc[50:60, "town"] = "Paris"
    found = section(frame)
    assert found.values.tobytes() == section(frame.sample(frac=1.0, random_state=1), pieces=3).values.tobytes()
    labelled = frame[frame.y.notna()]
    right = (labelled.prediction == labelled.y).astype(int)
    for index, column in enumerate(layout.columns):
        values, table = labelled[column.name], layout.table(found, index)
        if column.cuts is None:
            group = values.where(values.isin([known for known, _ in column.codes]), "unseen")
            by_hand = {f"town={name}": part for name, part in right.groupby(group)}
            by_hand["unseen town"] = by_hand.pop("town=unseen")
        else:
            ends = [-np.inf, *column.cuts, np.inf]
            group = pd.cut(values, ends, right=False, labels=list(column.names[:-1])).astype(object)
            by_hand = dict(list(right.groupby(group.where(values.notna(), column.names[-1]))))
        for name, (count, total, squares) in zip(column.names, table.tolist(), strict=True):
            expected = by_hand.get(name, pd.Series(dtype=int))
            assert (count, total, squares) == (len(expected), expected.sum(), expected.sum()), name


@pytest.mark.parametrize(("broken", "column", "value"), [
    ("x", "x", "x from"), ("town", "town", "town=Chur"), ("missing", "idle", "idle missing"),
])  # fmt: skip
def test_the_column_that_broke_comes_first_with_the_values_that_did(broken: str, column: str, value: str) -> None:
    frame = rows(4000, 2, broken=broken)
    if broken == "missing":
        frame = pd.concat([frame, rows(30000, 3, broken=broken).query("idle.isna()")])
    found = told(frame)
    assert (found[0].detector, found[0].column) == (BY_COLUMN, column)
    assert (found[1].detector, found[1].verdict) == (BY_VALUE, Verdict.WARNING)
    assert found[1].column.startswith(value)
    assert {result.column for result in found if result.detector == BY_COLUMN} == {column}
    # The brute-force decomposition of the same rows, value by value.
    before, now = rows(6000, 0), frame
    part = next(result for result in found if result.column == found[1].column)
    assert part.statistic == pytest.approx(by_hand(before, now, column, part.column), abs=1e-9)


def by_hand(before: pd.DataFrame, now: pd.DataFrame, column: str, name: str) -> float:
    """Kitagawa's terms of one group, from rows."""
    assert REFERENCE.outcomes is not None
    layout = REFERENCE.outcomes.layout
    groups = next(each for each in layout.columns if each.name == column)
    shares, means, overall = [], [], 0.0
    for frame in (before, now):
        right = (frame.prediction == frame.y).to_numpy().astype(float)
        if groups.cuts is None:
            here = (frame[column] == name.partition("=")[2]).to_numpy()
        else:
            ends = np.array([-np.inf, *groups.cuts, np.inf])
            place = groups.names.index(name)
            values = frame[column].to_numpy()
            missing = place == len(groups.names) - 1
            here = np.isnan(values) if missing else (values >= ends[place]) & (values < ends[place + 1])
        shares.append(here.mean())
        means.append(right[here].mean())
        overall += right.mean() / 2.0
    return (shares[1] - shares[0]) * (sum(means) / 2.0 - overall) + sum(shares) / 2.0 * (means[1] - means[0])


def test_a_regression_is_explained_by_the_mean_size_of_its_errors() -> None:
    before = rows(6000, 4, task="regression")
    reference = build_reference(before, monitor("regression"))
    found = told(rows(4000, 5, broken="town", task="regression"), reference, "regression")
    assert (found[0].column, found[1].column) == ("town", "town=Chur")
    assert "off by" in found[1].reason
    now = rows(4000, 5, broken="town", task="regression")
    change = (now.y - now.prediction).abs().mean() - (before.y - before.prediction).abs().mean()
    assert sum(result.statistic for result in found[1:]) == pytest.approx(change, rel=0.02)  # errors are rounded


def test_no_column_is_told_of_where_all_rows_are_alike() -> None:
    assert REFERENCE.outcomes is not None
    runs, false = 100, 0
    given = monitor()
    for run in range(runs):
        frame = rows(1500, 100 + run, broken="everything")
        batch = window_rows(frame, given)
        judged = judged_rows(frame, batch, given)
        assert judged is not None
        false += bool(
            column_explanations(KEY, REFERENCE.outcomes, count_outcomes(REFERENCE.outcomes.layout, batch, judged))
        )
    assert false <= 0.01 * runs + 4 * math.sqrt(0.01 * runs)
    assert told(rows(3000, 6)) == []
    assert told(rows(60, 7, broken="x")) == []


def test_windows_of_files_say_it_and_a_reference_keeps_it(tmp_path: Path) -> None:
    REFERENCE.save(tmp_path / "reference.npz")
    again = load_reference(tmp_path / "reference.npz")
    assert again.outcomes is not None
    assert REFERENCE.outcomes is not None
    assert again.outcomes.layout == REFERENCE.outcomes.layout
    assert again.outcomes.expected.values.tolist() == REFERENCE.outcomes.expected.values.tolist()
    offline = OfflineWindows(monitor(), again, STREAM, Span(0.0, 86400.0))
    offline.add(rows(3000, 8, broken="x"))
    results = offline.evaluate().results
    assert any(result.detector == BY_VALUE and result.column.startswith("x from") for result in results)
    assert not any("counted on an older reference" in result.reason for result in results)
    # Traffic has labels apart from columns: nothing is counted, and nothing said.
    engine = StatisticsEngine({"default/m": again})
    assert (
        again.outcomes.layout.fingerprint
        not in WindowState.from_bytes(engine.observe(monitor(), None, batch())).sections
    )


def batch() -> ColumnBatch:
    frame = rows(10, 9)
    text = {name: frame[name].to_numpy(dtype=object) for name in ("town", "prediction")}
    return ColumnBatch(10, {name: frame[name].to_numpy() for name in ("x", "idle")}, text)
