"""Hourly windows of streams whose hours differ every week alike, compared with the same hours of weeks before.

Two weeks are the reference, then come the weeks of the baseline, then the one that is asked about, every fourth hour of
it. ``rows_together`` is ``auto``: nobody says what hangs together.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.baselines.reference import build_reference
from detectors.offline.files import OfflineWindows, Span
from driftline.monitor_detectors import WEEK_S
from driftline.monitors import Monitor
from driftline.results import StreamKey, Verdict

Values = NDArray[np.float64]
_HOUR_S, _HOURS, _BEGIN_S, _SEED = 3600.0, 168, 2600 * WEEK_S, 41
_REFERENCE_WEEKS, _BASELINE_WEEKS, _EVERY = 2, 4, 4
#: Rows of an hour: for false alarms, and for what is found.
FEW, MANY = 100, 400

_LEVELS = np.random.default_rng(_SEED).normal(0.0, 1.5, _HOURS)


def _wave(hour: Values) -> Values:
    return np.asarray(np.sin(hour * np.pi / 12.0))


#: Mean and spread of rows by the hour of the week.
SEASONS: Mapping[str, Callable[[Values], tuple[Values, Values]]] = {
    "no season": lambda hour: (np.zeros(len(hour)), np.ones(len(hour))),
    "a wave of a day": lambda hour: (2.0 * _wave(hour), np.ones(len(hour))),
    "hours of their own": lambda hour: (_LEVELS[hour.astype(int)], np.ones(len(hour))),
    "a spread by the hour": lambda hour: (2.0 * _wave(hour), np.exp(0.5 * _wave(hour))),
}


def _independent(rng: np.random.Generator, rows: int, _of_hour: int) -> Values:
    return rng.normal(size=rows)


def _alike(rng: np.random.Generator, rows: int, _of_hour: int) -> Values:
    return np.repeat(rng.normal(size=-(-rows // 20)), 20)[:rows]


def _days(rng: np.random.Generator, rows: int, of_hour: int) -> Values:
    level = np.repeat(rng.normal(size=-(-rows // (24 * of_hour))), 24 * of_hour)[:rows]
    return np.asarray(np.sqrt(0.1) * level + np.sqrt(0.9) * rng.normal(size=rows))


#: What else rows differ by, and how far they move where they do, in standard deviations.
NOISES: Mapping[str, tuple[Callable[[np.random.Generator, int, int], Values], float]] = {
    "independent": (_independent, 0.2),
    "clients of twenty alike": (_alike, 0.8),
    "days of some level": (_days, 2.5),
}


def _monitor() -> Monitor:
    return Monitor.model_validate(
        {
            "model": "bench",
            "task": "regression",
            "columns": [{"name": "x", "type": "numeric"}],
            "windows": {"size": "1h", "minimum_rows": 50},
            "reference": {"path": "r", "predictions": False, "baseline": "seasonal", "drifted": "keep"},
        }
    )


def _verdicts(season: str, noise: str, of_hour: int, seed: int, moved: float) -> list[Verdict]:
    """Of the last week's windows."""
    rng = np.random.default_rng((_SEED, seed))
    weeks = _REFERENCE_WEEKS + _BASELINE_WEEKS + 1
    at = np.sort(rng.uniform(0.0, weeks * WEEK_S, weeks * _HOURS * of_hour))
    mean, spread = SEASONS[season](at % WEEK_S / _HOUR_S)
    values = mean + spread * (NOISES[noise][0](rng, len(at), of_hour) + moved * (at >= (weeks - 1) * WEEK_S))
    rows, monitor = pd.DataFrame({"x": values, "at": _BEGIN_S + at}), _monitor()
    first = at < _REFERENCE_WEEKS * WEEK_S
    reference = build_reference(rows.loc[first, ["x"]], monitor, seconds=at[first] + _BEGIN_S)
    windows = OfflineWindows(monitor, reference, StreamKey("default", "bench", "1", "stable"), Span(0.0, 1.0, "at"))
    windows.add(rows[~first & (at // _HOUR_S % _EVERY == 0)])
    newest_s = _BEGIN_S + (weeks - 1) * WEEK_S
    return [
        each.verdict
        for each in windows.evaluate().results
        if each.detector == "window" and each.window.start_s >= newest_s
    ]


def called(season: str, noise: str, references: int, *, change: bool) -> dict[str, int]:
    """Windows called drifted, those where anything was significant, and all, over references each drawn anew."""
    of_hour, moved = (MANY, NOISES[noise][1]) if change else (FEW, 0.0)
    found = [each for seed in range(references) for each in _verdicts(season, noise, of_hour, seed, moved)]
    return {
        "drifted": sum(each is Verdict.DRIFTED for each in found),
        "significant": sum(each is not Verdict.OK for each in found),
        "windows": len(found),
    }


def every(references: int, *, change: bool) -> dict[str, dict[str, dict[str, int]]]:
    """Per noise and season."""
    return {noise: {season: called(season, noise, references, change=change) for season in SEASONS} for noise in NOISES}


def table(title: str, found: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, Any]:
    """Windows drifted, and warned of, of all, as cells."""
    rows = [
        [
            noise,
            *(
                f"{each['drifted']} + {each['significant'] - each['drifted']} of {each['windows']}"
                for each in seasons.values()
            ),
        ]
        for noise, seasons in found.items()
    ]
    return {"title": title, "head": ["rows", *SEASONS], "rows": rows}
