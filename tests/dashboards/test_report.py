"""The report: one file, self-contained, of a size that rows do not change."""

import dataclasses
import json

import pytest
from markdown_it import MarkdownIt

from dashboards.method import method
from dashboards.report import build_report, render_html, render_json, render_markdown
from driftline.monitors import Monitor
from driftline.results import Verdict
from driftline.testing import ManualClock
from tests.dashboards.fakes import CALM_DAYS, CANARY, DAY_S, FIRST_S, MONITOR, NOW_S, STABLE, FakeReader
from tests.dashboards.html_check import read_html


@pytest.fixture(scope="module")
def data(reader):
    return build_report(reader, MONITOR, STABLE, FIRST_S, NOW_S, ManualClock(NOW_S))


def test_the_report_is_one_self_contained_file(data):
    html = render_html(data)
    found = read_html(html)
    assert found.faults == []
    assert found.loads == []
    assert found.links == []
    assert "url(" not in html
    assert "@import" not in html
    assert len(html.encode()) < 500_000
    assert all(len(section.strip()) > 20 for section in found.sections)


def test_its_size_does_not_grow_with_rows(reader, data):
    more = FakeReader(
        reader.streams_,
        [dataclasses.replace(result, sample_size=result.sample_size * 1000) for result in reader.results_],
        [*reader.samples_] * 50,
        reader.shapes_,
    )
    big = render_html(build_report(more, MONITOR, STABLE, FIRST_S, NOW_S, ManualClock(NOW_S)))
    assert abs(len(big) - len(render_html(data))) < 5_000


def test_it_says_what_happened_in_sentences(data):
    assert data.verdict is Verdict.DRIFTED
    assert data.sentence.startswith("12 of 30 windows from 2013-11-13 to 2013-12-12 drifted")
    assert "since 2013-12-01" in data.sentence
    assert "temp" in data.sentence
    assert "46\u202f% of the window labelled" in data.accuracy_sentence
    assert any("fewer than" in caveat for caveat in data.caveats)


def test_its_head_says_what_the_newest_window_was_compared_with(reader, data):
    assert data.against == ""
    told = "nothing drifted; 99 rows; against reference 0123456789ab of train.csv, built 2013-01-02; decided at 0.01"
    newest = max(result.window.start_s for result in reader.results_)
    found = [
        dataclasses.replace(result, reason=told)
        if result.window.start_s == newest and result.detector == "window"
        else result
        for result in reader.results_
    ]
    named = FakeReader(reader.streams_, found, reader.samples_, reader.shapes_)
    report = build_report(named, MONITOR, STABLE, FIRST_S, NOW_S, ManualClock(NOW_S))
    assert report.against == "reference 0123456789ab of train.csv, built 2013-01-02"
    sentence = f"The newest window was compared with {report.against}."
    assert sentence in render_html(report)
    assert sentence in render_markdown(report)
    assert json.loads(render_json(report))["against"] == report.against


def test_while_nothing_moved_it_says_so(reader):
    calm = build_report(reader, MONITOR, STABLE, FIRST_S, FIRST_S + CALM_DAYS * DAY_S, ManualClock(NOW_S))
    assert calm.verdict is Verdict.OK
    assert calm.drifted == ()
    assert "None of 18 windows" in calm.sentence


def test_columns_come_largest_effect_first_with_their_worst_window(data):
    effects = [column.worst.effect.value for column in data.drifted]
    assert effects == sorted(effects, reverse=True)
    assert [column.column for column in data.drifted][:3] == ["temp", "dewp", "visib"]
    assert data.drifted[0].first_s == FIRST_S + CALM_DAYS * DAY_S
    assert data.drifted[0].shape is not None


def test_few_rows_and_no_labels_are_said_not_hidden(reader):
    canary = build_report(reader, MONITOR, CANARY, FIRST_S, NOW_S, ManualClock(NOW_S))
    assert canary.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "No answer of the model has a label" in canary.accuracy_sentence
    assert any("fewer than 100 rows" in caveat for caveat in canary.caveats)
    assert read_html(render_html(canary)).faults == []


def test_an_empty_period_is_a_report_too():
    empty = build_report(FakeReader(), MONITOR, STABLE, 0.0, 1.0, ManualClock(NOW_S))
    assert "No window of this period has been evaluated" in render_html(empty)
    assert "No window has been evaluated yet." in render_markdown(empty)
    assert json.loads(render_json(empty))["windows"] == []


def test_json_and_markdown_tell_the_same_as_html(data):
    plain = json.loads(render_json(data))
    assert plain["verdict"] == "drifted"
    assert len(plain["windows"]) == 30
    assert plain["drifted"][0]["column"] == "temp"
    assert plain["drifted"][0]["effect"]["value"] == data.drifted[0].worst.effect.value
    text = render_markdown(data)
    assert data.sentence in text
    rows = [line for line in text.splitlines() if line.startswith("| temp ")]
    assert len(rows) == 1
    assert rows[0].count("|") == 6


