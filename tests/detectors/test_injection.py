"""Changes put into counts are those put into rows, and windows drawn from a reference are as rare as promised."""

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import Reference, build_reference
from detectors.counts.summary import WindowState
from detectors.evaluating.evaluation import default_bridge
from detectors.offline.files import OfflineWindows, Span
from detectors.offline.injection import into_counts, into_rows, parse_injection
from detectors.offline.null_windows import drifted_by_chance
from driftline.errors import ReferenceDataError
from driftline.monitors import Monitor, parse_monitor
from driftline.results import StreamKey

STREAM = StreamKey("default", "m", "", "stable")


def monitor(rate: float = 0.01, effect: float = 0.1) -> Monitor:
    return parse_monitor(
        "model: m\ntask: regression\n"
        f"detectors: {{false_alarm_rate: {rate}, minimum_effect: {effect}}}\n"
        "columns: [{name: x, type: numeric}, {name: c, type: categorical}]\nreference: {path: r, predictions: false}\n",
        "m.yaml",
    )


def frame(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"x": rng.integers(0, 60, rows).astype(float), "c": rng.choice(["a", "b"], rows)})


@pytest.fixture(scope="module")
def reference() -> Reference:
    return build_reference(frame(4000, 1), monitor())


def state_of(reference: Reference, rows: pd.DataFrame) -> bytes:
    windows = OfflineWindows(monitor(), reference, STREAM, Span(0.0, 1.0))
    windows.add(rows)
    ((state,),) = windows.states().values()
    return state


def columns_of(reference: Reference, state: bytes) -> list[list[int]]:
    section = WindowState.from_bytes(state).section(reference.fingerprint)
    assert section is not None
    return [reference.layout.counts(section.values, index).tolist() for index in (0, 1)]


@pytest.mark.parametrize(
    "text", ["x=+7@1970-01-01", "x=-3@1970-01-01", "x=*2@1970-01-01", "x=missing:1@1970-01-01", "c=to:b:1@1970-01-01",
             "c=to:z:1@1970-01-01", "x=to:5:1@1970-01-01"]
)  # fmt: skip
def test_where_every_value_has_a_bin_counts_change_as_rows_do(text: str, reference: Reference) -> None:
    injection, rng = parse_injection(text), np.random.default_rng(0)
    rows = frame(500, 2)
    changed = into_rows(rows, np.ones(500), injection, rng)
    assert columns_of(reference, into_counts(reference, state_of(reference, rows), injection, rng)) == columns_of(
        reference, state_of(reference, changed)
    )
    assert columns_of(reference, state_of(reference, changed)) != columns_of(reference, state_of(reference, rows))


def test_only_what_came_later_is_changed_and_a_share_is_about_that_share() -> None:
    rows, times = frame(4000, 3), np.arange(4000.0)
    injection = parse_injection("x=missing:0.25@1970-01-01T00:33:20")
    found = into_rows(rows, times, injection, np.random.default_rng(5))
    assert found["x"].head(2000).equals(rows["x"].head(2000).astype(object))
    assert 0.2 < found["x"].tail(2000).isna().mean() < 0.3


def test_numbers_cannot_be_added_to_categories(reference: Reference) -> None:
    rng = np.random.default_rng(0)
    state = state_of(reference, frame(10, 1))
    with pytest.raises(ReferenceDataError, match="'c' is categorical; inject to:VALUE:SHARE"):
        into_counts(reference, state, parse_injection("c=+1@1970-01-01"), rng)
    with pytest.raises(ReferenceDataError, match="'y' that a change is injected into is not in the monitor; it has x"):
        into_counts(reference, state, parse_injection("y=+1@1970-01-01"), rng)


def test_drawn_windows_are_called_drifted_as_often_as_the_rate_says() -> None:
    loose = monitor(rate=0.2, effect=0.0001)
    reference = build_reference(frame(4000, 1), loose)
    hits = drifted_by_chance(loose, reference, default_bridge(), 400, 100, np.random.default_rng(7))
    # 100 windows at 20 %, less what ties and pooled cells cost: 4 standard errors above, some below.
    assert 4 <= hits <= 20 + 16
    few = [drifted_by_chance(loose, reference, default_bridge(), 400, 12, np.random.default_rng(7)) for _ in range(2)]
    assert few[0] == few[1]
