"""Two files compared: the same answers as traffic gives, and every fault named."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from detectors.baselines.reference import build_reference
from detectors.offline.files import OfflineWindows, Span, pieces
from detectors.offline.outline import draft
from driftline.cli.analysis import analyze
from driftline.cli.app import app
from driftline.cli.label_files import LabelFile
from driftline.errors import ReferenceDataError, SettingsError
from driftline.results import StreamKey, Verdict
from driftline.testing import ManualClock

DAY_S = 86400.0


def flights(rows: int, seed: int, *, warmer: float = 0.0) -> pd.DataFrame:
    """Rows with inputs, a model's answer, the truth, an id and a time; five days of them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"temp": rng.normal(10 + warmer, 5, rows), "carrier": rng.choice(["AA", "UA", "DL"], rows)})
    frame["late"] = (frame.temp + rng.normal(0, 5, rows) > 12).astype(int)
    frame["said"] = (frame.temp > 12).astype(int)
    frame["probability"] = 1 / (1 + np.exp(-(frame.temp - 12) / 3))
    frame["flight"] = [f"F{number}" for number in range(rows)]
    frame["at"] = pd.Timestamp("2026-03-01", tz="UTC") + pd.to_timedelta(np.arange(rows) * 5 * DAY_S / rows, unit="s")
    return frame


ROLES = {"target": "late", "prediction": "said", "score": "probability"}


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    flights(4000, 1).to_parquet(tmp_path / "reference.parquet")
    return tmp_path / "reference.parquet"


def test_what_moved_is_named_and_what_did_not_is_not(reference: Path) -> None:
    found = analyze(reference, flights(2000, 2, warmer=4.0), **ROLES)
    assert "temp" in found.drifted
    assert "carrier" not in found.drifted
    assert found.verdict is Verdict.DRIFTED
    calm = analyze(reference, flights(2000, 3), **ROLES)
    assert calm.drifted == ()
    assert "accuracy" in calm.report.accuracy_sentence.lower()


