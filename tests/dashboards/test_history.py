"""Grouping results, and the charts and words made of them."""

import random
import re

import pytest

from dashboards import charts, words
from dashboards.history import group, measure_of
from dashboards.svg import linked, rect, svg, text
from driftline.monitors import parse_monitor
from driftline.results import HEAVY_TAILS, ColumnShape, Interval, Result, Verdict, WindowKey
from tests.dashboards.fakes import CALM_DAYS, DAY_S, FIRST_S, NOW_S, STABLE
from tests.dashboards.html_check import read_html


@pytest.fixture(scope="module")
def history(reader):
    return group(reader.results(STABLE, 0.0, NOW_S))


def test_windows_and_segments_are_kept_apart_in_order(history):
    assert len(history.windows) == 30
    assert sorted(history.segments) == ["origin=EWR", "origin=JFK", "origin=LGA"]
    starts = [window.key.start_s for window in history.windows]
    assert starts == sorted(starts)
    assert history.drifted_since_s() == FIRST_S + CALM_DAYS * DAY_S


def test_grouping_does_not_depend_on_the_order_of_results(reader, history):
    shuffled = list(reader.results(STABLE, 0.0, NOW_S))
    random.Random(7).shuffle(shuffled)
    again = group(shuffled)
    assert [w.verdict for w in again.windows] == [w.verdict for w in history.windows]
    assert [f.column for f in again.newest.columns] == [f.column for f in history.newest.columns]


def test_rows_are_rows_of_the_window_not_labels(history):
    for window in history.windows:
        assert window.rows >= max((measure.labelled for measure in window.measures), default=0)
        assert window.rows == window.whole.sample_size


def result(**more):
    base = {
        "window": WindowKey(STABLE, "", 0.0, 60.0),
        "column": "x",
        "detector": "ks",
        "kind": "drift",
        "statistic": 0.5,
        "direction": "larger_is_worse",
        "verdict": Verdict.OK,
        "reason": "",
        "sample_size": 10,
    }
    return Result(**(base | more))


def test_a_column_is_told_by_the_detector_that_decides_however_small_others_p_values_are():
    monitor = parse_monitor(
        "model: m\ntask: regression\ncolumns: [{name: x, type: numeric}]\ndetectors: {numeric: [wasserstein, ks]}",
        "m.yaml",
    )
    found = [
        result(detector=name, p_value=p_value, verdict=Verdict.DRIFTED)
        for name, p_value in (("ks", 1e-9), ("wasserstein", 1e-5))
    ]
    assert [each.detector for each in group(found, monitor).newest.columns[0].results] == ["wasserstein", "ks"]
    quiet = [found[0], result(detector="wasserstein", p_value=0.5)]
    assert group(quiet, monitor).newest.columns[0].deciding.detector == "ks"


def test_what_may_break_an_interval_stands_beside_it():
    of_window = {"column": "", "detector": "rmse", "kind": "performance", "effect": Interval(0.5, 0.4, 0.6)}
    plain, heavy = (group([result(**of_window, heavy_tails=told)]).newest.measures[0] for told in (False, True))
    assert words.coverage(plain) == "10 labels"
    assert words.coverage(heavy) == f"10 labels; {HEAVY_TAILS}"


def test_a_column_takes_its_worst_verdict():
    (finding,) = group([result(), result(detector="psi", verdict=Verdict.DRIFTED)]).newest.columns
    assert finding.verdict is Verdict.DRIFTED
    assert finding.deciding.detector == "psi"


def test_without_a_result_for_the_whole_window_its_columns_decide():
    assert group([result(verdict=Verdict.WARNING)]).newest.verdict is Verdict.WARNING


def test_an_effect_that_does_not_hold_the_value_is_not_shown_as_its_interval():
    difference = result(kind="performance", statistic=0.8, effect=Interval(-0.05, -0.08, -0.02))
    assert measure_of(difference).interval is None
    assert measure_of(result(kind="performance", statistic=0.8, effect=Interval(0.8, 0.7, 0.9))).interval is not None


