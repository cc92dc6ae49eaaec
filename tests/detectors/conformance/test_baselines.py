"""Every baseline: a sum of windows' counts, whatever their order, and the file where there are none."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.choosing import expectation
from detectors.baselines.history import KeptWindows
from detectors.baselines.reference import Reference, build_reference
from detectors.counts.layout import ROWS
from detectors.counts.summary import WindowState, merge
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from detectors.evaluating.job import evaluate_states, expecting
from detectors.offline.files import OfflineWindows, Span
from driftline.columns import ColumnBatch
from driftline.errors import MonitorError
from driftline.monitor_detectors import WEEK_S
from driftline.monitors import Monitor, parse_monitor
from driftline.results import ALL_ROWS, StreamKey, Verdict, WindowKey

DAY_S = 86400.0
STABLE = StreamKey("default", "m", "1", "stable")
CANARY = StreamKey("default", "m", "2", "canary")
#: Per baseline: the stream that is judged, and how far apart the windows are that it is made of, in days.
KINDS = {"rolling": (STABLE, 1), "seasonal": (STABLE, 7), "variant": (CANARY, 0)}
NOW_S = 100 * 7 * DAY_S


def monitor(baseline: str, **more: object) -> Monitor:
    fields = "".join(f", {name}: {value}" for name, value in more.items())
    return parse_monitor(
        "model: m\ntask: regression\nwindows: {size: 1d, minimum_rows: 50}\ncolumns: [{name: x, type: numeric}]\n"
        f"reference: {{path: r, predictions: false, baseline: {baseline}{fields}}}\n",
        "m.yaml",
    )


def frame(rows: int, mean: float, seed: int) -> pd.DataFrame:
    return pd.DataFrame({"x": np.random.default_rng(seed).normal(mean, 1, rows)})


@pytest.fixture(scope="module")
def reference() -> Reference:
    return build_reference(frame(3000, 0.0, 0), monitor("fixed"))


def state(reference: Reference, mean: float, seed: int, rows: int = 400) -> bytes:
    batch = ColumnBatch(rows, {"x": frame(rows, mean, seed)["x"].to_numpy()})
    return StatisticsEngine({"default/m": reference}).observe(monitor("fixed"), None, batch)


def judged_key(kind: str) -> WindowKey:
    return WindowKey(KINDS[kind][0], ALL_ROWS, NOW_S, NOW_S + DAY_S)


def past(kind: str) -> Iterator[WindowKey]:
    """Keys of the windows that a baseline is made of, the newest first, but for what is skipped."""
    if kind == "variant":
        yield WindowKey(STABLE, ALL_ROWS, NOW_S, NOW_S + DAY_S)
        return
    days = KINDS[kind][1]
    place = 2 if kind == "rolling" else 1
    while True:
        start_s = NOW_S - place * days * DAY_S
        yield WindowKey(STABLE, ALL_ROWS, start_s, start_s + DAY_S)
        place += 1


def kept(kind: str, states: Sequence[Sequence[bytes]], verdicts: Sequence[Verdict] = ()) -> KeptWindows:
    keys = list(itertools.islice(past(kind), 1 if kind == "variant" else len(states)))
    if kind == "variant":
        return KeptWindows({keys[0]: [one for part in states for one in part]})
    given = [*verdicts, *[Verdict.OK] * (len(states) - len(verdicts))]
    return KeptWindows(dict(zip(keys, states, strict=True)), dict(zip(keys, given, strict=True)))


def whole(reference: Reference, states: Sequence[Sequence[bytes]]) -> list[int]:
    section = merge([WindowState.from_bytes(one) for part in states for one in part]).section(reference.fingerprint)
    assert section is not None
    return section.values.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_the_windows_added_up_in_any_order_and_in_any_parts(kind: str, reference) -> None:
    states = [[state(reference, 2.0, seed), state(reference, 2.5, seed + 50)] for seed in range(5)]
    found = expectation(monitor(kind), reference, judged_key(kind), kept(kind, states))
    turned = kept(kind, [part[::-1] for part in states])
    again = expectation(monitor(kind), reference, judged_key(kind), replace(turned, states=_backwards(turned)))
    assert found.reference.counts[ALL_ROWS].tolist() == whole(reference, states)
    assert again.reference.counts[ALL_ROWS].tolist() == whole(reference, states)
    assert found.reference.counts[ALL_ROWS][ROWS] == 4000
    assert kind in found.told


def _backwards(history: KeptWindows) -> dict[WindowKey, Sequence[bytes]]:
    return dict(reversed(list(history.states.items())))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["nothing", "few rows", "damaged", "another layout"])
def test_without_enough_the_file_is_compared_with_and_it_is_said(kind: str, case: str, reference) -> None:
    other = build_reference(frame(3000, 9.0, 1), monitor("fixed"))
    states = {
        "nothing": [],
        "few rows": [[state(reference, 0.0, seed, rows=5)] for seed in range(5)],
        "damaged": [[b"damaged"]] * 5,
        "another layout": [[state(other, 0.0, seed)] for seed in range(5)],
    }[case]
    found = expectation(monitor(kind), reference, judged_key(kind), kept(kind, states))
    assert found.reference is reference
    assert found.told.startswith("the reference file, as ")


@pytest.mark.parametrize("kind", ["rolling", "seasonal"])
def test_drifted_windows_are_left_out_unless_they_are_to_stay(kind: str, reference) -> None:
    states = [[state(reference, 5.0, 1)], *[[state(reference, 0.0, seed)] for seed in range(2, 6)]]
    history = kept(kind, states, [Verdict.DRIFTED])
    without = expectation(monitor(kind), reference, judged_key(kind), history)
    with_it = expectation(monitor(kind, drifted="keep"), reference, judged_key(kind), history)
    assert without.reference.counts[ALL_ROWS].tolist() == whole(reference, states[1:])
    assert with_it.reference.counts[ALL_ROWS].tolist() == whole(reference, states)


@pytest.mark.parametrize("kind", ["rolling", "seasonal"])
def test_only_the_newest_are_taken_and_never_the_window_itself(kind: str, reference) -> None:
    states = [[state(reference, 0.0, seed)] for seed in range(9)]
    history = kept(kind, states)
    own, other = judged_key(kind), WindowKey(CANARY, ALL_ROWS, NOW_S - DAY_S, NOW_S)
    more = {**history.states, own: [state(reference, 7.0, 77)], other: [state(reference, 7.0, 78)]}
    full = KeptWindows(more, {**history.verdicts, own: Verdict.OK, other: Verdict.OK})
    found = expectation(monitor(kind, windows=4), reference, own, full)
    assert found.reference.counts[ALL_ROWS].tolist() == whole(reference, states[:4])
    assert "of 4 windows" in found.told


def test_the_newest_windows_are_skipped(reference) -> None:
    states = [[state(reference, 0.0, seed)] for seed in range(6)]
    history = kept("rolling", states)
    further = expectation(monitor("rolling", skip=3), reference, judged_key("rolling"), history)
    assert further.reference.counts[ALL_ROWS].tolist() == whole(reference, states[2:])


@pytest.mark.parametrize("kind", KINDS)
def test_what_moved_long_ago_drifts_against_the_file_and_not_against_the_baseline(kind: str, reference) -> None:
    states = [[state(reference, 2.0, seed)] for seed in range(8)]
    key, window = judged_key(kind), [state(reference, 2.0, 99)]
    verdicts = {}
    for baseline in ("fixed", kind):
        evaluator = Evaluator(monitor(baseline), reference, default_bridge())
        found = evaluate_states(expecting(evaluator, key, kept(kind, states))[0], key, window)
        (result,) = [one for one in found.results if one.detector == "window"]
        verdicts[baseline] = result.verdict
        assert ("; against " in result.reason) == (baseline == kind)
    assert verdicts == {"fixed": Verdict.DRIFTED, kind: Verdict.OK}


def test_files_are_judged_by_the_same_baselines(reference) -> None:
    days = pd.concat([frame(300, 2.0, day).assign(at=day * DAY_S + 5.0) for day in range(9)])
    verdicts = {}
    for drifted in ("leave_out", "keep"):
        windows = OfflineWindows(monitor("rolling", drifted=drifted), reference, STABLE, Span(0.0, 1.0, "at"))
        windows.add(days)
        verdicts[drifted] = [one.verdict for one in windows.evaluate().results if one.detector == "window"]
    # Against the file every day is another world, and so it stays where what drifted is left out.
    assert verdicts == {
        "leave_out": [Verdict.DRIFTED] * 9,
        "keep": [Verdict.DRIFTED] * 4 + [Verdict.OK] * 5,
    }


def test_accuracy_is_compared_with_the_other_variant_and_else_with_the_file() -> None:
    data = frame(3000, 0.0, 0).assign(said=1.0, truth=1.5)
    text = (
        "model: m\ntask: regression\nprediction: {column: said}\nwindows: {size: 1d, minimum_rows: 50}\n"
        "columns: [{name: x, type: numeric}]\nreference: {path: r, label: truth, baseline: variant}\n"
    )
    of = parse_monitor(text, "m.yaml")
    reference = build_reference(data, of)
    windows = OfflineWindows(of, reference, STABLE, Span(NOW_S, NOW_S + DAY_S))
    windows.add(data.head(500).assign(truth=3.0))
    found = expectation(of, reference, judged_key("variant"), KeptWindows(windows.states()))
    section = found.reference.performance[ALL_ROWS]
    assert section.values[0] == 500
    assert section.sums != reference.performance[ALL_ROWS].sums


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("baseline: roling", "must be one of fixed, rolling, seasonal, variant .*did you mean 'rolling'"),
        ("baseline: rolling, windows: 2", "minimum_windows 3 is above windows 2"),
    ],
)
def test_what_cannot_be_is_refused(fields: str, message: str) -> None:
    with pytest.raises(MonitorError, match=message):
        parse_monitor(
            f"model: m\ntask: binary\ncolumns: [{{name: x, type: numeric}}]\nreference: {{path: r, {fields}}}", "m.yaml"
        )


def test_a_season_needs_windows_that_a_week_is_made_of() -> None:
    text = "model: m\ntask: binary\ncolumns: [{name: x, type: numeric}]\nwindows: {size: 5h}\nreference: {path: r, %s}"
    parse_monitor(text % "baseline: rolling", "m.yaml")
    with pytest.raises(MonitorError, match="a seasonal baseline needs windows whose size divides a week"):
        parse_monitor(text % "baseline: seasonal", "m.yaml")
    assert WEEK_S == 604800.0
