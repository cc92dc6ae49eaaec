"""A first monitor drawn from reference data: what is watched, what is left out, and why each choice was made."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from detectors.counts.binning import category
from detectors.counts.frames import as_numbers
from detectors.offline.column_roles import ColumnRole, column_role, is_number, natural_range
from detectors.offline.fitness import detectable, enough_rows
from detectors.offline.giving_away import gives_away
from detectors.offline.output_roles import Named, OutputRoles, output_roles
from detectors.offline.time_columns import Times, first_of_times
from detectors.statistics.reasons import percent
from driftline.durations import format_duration
from driftline.errors import ReferenceDataError
from driftline.monitor_detectors import ReferenceSpec, WindowSpec
from driftline.monitor_ranking import RankingSpec
from driftline.monitors import ColumnSpec, Monitor, PredictionSpec, Task, VectorSpec, monitor_error
from driftline.objectives import (
    AvailabilitySlo,
    CaptureSlo,
    CorrectnessSlo,
    DriftSlo,
    LatencySlo,
    QualitySlo,
    Slo,
    SloSet,
)

#: What the prediction is called where nobody said.
_UNNAMED = "predicted"
#: Categories are listed as the only allowed ones when there are at most this many.
_LISTED_CATEGORIES = 10
#: Columns that were left out, as a message lists them.
_LISTED_COLUMNS = 12
#: Columns are proposed as segments with at most this many values, of which each has this share of the rows.
_SEGMENT_VALUES, _SEGMENT_SHARE = 10, 0.02
_SHARE = re.compile(r"(^|_)(prob|proba|probability|share|ratio|rate|fraction)($|_)")
_PER_CENT = re.compile(r"(^|_)(percent|percentage|pct|humidity|humid)($|_)")
#: Whole numbers within a range of this size get whole ends, larger ones are rounded.
_SMALL_COUNT = 100
#: What lies beyond larger numbers is no number any more.
_LARGEST_RANGE = 1e307
_TESTED, _CHECKED = ("numeric", "boolean", "category"), ("constant", "calendar")
_DAY_S, _WEEK_S = 86_400.0, 604_800.0


@dataclass(frozen=True, slots=True)
class Draft:
    """A monitor, and what to tell the person who is to keep it.

    ``inputs``: every column that is no output, in the order of the file; ``outputs``: other columns that look like the
    model's answers, and are left out. ``because``: reasons, by part of the monitor. ``ranges``: what was seen of each
    watched column. ``times``: when each row was, and the column that says so. ``segments``, ``key``, ``subject``:
    columns that could be used so, if the person says so.
    """

    monitor: Monitor
    rows: int
    inputs: tuple[ColumnRole, ...]
    outputs: tuple[str, ...]
    because: Mapping[str, str]
    ranges: Mapping[str, str]
    times: Times | None
    segments: tuple[str, ...]
    key: str | None
    subject: str | None


def draft(
    frame: pd.DataFrame,
    *,
    model: str,
    reference_path: str,
    target: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    query: str | None = None,
    task: Task | None = None,
    namespace: str = "default",
) -> Draft:
    """A monitor whose columns, types and valid ranges are those of ``frame``.

    ``target``: column with the true value; ``prediction`` and ``score``: the model's outputs (usual names are found by
    themselves; a file without them gives a monitor whose answers are not compared with it). ``query``: of a ranking,
    the column that tells queries apart. The task, where it is not said, is a ranking's where rows are candidates of
    queries, else it follows from the target, or from the prediction. Raises ReferenceDataError when a named column is
    missing or nothing is left to watch, MonitorError where ``model`` or another name is none that a monitor may have.
    """
    if not len(frame):
        raise ReferenceDataError(f"{reference_path} has no rows")
    outputs = output_roles(frame, reference_path, Named(target, prediction, score, query, task))
    inputs = tuple(column_role(str(name), frame[name]) for name in frame.columns if name not in outputs.names)
    watched = _watched(reference_path, inputs)
    because = dict(outputs.because)
    try:
        monitor = Monitor(
            model=model,
            namespace=namespace,
            task=outputs.task,
            columns=tuple(_column(role, frame[role.name]) for role in watched),
            vectors=tuple(VectorSpec(name=role.name, dimension=role.dimension) for role in inputs if role.dimension),
            prediction=PredictionSpec(
                column=outputs.prediction or _UNNAMED, score=outputs.score, positive=outputs.positive
            ),
            ranking=outputs.ranking or RankingSpec(),
            reference=ReferenceSpec(
                path=reference_path, label=outputs.target, predictions=outputs.prediction is not None
            ),
            slos=SloSet(objectives=_objectives(frame, outputs, because)),
        )
    except ValidationError as error:
        raise monitor_error(f"a monitor of {reference_path}", None, error) from error
    times = first_of_times(frame, [role.name for role in inputs if role.role == "time"])
    monitor = monitor.model_copy(update={"windows": _windows(frame, monitor, times, because)})
    truth = None if outputs.target is None else _truth(frame[outputs.target], outputs)
    return Draft(
        monitor=monitor,
        rows=len(frame),
        inputs=inputs,
        outputs=outputs.others,
        because=because,
        ranges={role.name: _seen(role, frame[role.name], truth) for role in watched},
        times=times,
        segments=_segments(frame, watched),
        key=next((role.name for role in inputs if role.role == "identifier"), None),
        subject=next((role.name for role in inputs if role.role == "entity" and role.subject), None),
    )


def _watched(path: str, inputs: Sequence[ColumnRole]) -> list[ColumnRole]:
    """The columns of the monitor; raises ReferenceDataError where neither they nor vectors can be compared."""
    if not any(role.role in (*_TESTED, "vector") for role in inputs):
        raise _nothing_left(path, inputs)
    return [role for role in inputs if role.role in (*_TESTED, *_CHECKED)]


def _nothing_left(path: str, inputs: Sequence[ColumnRole]) -> ReferenceDataError:
    why = "; ".join(f"{role.name}: {role.why}" for role in inputs[:_LISTED_COLUMNS])
    told = f" ({why})" if why else ""
    if any(role.role == "text" for role in inputs):
        told += "; texts are watched by what is made of them: add a column of their lengths, or of their vectors"
    return ReferenceDataError(f"{path}: no column is left to watch beside target and outputs{told}")


# --- columns --------------------------------------------------------------------------------------------------------
def _column(role: ColumnRole, series: pd.Series) -> ColumnSpec:
    required, drift = role.missing == 0.0, role.role in _TESTED
    number = is_number(series) and role.role in ("numeric", "constant", "calendar")
    if not number:
        return ColumnSpec(
            name=role.name, type="categorical", required=required, allowed=_allowed(role, series), drift=drift
        )
    low, high = _range(role, as_numbers(series))
    return ColumnSpec(name=role.name, type="numeric", required=required, minimum=low, maximum=high, drift=drift)


def _allowed(role: ColumnRole, series: pd.Series) -> tuple[str, ...] | None:
    if role.role == "boolean":
        return ("0", "1")
    counts = series.value_counts()
    # A value that occurs once says that others may come (Good and Turing: as many rows as there are such values).
    if len(counts) > _LISTED_CATEGORIES or len(counts) < 2 or (counts == 1).any():
        return None
    return tuple(sorted(category(value) or "" for value in counts.index))


def _range(role: ColumnRole, values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The smallest and the largest valid number: a tenth beyond what was seen, or what the name says."""
    finite = values[np.isfinite(values)]
    if not len(finite) or role.role == "constant":
        return None, None
    low, high = float(finite.min()), float(finite.max())
    natural = natural_range(role.name)
    if natural is not None and natural[0] <= low and high <= natural[1]:
        return natural
    for name, end in ((_SHARE, 1.0), (_PER_CENT, 100.0)):
        if name.search(role.name.lower()) and low >= 0 and high <= end:
            return 0.0, end
    if max(abs(low), abs(high)) > _LARGEST_RANGE:
        return None, None
    margin = (high - low) * 0.1
    if bool((finite == np.floor(finite)).all()) and high - low <= _SMALL_COUNT:
        margin = 0.0 if role.distinct <= _LISTED_CATEGORIES else margin
        return max(math.floor(low - margin), 0.0 if low >= 0 else -math.inf), float(math.ceil(high + margin))
    floor = 0.0 if low >= 0 and low - margin < 0 else _rounded(low - margin, down=True)
    return floor, _rounded(high + margin, down=False)


