"""What is told of a monitor's reference: its size, what was looked at, and every weakness with what to do."""

from dataclasses import dataclass

import pandas as pd

from detectors.baselines.reference import Reference, load_frame
from detectors.offline.fitness import Weakness, told_together, weaknesses
from detectors.offline.in_time import reference_in_time
from detectors.offline.time_columns import Times, named_times, time_column
from driftline.cli.wiring import MonitorFile
from driftline.durations import format_duration
from driftline.errors import MonitorError

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """What a check of a reference found: its ``size`` and what was looked at, in words, and each weakness."""

    size: str
    looked_at: str
    weaknesses: tuple[Weakness, ...]

    @property
    def text(self) -> str:
        """Lines to be read below the size."""
        count = len(self.weaknesses)
        verdict = "fit" if not count else f"{count} {'weakness' if count == 1 else 'weaknesses'}"
        lines = [f"{verdict}; looked at {self.looked_at}"]
        for each in self.weaknesses:
            lines += [f"{each.column or 'all columns'}: {each.what}", f"  what to do: {each.advice}"]
        return "".join(f"  {line}\n" for line in lines)


def check_reference(file: MonitorFile, built: Reference | None, time: str | None) -> ReferenceCheck:
    """Look for weaknesses of a monitor file's reference; raises MonitorError where it names none.

    ``built``: the reference, where it is built already. ``time``: the column of times; a likely one where it is None.
    """
    if file.reference_path is None:
        raise MonitorError(file.monitor.name, ["names no reference"])
    frame = load_frame(file.reference_path)
    times = time_column(frame, file.monitor) if time is None else named_times(frame, time)
    reference = built or reference_in_time(frame, file.monitor, times=times)
    parts = ["size", "columns", "outlier scores", "rows in a row", "the second half by the first"]
    if len(reference.counts) > 1:
        parts.insert(2, "segments")
    parts.append("no span of time (--time names the column)" if times is None else f"the span by '{times.column}'")
    found = weaknesses(frame, file.monitor, reference, times)
    size = ", ".join(part for part in (_size(frame, reference, times), told_together(file.monitor, reference)) if part)
    return ReferenceCheck(size, ", ".join(parts), found)


def _size(frame: pd.DataFrame, reference: Reference, times: Times | None) -> str:
    segments, kept = len(reference.counts) - 1, sum(len(rows) for rows in reference.rows.values())
    parts = [f"{len(frame):,} rows", f"{len(reference.layout.columns)} columns", f"{segments} segments"]
    if times is not None:
        unit_s = _DAY_S if times.span_s >= _DAY_S else 1.0
        parts.append(f"{format_duration(round(times.span_s / unit_s) * unit_s)} long")
    if kept:
        parts.append(f"keeps {kept:,} rows (detectors.kept_rows)")
    return ", ".join(parts)