def test_what_is_spent_of_budgets_for_false_alarms_is_told_of_the_newest_window(reader):
    newest = max((r for r in reader.results_ if r.window.stream == STABLE and not r.window.segment), key=_start)
    spent = dataclasses.replace(
        newest, column="", detector="control:lord", kind="budget", statistic=0.25, reason="25 % is spent"
    )
    moved = FakeReader(reader.streams_, [*reader.results_, spent], (), {})
    found = build_report(moved, MONITOR, STABLE, FIRST_S, NOW_S, ManualClock(NOW_S))
    assert "False alarms, control:lord: 25 % is spent." in found.caveats
    assert "control:lord: 25 % is spent" in render_html(found)
    without = build_report(reader, MONITOR, STABLE, FIRST_S, NOW_S, ManualClock(NOW_S))
    assert [window.verdict for window in found.history.windows] == [w.verdict for w in without.history.windows]


def test_an_alarm_about_accuracy_is_told_beside_accuracy(reader):
    newest = max((r for r in reader.results_ if r.window.stream == STABLE and not r.window.segment), key=_start)
    alarm = dataclasses.replace(
        newest,
        column="",
        detector="accuracy_alarm:e_cusum",
        kind="sequential",
        verdict=Verdict.WARNING,
        reason="accuracy fell: wrong predictions are 12 %",
        sample_size=10**9,
    )
    told = "Over all windows so far: accuracy fell: wrong predictions are 12 %."
    for each, is_told in ((alarm, True), (dataclasses.replace(alarm, verdict=Verdict.OK), False)):
        found = build_report(
            FakeReader(reader.streams_, [*reader.results_, each], (), {}), MONITOR, STABLE, FIRST_S, NOW_S,
            ManualClock(NOW_S),
        )  # fmt: skip
        assert (told in render_html(found)) is is_told
        assert max(window.rows for window in found.history.windows) < 10**9  # labels are no rows


def _start(result):
    return result.window.start_s


def test_a_pipe_in_a_name_does_not_break_the_markdown_table(reader):
    from tests.dashboards.fakes import flights_reader

    hostile = flights_reader(hostile="a|b")
    moved = [dataclasses.replace(r, verdict=Verdict.DRIFTED) if r.column == "a|b" else r for r in hostile.results_]
    found = build_report(
        FakeReader(hostile.streams_, moved, (), {}), MONITOR, STABLE, FIRST_S, NOW_S, ManualClock(NOW_S)
    )
    assert "| a\\|b |" in render_markdown(found)


def test_what_clients_sent_is_no_markup_in_markdown(reader):
    from tests.dashboards.fakes import flights_reader

    sent = "<img src=x> ![](http://x) `a` | *b*\nc"
    hostile = flights_reader(hostile=sent)
    moved = [dataclasses.replace(r, verdict=Verdict.DRIFTED) if r.column == sent else r for r in hostile.results_]
    text = render_markdown(
        build_report(FakeReader(hostile.streams_, moved, (), {}), MONITOR, STABLE, FIRST_S, NOW_S, ManualClock(NOW_S))
    )
    shown = MarkdownIt("commonmark").enable("table").render(text)
    assert "&lt;img src=x&gt; ![](http://x) `a` | *b* c</td>" in shown
    assert "<img" not in shown
    assert "<em>" not in shown


def test_segments_say_how_complete_their_own_labels_are(reader, data):
    """The newest labelled window has 46 of 100 labels in; the whole month is too short to know of long delays."""
    plain = json.loads(render_json(data))
    labels = {row["segment"]: row["labels"] for row in plain["segments"]}
    assert sorted(labels) == ["origin=EWR", "origin=JFK", "origin=LGA"]
    for row in data.segments:
        found = labels[row.name]
        assert found["coverage"] == pytest.approx(row.measure.coverage, abs=0.01)
        assert found["mature"] is False
        assert found["delay_p50_s"] == found["delay_p95_s"] == 2.0**17
        assert f"{found['coverage']:.0%}"[:-1] in render_markdown(data).split(f"| {row.name} |")[1].splitlines()[0]
    html = render_html(data)
    assert html.count("nineteen of twenty within 1 day") == 3
    assert "Expected labels" in html


def test_who_has_which_part_of_the_budget_for_false_alarms_is_told(reader):
    detectors = {
        **MONITOR.detectors.model_dump(mode="json"),
        "multivariate": ["mmd_features", "energy"],
        "control": {"across": "lord"},
        "online": {"tests": ["e_cusum"], "false_pages": "1 per 90d"},
    }
    vectors = [{"name": "embedding", "dimension": 8}]
    plain = {**MONITOR.model_dump(mode="json", by_alias=True), "detectors": detectors, "vectors": vectors}
    told = method(Monitor.model_validate(plain))
    split = "It is split: the columns 0.50\u202f%; all columns together 0.25\u202f%; embedding 0.25\u202f%."
    assert any(line.startswith("False alarm budget") and line.endswith(split) for line in told)
    assert "All columns together: mmd features decides, energy beside it." in told
    assert "Over time that is the share of the columns' alarms that may be false (lord)." in told
    assert any("e cusum decides; 1 false alarms may be expected in 90d" in line for line in told)
    assert not any("It is split" in line for line in method(MONITOR))


def test_the_rows_behind_outliers_are_in_the_markdown_too(data):
    text = render_markdown(data)
    assert "## Rows to look at: wrong ones and outliers first" in text
    rows = text.split("## Rows to look at")[1].split("##")[0].splitlines()[4:]
    assert len([row for row in rows if row]) == len(data.samples) > 0
    assert all(row.count("|") == 6 for row in rows if row)
    assert "## Outliers, newest window" in text