def _rounded(value: float, *, down: bool) -> float:
    """Two significant digits, outwards."""
    if value == 0.0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    if step == 0.0:
        return value  # so small that floats have no second digit of it
    whole = math.floor(value / step) if down else math.ceil(value / step)
    return float(f"{whole * step:.12g}")


def _truth(series: pd.Series, outputs: OutputRoles) -> NDArray[np.float64] | NDArray[np.bool_] | None:
    """The truth as something that has an order; None where it has none."""
    if outputs.task in ("regression", "ranking"):
        return as_numbers(series)
    return series.map(category).eq(outputs.positive).to_numpy() if outputs.task == "binary" else None


def _seen(role: ColumnRole, series: pd.Series, truth: NDArray[np.float64] | NDArray[np.bool_] | None) -> str:
    """What was seen of a watched column, in few words."""
    parts = [role.why] if role.why else []
    if role.role == "numeric":
        finite = as_numbers(series)
        finite = finite[np.isfinite(finite)]
        parts.append(f"{finite.min():,.6g} to {finite.max():,.6g}" if len(finite) else "no finite value")
        if 2 <= role.distinct <= _LISTED_CATEGORIES:
            parts.append(f"{role.distinct} values: categorical, if they are codes")
    elif role.role == "category" and not role.why and role.distinct > _LISTED_CATEGORIES:
        parts.append(f"{role.distinct} values")
    if role.missing:
        parts.append(f"{percent(role.missing)} missing")
    if role.role == "numeric" and truth is not None and gives_away(as_numbers(series), truth):
        parts.append("GIVES THE TARGET AWAY: is it known when the model is asked?")
    return "; ".join(parts)


