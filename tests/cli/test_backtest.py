"""The past once more: the same answers from files and from the store, changes found, and every wrong word named."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from collector.store.bulk import upsert_together
from collector.store.store import Store
from collector.store.transaction import StateKey, WindowRef, WindowState, changed_states
from detectors.baselines.reference import build_reference
from detectors.baselines.rows_in_order import TogetherRows
from detectors.offline.files import pieces
from detectors.offline.injection import parse_injection
from driftline.cli.app import app
from driftline.cli.backtest_changes import changed
from driftline.cli.backtest_incidents import Fired, replayed_incidents
from driftline.cli.backtest_report import as_html, as_json, as_markdown, as_text, moment
from driftline.cli.backtesting import (
    Backtest,
    Outcome,
    Plan,
    Rows,
    backtest_files,
    backtest_stored,
    counted,
    reference_with,
)
from driftline.durations import format_duration
from driftline.errors import MonitorError, ReferenceDataError, SettingsError
from driftline.monitors import Monitor, parse_monitor
from driftline.results import StreamKey, Verdict

DAY_S = 86400.0
FIRST_S = pd.Timestamp("2026-03-01", tz="UTC").timestamp()
DAYS = 30
TEXT = """
model: m
task: binary
columns: [{name: temp, type: numeric}, {name: carrier, type: categorical}]
prediction: {column: said}
reference: {path: reference.parquet, label: late}
slos: {objectives: [{kind: drift, target: 0.9}, {kind: correctness, target: 0.7}]}
"""
SHIFT = parse_injection("temp=+5@2026-03-21")
QUICK = Plan(null_windows=0)


def rows(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"temp": rng.normal(10, 5, count).round(1), "carrier": rng.choice(["AA", "UA"], count)})
    frame["late"] = (frame.temp + rng.normal(0, 3, count) > 12).astype(int)
    frame["said"] = (frame.temp > 12).astype(int)
    frame["at"] = FIRST_S + np.arange(count) * DAYS * DAY_S / count
    return frame


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("backtest")
    rows(3000, 1).to_parquet(found / "reference.parquet")
    frame = rows(DAYS * 200, 2)
    frame.head(2500).to_parquet(found / "one.parquet")
    frame.tail(-2500).to_csv(found / "two.csv", index=False)
    (found / "m.yaml").write_text(TEXT)
    return found


def monitor() -> Monitor:
    return parse_monitor(TEXT, "m.yaml")


def of_files(place: Path, plan: Plan, *changes: str):
    files = [place / "one.parquet", place / "two.csv"]
    return backtest_files(monitor(), place / "reference.parquet", files, "at", plan, changes)


def of_objective(outcome: Outcome, slo: str) -> list[Fired]:
    fired = [fired for incident in outcome.incidents for fired in incident.alerts]
    return [each for each in fired if each.alert.labels["slo"] == slo]


def test_a_quiet_past_tells_nobody_and_shows_what_chance_does(place: Path) -> None:
    (outcome,) = of_files(place, Plan(null_windows=40)).outcomes
    assert len(outcome.windows) == DAYS
    assert outcome.incidents == ()
    assert (outcome.quiet.windows, outcome.found) == (DAYS, None)
    assert outcome.quiet.hits <= 3  # of 30 at a rate of at most 1 %: 4 would be one in 40,000
    assert outcome.by_chance.windows == 40
    assert outcome.by_chance.hits <= 4


def test_what_was_put_in_is_found_told_and_not_before(place: Path) -> None:
    found = of_files(place, Plan(injections=(SHIFT,), null_windows=0), "detectors.minimum_effect=0.9")
    stands, deaf = found.outcomes
    assert (stands.found.hits, stands.found.windows) == (10, 10)
    assert stands.quiet.windows == 20
    (told,) = of_objective(stands, "drift")
    assert told.delay_s is not None
    assert stands.first_drifted_s == DAY_S + 3600.0  # the first day, and an hour for those that are late
    assert told.delay_s >= stands.first_drifted_s
    assert told.evidence[0].startswith("temp moved up: median ")
    assert deaf.found.hits == 0
    assert of_objective(deaf, "drift") == []
    assert stands.quiet_incidents == ()


def test_segments_labels_and_sequential_tests_are_told_for_both_sides_of_the_change(place: Path) -> None:
    plan = Plan(injections=(SHIFT,), null_windows=0)
    found = of_files(place, plan, "segments=[carrier]", "detectors.online.tests=[e_cusum]")
    plain, split = found.outcomes
    assert plain.segments == ()
    assert split.windows[-1].key.segment == ""
    assert [segment.name for segment in split.segments] == ["carrier=AA", "carrier=UA"]
    for segment in split.segments:
        assert segment.before.drifted.hits <= 2
        assert segment.after.drifted.hits >= 8
    assert (plain.before.alarms, plain.after.alarms) == (0, 0)
    assert (split.before.alarms, split.after.alarms) == (0, 1)
    assert split.before.seconds == 20 * DAY_S
    assert split.before.right.windows == 20 * 200
    assert split.after.right.windows == 10 * 200
    assert split.before.right.hits == sum(segment.before.right.hits for segment in split.segments)
    told = as_markdown(found)
    assert (
        "- Over all windows (`e_cusum`): 0 alarms began before the change, 1 alarm began after it; at most 0.22" in told
    )
    assert "- Segment carrier=AA: " in told
    assert "of 4000 labels before the change" in told
    assert json.loads(as_json(found))["outcomes"][1]["segments"]["carrier=UA"]["after"]["windows"] == 10


def test_answers_that_went_wrong_are_told_by_the_correctness_objective(place: Path) -> None:
    found = of_files(place, Plan(injections=(parse_injection("said=to:0:1.0@2026-03-11"),), null_windows=0))
    delays_s = [fired.delay_s or 0.0 for fired in of_objective(found.outcomes[0], "correctness")]
    assert min(delays_s) >= DAY_S  # labels take a day


def test_a_person_gets_one_ticket_of_an_incident_with_its_alerts_under_it_in_every_form(place: Path) -> None:
    wrong = parse_injection("said=to:0:1.0@2026-03-23")
    found = of_files(place, Plan(injections=(SHIFT, wrong), null_windows=0))
    (ticket,) = found.outcomes[0].incidents
    assert {fired.alert.labels["slo"] for fired in ticket.alerts} == {"drift", "correctness"}
    assert (ticket.severity, ticket.times, ticket.ended_at_s) == ("ticket", 1, None)
    assert ticket.starts_at_s == min(fired.alert.starts_at_s for fired in ticket.alerts)
    text, markdown, html = as_text(found), as_markdown(found), as_html(found)
    assert "1 ticket would have been sent, of 2 alerts." in text
    for readable in (text, markdown):
        assert f"- {moment(ticket.starts_at_s)} ticket, " in readable
        for fired in ticket.alerts:
            assert f"\n  - {moment(fired.alert.starts_at_s)} ticket ({fired.alert.labels['slo']} over " in readable
    assert html.count('<p class="inner">') == markdown.count("\n  - ")
    assert "no page or ticket began in that time" in text
    assert (
        f"- Delay: somebody was told {format_duration(ticket.delay_s or 0.0)} after the change (ticket, drift)" in text
    )
    (told,) = json.loads(as_json(found))["outcomes"]
    assert [[alert["objective"] for alert in each["alerts"]] for each in told["incidents"]] == [
        ["drift", "correctness"]
    ]
    assert told["incidents_while_quiet"] == {"page": 0, "ticket": 0}


def test_an_incident_that_was_open_before_the_change_is_no_false_page_of_it_but_one_before(place: Path) -> None:
    early = Plan(changed_at_s=FIRST_S + 23 * DAY_S, null_windows=0)
    states = of_files(place, Plan(injections=(SHIFT,), null_windows=0)).outcomes[0]
    incidents = replayed_incidents(monitor(), states.windows, FIRST_S + 28 * DAY_S)
    assert [incident.delay_s for incident in incidents] == [None]
    outcome = dataclasses.replace(states, incidents=incidents)
    assert outcome.quiet_incidents == incidents
    assert "1 ticket began in that time" in as_text(Backtest("m", "a test", early, (outcome,), ()))


def test_alarms_of_the_test_of_accuracy_are_listed_with_the_time_by_which_they_are_known(place: Path) -> None:
    wrong = parse_injection("said=to:0:1.0@2026-03-11")
    found = of_files(place, Plan(injections=(wrong,), null_windows=0), "detectors.accuracy.test=e_cusum")
    without, tested = found.outcomes
    assert all(window.accuracy_fell is None for window in without.windows)
    began = [window for window in tested.windows if window.accuracy_fell is not None]
    assert len(began) == 1
    assert began[0].key.start_s >= wrong.from_s
    assert "since 2026-03-11" in began[0].accuracy_fell.reason
    text = as_text(found)
    assert "the sequential test of accuracy would have alarmed 1 time; without a loss at most 1 per 90d" in text
    known = pd.Timestamp(began[0].key.end_s + tested.monitor.labels.maturity, unit="s").strftime("%Y-%m-%d %H:%M")
    assert f"known by {known}: accuracy fell" in text
    assert [each["accuracy_fell"] for each in json.loads(as_json(found))["outcomes"][0]["windows"]] == [None] * DAYS


def test_the_store_gives_what_files_give(place: Path, tmp_path: Path) -> None:
    plan = Plan(changed_at_s=SHIFT.from_s, null_windows=0)
    shifted = Plan(injections=(SHIFT,), null_windows=0)
    reference = build_reference(pd.read_parquet(place / "reference.parquet"), monitor())
    files = [place / "one.parquet", place / "two.csv"]
    frames = Rows("files", lambda: (piece for file in files for piece in pieces(file)), "at")
    states = counted(monitor(), reference, frames, shifted).states()
    store = Store(f"sqlite:///{tmp_path}/store.db")
    number = store.stream_ids([StreamKey("default", "m", "", "stable")])[StreamKey("default", "m", "", "stable")]
    found = {
        StateKey("0", WindowRef(number, key.segment, key.start_s, key.end_s)): WindowState(state, 1)
        for key, (state,) in states.items()
    }
    with store.transaction() as transaction:
        upsert_together(transaction.connection, [changed_states(found)])
    stored = backtest_stored(monitor(), reference, store, plan).outcomes[0]
    from_files = of_files(place, shifted).outcomes[0]
    assert stored.windows == from_files.windows
    assert stored.incidents == from_files.incidents
    later = backtest_stored(monitor(), reference, store, Plan(since_s=FIRST_S + 5 * DAY_S, null_windows=0))
    assert len(later.outcomes[0].windows) == DAYS - 5
    with pytest.raises(SettingsError, match=r"needs rows: give --files, or --payloads"):
        backtest_stored(monitor(), reference, store, plan, ["windows.size=2d"])
    with pytest.raises(SettingsError, match=r"the store holds no windows of default/m in that time"):
        backtest_stored(monitor(), reference, store, Plan(since_s=1e12))
    store.close()


def test_how_rows_hang_together_is_asked_once_of_monitors_that_read_them_alike(place: Path) -> None:
    expected: pd.DataFrame = pd.read_parquet(place / "reference.parquet")
    known: dict[str, Mapping[str, TogetherRows]] = {}
    changes = ["detectors.minimum_effect=0.5", "windows.size=2d", "segments=[carrier]"]
    stands, *others = (
        reference_with(known, expected, each) for each in (monitor(), *(changed(monitor(), [one]) for one in changes))
    )
    assert [built.together is stands.together for built in others] == [True, True, False]
    assert set(others[-1].together) == {"", "carrier=AA", "carrier=UA"}
    seasonal = changed(monitor(), ["reference.baseline=seasonal"])
    beside_hours, other_size = (
        reference_with(known, expected, each) for each in (seasonal, changed(seasonal, ["windows.size=12h"]))
    )
    assert len({id(built.together) for built in (stands, beside_hours, other_size)}) == 3


def test_windows_of_another_size_and_baseline_can_be_tried_on_files(place: Path) -> None:
    found = of_files(place, QUICK, "windows.size=2d", "reference.baseline=rolling")
    assert [len(outcome.windows) for outcome in found.outcomes] == [DAYS, DAYS // 2 + 1]  # two days from the epoch on
    whole = [result for result in found.outcomes[1].windows[-1].results if result.detector == "window"]
    assert "rolling baseline of " in whole[0].reason


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("detectors.minimum_efect=0.2", MonitorError, "did you mean 'minimum_effect'"),
        ("detectors.numeric=[kss]", MonitorError, "did you mean 'ks'"),
        ("slos.objectives.drft.target=0.5", SettingsError, "there is no 'drft'"),
        ("nothing", SettingsError, "is not PATH=VALUE"),
    ],
)
def test_a_change_that_makes_no_monitor_is_named(place: Path, change: str, error, message: str) -> None:
    with pytest.raises(error, match=message):
        of_files(place, QUICK, change)


def test_objectives_and_columns_are_set_by_their_kind_and_name() -> None:
    found = changed(monitor(), ["slos.objectives.drift.target=0.95", "columns.temp.maximum=40", "windows.lateness=2h"])
    assert found.slos.objectives[0].target == 0.95
    assert found.columns[0].maximum == 40
    assert found.windows.lateness == 7200.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("temp=5@2026-03-01", "is none of COLUMN="),
        ("temp=+5", "is none of COLUMN="),
        ("temp=+5@yesterday", "Invalid isoformat"),
        ("temp=missing:3@2026-03-01", "the share 3 is outside 0 to 1"),
    ],
)
def test_an_injection_that_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_injection(text)


def test_the_command_writes_every_form_and_names_faults(place: Path, tmp_path: Path) -> None:
    base = ["backtest", str(place / "m.yaml"), "--files", str(place / "one.parquet"), "--time", "at"]
    base += ["--null-windows", "0", "--inject", "temp=*3@2026-03-06T12:00:00"]
    for form, begin in (("text", "Backtest of default/m"), ("markdown", "# Backtest"), ("html", "<!doctype html>")):
        done = CliRunner().invoke(app, [*base, "--format", form])
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith(begin)
        assert "temp times 3 from 2026-03-06T12:00:00Z" in done.stdout
    out = tmp_path / "found.json"
    assert CliRunner().invoke(app, [*base, "--format", "json", "--out", str(out)]).exit_code == 0
    (outcome,) = json.loads(out.read_text())["outcomes"]
    assert len(outcome["windows"]) == 13
    assert outcome["windows"][-1]["verdict"] == Verdict.DRIFTED.value
    assert "temp" in outcome["windows"][-1]["drifted"]
    wrong = CliRunner().invoke(app, [*base, "--format", "xml"])
    assert isinstance(wrong.exception, SettingsError)
    none = CliRunner().invoke(app, ["backtest", str(place / "none.yaml")])
    assert isinstance(none.exception, MonitorError)


def test_a_column_that_is_not_there_is_named(place: Path) -> None:
    with pytest.raises(ReferenceDataError, match="the column 'tmp' that a change is injected into is missing"):
        of_files(place, Plan(injections=(parse_injection("tmp=+5@2026-03-21"),)))