def test_days_are_windows_of_their_own_and_give_what_each_gives_alone(reference: Path) -> None:
    frame = flights(5000, 4)
    frame.loc[frame["at"] >= pd.Timestamp("2026-03-04", tz="UTC"), "temp"] += 6.0
    found = analyze(reference, frame, time="at", **ROLES)
    verdicts = [window.verdict for window in found.report.history.windows]
    assert [window.key.start_s for window in found.report.history.windows] == [
        pd.Timestamp(f"2026-03-0{day}", tz="UTC").timestamp() for day in range(1, 6)
    ]
    assert verdicts[3:] == [Verdict.DRIFTED] * 2
    assert Verdict.DRIFTED not in verdicts[:3]
    seconds = frame.assign(at=(frame["at"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds())
    assert analyze(reference, seconds, time="at", **ROLES).results == found.results


def test_pieces_change_nothing(reference: Path) -> None:
    frame = flights(900, 5, warmer=1.0)
    base = pd.read_parquet(reference)
    monitor = draft(base.drop(columns=["at"]), model="m", reference_path="r", **ROLES).monitor
    built = build_reference(base, monitor)
    stream = StreamKey("default", "m", "1", "stable")
    results = []
    for rows in (900, 7):
        windows = OfflineWindows(monitor, built, stream, Span(0.0, 1.0))
        for piece in pieces(frame, rows):
            windows.add(piece)
        found = windows.evaluate()
        results.append((found.results, found.shapes, found.samples))
    assert results[0] == results[1]
    largest = sorted((sample.outlier_score or 0.0) for sample in results[0][2][0.0, 1.0])
    assert len(largest) == 8


def test_labels_that_lie_apart_are_found_by_their_key(reference: Path, tmp_path: Path) -> None:
    frame = flights(1500, 6)
    whole = analyze(reference, frame, clock=ManualClock(5.0), **ROLES)
    frame.loc[:999, ["flight", "late"]].to_csv(tmp_path / "labels.csv", index=False)
    apart = analyze(
        reference,
        frame.drop(columns="late"),
        labels=LabelFile(tmp_path / "labels.csv", "flight"),
        clock=ManualClock(5.0),
        **ROLES,
    )
    assert apart.report.history.newest_labelled is not None
    measure = apart.report.history.newest_labelled.headline
    assert measure is not None
    right = (frame["late"] == frame["said"])[:1000].mean()
    assert measure.labelled == 1000
    assert measure.value == pytest.approx(right)
    assert whole.report.rows == apart.report.rows == 1500


def told_of_labels(reference: Path | pd.DataFrame, frame: pd.DataFrame, labels: pd.DataFrame) -> tuple[int, list[str]]:
    """How many rows were labelled, and what the report remarks on the labels."""
    found = analyze(reference, frame.drop(columns="late"), labels=LabelFile(labels, "flight"), **ROLES)
    newest = found.report.history.newest_labelled
    labelled = 0 if newest is None or newest.headline is None else newest.headline.labelled
    return labelled, [each for each in found.report.caveats if "the frame of labels" in each or "Labels that" in each]


def test_labels_that_fit_no_row_or_no_class_are_told(reference: Path) -> None:
    frame = flights(1500, 6)
    labels = frame[["flight", "late"]]
    assert told_of_labels(reference, frame, labels) == (1500, [])
    labelled, (told,) = told_of_labels(reference, frame, labels.assign(flight="X" + labels["flight"]))
    assert labelled == 0
    assert "None of the 1,500 labels of the frame of labels is of a row here, by 'flight' ('XF0'," in told
    words = labels.assign(late=labels["late"].map({0: "no", 1: "1"}))
    spelt = ["Labels that are none of the reference's classes count as not positive ('no'): are they spelt otherwise?"]
    assert told_of_labels(reference, frame, words) == (1500, spelt)
    of_rows = analyze(reference, frame.assign(late=words["late"]), **ROLES)
    assert [each for each in of_rows.report.caveats if "Labels that" in each] == spelt
    assert told_of_labels(reference, frame, labels.assign(late=np.nan)) == (0, ["the frame of labels holds no labels."])


@pytest.mark.parametrize("is_text", [True, False])
def test_keys_that_are_numbers_in_one_file_and_texts_in_the_other_are_the_same(reference: Path, is_text: bool) -> None:
    frame = flights(1500, 6).assign(flight=np.arange(1500))
    labels = frame[["flight", "late"]]
    if is_text:
        labels = labels.assign(flight=labels["flight"].astype(str))
    else:
        frame = frame.assign(flight=frame["flight"].astype(str))
    assert told_of_labels(reference, frame, labels) == (1500, [])


def test_labels_without_predictions_are_told(reference: Path) -> None:
    base = pd.read_parquet(reference)[["temp", "carrier", "late"]]
    frame = flights(1500, 6)
    found = analyze(base, frame[["temp", "carrier", "flight"]], target="late", labels=LabelFile(frame, "flight"))
    lacking = "Labels need predictions beside them: the rows have no column 'predicted'."
    assert lacking in found.report.caveats
    beside = analyze(base, frame[["temp", "carrier", "late"]], target="late")
    assert lacking in beside.report.caveats
    assert "No answer of the model has a label" in beside.report.accuracy_sentence
    assert lacking not in analyze(base, frame[["temp", "carrier"]], target="late").report.caveats


def test_labels_that_no_error_can_be_told_of_are_told() -> None:
    rows = 400
    frame = pd.DataFrame({"x": np.arange(rows) % 7 + 0.5, "said": np.arange(rows) % 50 + 0.25})
    frame["truth"] = frame["said"] + 1.0
    strange = frame.assign(truth=np.where(np.arange(rows) % 4 == 0, 1e80, frame["truth"]))
    roles = {"target": "truth", "prediction": "said"}
    told = [analyze(frame, current, **roles).report.caveats for current in (frame, strange)]
    assert [sum("labelled rows are left out" in caveat for caveat in caveats) for caveats in told] == [0, 1]


def test_inputs_alone_are_enough_and_a_column_that_went_missing_is_drift(reference: Path) -> None:
    frame = flights(1000, 7)[["temp", "carrier"]].assign(temp=np.nan)
    found = analyze(pd.read_parquet(reference)[["temp", "carrier"]], frame)
    assert found.drifted == ("temp",)
    assert "No answer of the model has a label" in found.report.accuracy_sentence


def test_answers_that_the_reference_has_not_are_judged_by_labels_and_not_tested_for_drift(reference: Path) -> None:
    expected = pd.read_parquet(reference).drop(columns=["said", "probability", "flight", "at"])
    monitor = draft(expected, model="m", reference_path="r.parquet", target="late").monitor
    frame = flights(2000, 11).rename(columns={"said": monitor.prediction.column})
    found = analyze(expected, frame, monitor=monitor)
    assert {result.column for result in found.results if result.kind == "drift"} == {"", "temp", "carrier"}
    assert "2 columns are watched (inputs; the reference has no predictions)" in found.markdown()
    (accuracy,) = [result for result in found.results if result.detector == "accuracy"]
    assert accuracy.statistic == pytest.approx((frame["late"] == frame[monitor.prediction.column]).mean())


def test_csv_and_parquet_say_the_same(reference: Path, tmp_path: Path) -> None:
    frame = flights(600, 8)
    frame.to_csv(tmp_path / "current.csv", index=False)
    frame.to_parquet(tmp_path / "current.parquet")
    found = [
        analyze(reference, tmp_path / f"current.{kind}", clock=ManualClock(9.0), **ROLES).results
        for kind in ("csv", "parquet")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("change", "named", "message"),
    [
        ({"temp": "cold"}, {}, r"column 'temp' holds 'cold' in row 0, which is not a number"),
        ({}, {"time": "when"}, r"the time column 'when' is missing; there are temp"),
        ({"at": "soon"}, {"time": "at"}, r"the time column 'at' holds 'soon' in row 0, no time"),
        ({"at": "09:30"}, {"time": "at"}, r"'at' holds '09:30' in row 0, a time without a date"),
        ({"at": 1.7924544e12}, {"time": "at"}, r"holds 1792454400000.0 in row 0, no seconds .*; divide milli"),
        ({"at": "03.04.2026 10:00"}, {"time": "at"}, r"holds '03.04.2026 10:00' in row 0: does the day or the month"),
        (
            {"at": ["3/14/2026", "14/3/2026"] * 25},
            {"time": "at"},
            r"'14/3/2026' in row 1 and '3/14/2026' in row 0: does",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_value(reference: Path, change, named, message: str) -> None:
    with pytest.raises(ReferenceDataError, match=message):
        analyze(reference, flights(50, 9).assign(**change), **ROLES, **named)


@pytest.mark.parametrize("written", ["%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M", "%Y-%m-%dT%H:%M+00:00", "%d-%b-%Y %H:%M"])
def test_dates_as_people_write_them_are_those_days(reference: Path, written: str) -> None:
    frame = flights(500, 12)
    # Days beyond the twelfth say which number the day is, for all others too.
    frame["at"] = pd.Timestamp("2026-03-05", tz="UTC") + pd.to_timedelta(np.arange(500) // 25, unit="D")
    days = sorted({result.window.start_s for result in analyze(reference, frame, time="at", **ROLES).results})
    spelt = analyze(reference, frame.assign(at=frame["at"].dt.strftime(written)), time="at", **ROLES)
    assert sorted({result.window.start_s for result in spelt.results}) == days


def test_what_was_not_compared_is_said_and_what_was_constant_is_compared() -> None:
    rows = 400
    before = pd.DataFrame({"x": np.arange(rows) % 7 + 0.5, "rate": 3.0, "site": "A", "note": None})
    before["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows), unit="D")
    before["parts"] = pd.Series([{"a": 1}] * rows)
    now = before.assign(rate=4.0, site="B", note=1.0, fresh=2.0)
    found = analyze(before, now)
    assert sorted(found.drifted) == ["rate", "site"]
    named, new = found.report.caveats[1:3]
    assert named.startswith("Not compared: note (no value in any row), day (values are times")
    assert named.endswith("parts (each value is a dict).")
    assert new == "Only the current rows have: fresh."
    same = analyze(before[["x", "rate", "site"]], before[["x", "rate", "site"]])
    assert same.drifted == ()
    assert not any("ompared:" in caveat or "Only the current" in caveat for caveat in same.report.caveats)
    wide = before[["x"]].assign(**{f"empty{place:02}": None for place in range(20)})
    assert "empty11 (no value in any row) and 8 more." in analyze(wide, wide).report.caveats[1]


def test_a_missing_column_and_an_empty_file_are_said(reference: Path) -> None:
    with pytest.raises(ReferenceDataError, match=r"column 'temp' is missing"):
        analyze(reference, flights(50, 9).drop(columns="temp"), **ROLES)
    with pytest.raises(ReferenceDataError, match=r"has no rows"):
        analyze(reference, flights(0, 9), **ROLES)
    with pytest.raises(ReferenceDataError, match=r"nowhere\.parquet does not exist"):
        analyze(reference, "nowhere.parquet", **ROLES)
    with pytest.raises(SettingsError, match=r"labels need a target"):
        analyze(reference, flights(50, 9), labels=LabelFile(flights(5, 1), "flight"))


def test_the_command_writes_each_form_and_fails_on_drift_where_asked(reference: Path, tmp_path: Path) -> None:
    current = tmp_path / "current.parquet"
    flights(1000, 10, warmer=5.0).to_parquet(current)
    options = ["--target", "late", "--prediction", "said", "--score", "probability"]
    for named, written, begin in (
        ("report", "report.html", "<!doctype html>"),
        ("deep/report.md", "deep/report.md", "#"),
        ("report.json", "report.json", "{"),
    ):
        done = CliRunner().invoke(
            app, ["analyze", str(reference), str(current), *options, "--out", str(tmp_path / named)]
        )
        assert done.exit_code == 0, done.output
        assert (tmp_path / written).read_text().lstrip().startswith(begin)
        assert f"wrote {tmp_path / written}" in done.output
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "drifted"
    done = CliRunner().invoke(app, ["analyze", str(reference), str(current), *options, "--fail-on-drift"])
    assert done.exit_code == 1
    done = CliRunner().invoke(app, ["analyze", str(reference), str(current), "--monitor", str(tmp_path / "gone.yaml")])
    assert "gone.yaml: is not a file" in str(done.exception)