def _segments(frame: pd.DataFrame, watched: Sequence[ColumnRole]) -> tuple[str, ...]:
    """Columns whose values could be watched apart: few values, each of many rows; fewest values first."""
    few = [role for role in watched if role.role in ("category", "boolean") and 2 <= role.distinct <= _SEGMENT_VALUES]
    even = [role for role in few if frame[role.name].value_counts(normalize=True).min() >= _SEGMENT_SHARE]
    return tuple(role.name for role in sorted(even, key=lambda role: role.distinct)[:3])


# --- windows and objectives -----------------------------------------------------------------------------------------
def _windows(frame: pd.DataFrame, monitor: Monitor, times: Times | None, because: dict[str, str]) -> WindowSpec:
    """Days, or weeks where a day has too few rows; with as many rows as show the smallest effect that matters."""
    rate, effect = monitor.detectors.false_alarm_rate / len(monitor.watched()), monitor.detectors.minimum_effect
    needed = enough_rows(len(frame), rate, effect)
    size_s, fewest = _DAY_S, needed or WindowSpec().minimum_rows
    if times is None:
        because["windows"] = "A guess, as the file has no column of times: long enough to have minimum_rows, mostly."
    else:
        days = max(times.span_s / _DAY_S, 1.0)
        a_day = len(frame) / days
        size_s = _DAY_S if 2 * a_day >= fewest else _WEEK_S
        rows = a_day * size_s / _DAY_S
        # Half of the usual: quiet days are judged, too, by what they can show.
        fewest = max(min(fewest, int(rows / 200) * 100), WindowSpec().minimum_rows)
        because["windows"] = (
            f"By {times.column} the file has {a_day:,.0f} rows a day over {format_duration(round(days) * _DAY_S)}; "
            f"with traffic like it a window of {format_duration(size_s)} has {rows:,.0f}."
        )
    smallest = detectable(len(frame), fewest, rate)
    because["minimum_rows"] = (
        f"From {fewest} rows on a column's change of {smallest:.2g} is found four times in five"
        + ("." if needed is not None else f"; beside only {len(frame):,} rows no window shows {effect:g}.")
    )
    return WindowSpec(size=size_s, minimum_rows=fewest)


def _objectives(frame: pd.DataFrame, outputs: OutputRoles, because: dict[str, str]) -> tuple[Slo, ...]:
    objectives: tuple[Slo, ...] = (
        AvailabilitySlo(kind="availability", target=0.999),
        LatencySlo(kind="latency", target=0.99, threshold=0.5),
        CaptureSlo(kind="capture", target=0.999),
        QualitySlo(kind="data_quality", target=0.99),
        DriftSlo(kind="drift", target=0.9),
    )
    if outputs.task == "ranking":
        because["correctness"] = (
            "Every window's ndcg and other metrics are compared with the file's. An objective of correctness would "
            "take each of the first places that is not relevant for a wrong answer; add it where that is meant."
        )
        return objectives
    if outputs.target is None or outputs.prediction is None:
        because["correctness"] = "How often the model is right is not known here; add the objective when it is."
        return objectives
    return (*objectives, _correctness(frame[outputs.target], frame[outputs.prediction], outputs.task, because))


def _correctness(truth: pd.Series, said: pd.Series, task: Task, because: dict[str, str]) -> CorrectnessSlo:
    known = truth.notna() & said.notna()
    if task == "regression":
        errors = np.abs(as_numbers(said[known]) - as_numbers(truth[known]))
        tolerance = _rounded(float(np.quantile(errors, 0.9)), down=False) if len(errors) else 1.0
        because["correctness"] = "In the file nine answers in ten are within the tolerance; eight are asked for."
        return CorrectnessSlo(kind="correctness", target=0.8, tolerance=tolerance or 1.0)
    right = float((truth[known].map(category) == said[known].map(category)).mean()) if known.any() else 0.9
    because["correctness"] = (
        f"In the file {percent(right)} of the answers are right; this is five points below, in whole per cent. If the "
        "model was trained on this file, it is better here than it will be."
    )
    return CorrectnessSlo(kind="correctness", target=min(0.99, max(0.5, math.floor((right - 0.05) * 100) / 100)))