def test_charts_are_well_formed_and_stay_in_their_box(history):
    for drawn in (
        charts.timeline(history.windows),
        charts.strip(history.windows),
        charts.timeline(history.windows[:1]),
    ):
        assert read_html(drawn).faults == []
        assert "nan" not in drawn
    assert charts.timeline(history.windows).count('class="dot"') == 29


def test_a_timeline_without_labels_or_windows_is_drawn_too(history):
    assert "band" not in charts.timeline([window for window in history.windows if window.headline is None])
    assert read_html(charts.timeline([])).faults == []


def test_many_bins_are_merged_and_their_shares_kept():
    shape = ColumnShape("x", tuple(str(n) for n in range(256)), (1 / 256,) * 256, (1 / 256,) * 256)
    assert charts.distribution(shape).count("<g>") == 24
    assert read_html(charts.distribution(ColumnShape("x", (), (), ()))).faults == []


def test_a_name_below_the_outermost_bin_ends_at_the_pictures_edge():
    wide, usual = (
        str(
            charts.distribution(
                ColumnShape("x", (first, *map(str, range(9)), "missing"), (1 / 11,) * 11, (1 / 11,) * 11)
            )
        )
        for first in ("below zero", "< 0")
    )
    assert '<text class="bin first" x="0.0" y="100.0">below zero</text>' in wide
    assert '<text class="bin" x="16.4" y="100.0">&lt; 0</text>' in usual
    assert '<text class="bin last" x="340.0" y="100.0">missing</text>' in usual


def test_shapes_escape_what_they_are_given():
    assert rect('"><b', 0, 0, 1, 1, title="<i>") == (
        '<rect class="&quot;&gt;&lt;b" x="0.0" y="0.0" width="1.0" height="1.0"><title>&lt;i&gt;</title></rect>'
    )
    assert "<b>" not in text("c", 0, 0, "<b>") + linked('"<b>', rect("c", 0, 0, 1, 1)) + svg(1, 1, [], "c", "<b>")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "a moment"),
        (1, "a moment"),
        (2, "2 seconds"),
        (60, "1 minute"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (1e6, "11 days"),
    ],
)
def test_ages_in_words(seconds, told):
    assert words.age(seconds) == told


def test_numbers_in_words():
    assert words.count(1234567) == "1\u202f234\u202f567"
    assert words.share(0.8534) == "85.3\u202f%"
    assert words.share(None) == words.number(float("nan")) == "–"
    assert words.number(0.00001) == "1.0e-05"
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b"]) == "a and b"
    assert words.listed(list("abcd")) == "a, b, c and 1 more"


def test_a_newest_window_of_few_rows_does_not_hide_the_one_before():
    drifted = result(column="temp", verdict=Verdict.DRIFTED)
    few = result(window=WindowKey(STABLE, "", 60.0, 120.0), column="temp", verdict=Verdict.NOT_ENOUGH_EVIDENCE)
    history = group([drifted, few])
    assert history.newest.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert history.newest_judged.verdict is Verdict.DRIFTED
    assert "Before: 1 column drifted" in words.newest_sentence(history)
    assert "not enough to say whether it goes on" in words.history_sentence(history)
    assert group([few]).newest_judged is None


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.365, 1.0), ["25.0 %", "50.0 %", "75.0 %", "100.0 %"]),
        ((0.81, 0.88), ["80.0 %", "82.5 %", "85.0 %", "87.5 %", "90.0 %"]),
        ((0.85,), ["85.0 %", "85.5 %"]),
    ],
)
def test_the_scale_of_a_metric_has_round_ends(values, ticks):
    windows = [
        result(
            window=WindowKey(STABLE, "", day * 60.0, day * 60.0 + 60.0),
            column="",
            kind="performance",
            detector="accuracy",
            statistic=value,
        )
        for day, value in enumerate(values)
    ]
    drawn = str(charts.timeline(group(windows).windows)).replace("\u202f", " ")
    assert re.findall(r'class="tick"[^>]*>([^<]* %)<', drawn) == ticks
