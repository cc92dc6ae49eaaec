"""Are anomalies in real streams found early and without crying wolf? The Numenta Anomaly Benchmark's score.

``git clone https://github.com/numenta/NAB`` brings 58 streams, the marked windows and other detectors' scores (MIT).
``python -m benchmarks.detection --tables nab --nab FOLDER``. The first 15 % of a stream, 750 rows at most, are there to
learn from and are not scored.

The *standard* score: a window in which something is said earns up to 1, the earlier the more, and costs 1 where nothing
is; each row outside of windows that is said to be odd costs up to 0.11, less just behind a window. 0 is to say nothing,
100 is perfect. Detectors with a score per row get the threshold that serves them best, as in NAB. Other detectors'
scores are taken from NAB's own files and scored here, beside what NAB gives them, so that our scoring is seen to agree.
Source: A. Lavin, S. Ahmad, Evaluating real-time anomaly detection algorithms, 2015.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection_series import DETECTORS, Detect
from detectors.outliers.catalogue import CATALOGUE
from detectors.outliers.model import Entry

Rows = NDArray[np.float64]
FALSE_COST = 0.11
LEARNT, MOST = 0.15, 5000
THEIRS = ("numenta", "relativeEntropy", "windowedGaussian", "random")
#: Of our detectors of a series, those that 365,000 rows take minutes of, not hours.
OURS = ("e_shiryaev_roberts", "e_pooled", "adwin", "page_hinkley", "dummy: never", "dummy: dice")
#: Thresholds that are tried where a detector has a score per row.
TRIED = 400


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its values, its marked windows as first and last row, and the first row that is scored."""

    name: str
    values: Rows
    windows: tuple[tuple[int, int], ...]
    scored_from: int
    _weights: tuple[Rows, NDArray[np.int64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_weights", self._weighed())

    def score(self, odd: NDArray[np.bool_]) -> float:
        """What it is worth to say that these rows are odd."""
        worth, inside = self._weights
        said = np.flatnonzero(odd[self.scored_from :]) + self.scored_from
        total = float(worth[said[inside[said] < 0]].sum())
        for number in range(len(self.windows)):
            total += float(worth[said[inside[said] == number]].max(initial=-1.0))
        return total

    def _weighed(self) -> tuple[Rows, NDArray[np.int64]]:
        """Per row what it is worth to be said to be odd, and the window it lies in (-1: none)."""
        worth, inside = np.full(len(self.values), -FALSE_COST), np.full(len(self.values), -1)
        for number, (first, last) in enumerate(self.windows):
            following = self.windows[number + 1][0] if number + 1 < len(self.windows) else len(self.values)
            width = last - first + 1
            rows = np.arange(first, last + 1)
            worth[rows] = _sigma(-(last - rows + 1) / width) / _sigma(np.array(-1.0))
            inside[rows] = number
            behind = np.arange(last + 1, following)
            past = (behind - last) / max(width - 1, 1)
            worth[behind] = np.where(past > 3.0, -1.0, _sigma(past)) * FALSE_COST
        return worth, inside


def _sigma(position: Rows) -> Rows:
    found: Rows = 2.0 / (1.0 + np.exp(5.0 * position)) - 1.0
    return found


def load(folder: Path) -> list[Stream]:
    """All streams with their marked windows."""
    marked = json.loads((folder / "labels" / "combined_windows.json").read_text())
    streams = []
    for name, windows in sorted(marked.items()):
        with (folder / "data" / name).open() as file:
            table = list(csv.DictReader(file))
        places = {row["timestamp"]: place for place, row in enumerate(table)}
        values = np.array([float(row["value"]) for row in table])
        spans = tuple((places[first.partition(".")[0]], places[last.partition(".")[0]]) for first, last in windows)
        learnt = math.floor(min(LEARNT * len(values), LEARNT * MOST))
        streams.append(Stream(name, values, spans, learnt))
    return streams


def score(streams: Sequence[Stream], said: Sequence[NDArray[np.bool_]]) -> float:
    """The standard score of rows that are said to be odd: 0 for saying nothing, 100 for perfect."""
    total = sum(stream.score(odd) for stream, odd in zip(streams, said, strict=True))
    windows = sum(len(stream.windows) for stream in streams)
    return 100.0 * (total + windows) / (2.0 * windows)


def best(streams: Sequence[Stream], scores: Sequence[Rows]) -> float:
    """The standard score at the threshold that serves best, one for all streams."""
    scored = np.concatenate([each[stream.scored_from :] for stream, each in zip(streams, scores, strict=True)])
    # Few rows are to be said to be odd: thresholds lie close to the top.
    shares = 1.0 - np.geomspace(1.0 / len(scored), 1.0, TRIED)
    tried = np.unique(np.append(np.quantile(scored, shares, method="higher"), np.inf))
    return max(score(streams, [each >= threshold for each in scores]) for threshold in tried)


def table(folder: Path) -> dict[str, Any]:
    """The standard score of ours and of some of NAB's, on the folder's streams."""
    streams = load(folder)
    published = json.loads((folder / "results" / "final_results.json").read_text())
    rows: list[list[object]] = [
        [entry.name, "score per row, best threshold", f"{best(streams, _outlying(entry, streams)):.1f}", "-"]
        for entry in CATALOGUE
    ]
    rows += [[name, "alarms", f"{score(streams, _alarms(DETECTORS[name], streams)):.1f}", "-"] for name in OURS]
    for name in THEIRS:
        found = best(streams, [_theirs(folder, name, stream) for stream in streams])
        rows.append(
            [f"{name}, of NAB", "score per row, best threshold", f"{found:.1f}", f"{published[name]['standard']:.1f}"]
        )
    return {
        "title": f"Numenta Anomaly Benchmark, {len(streams)} streams, standard score",
        "head": ["detector", "what is scored", "score", "score in NAB's results"],
        "rows": rows,
    }


def _outlying(entry: Entry, streams: Sequence[Stream]) -> list[Rows]:
    """How unlike a stream's first rows each row is, in units of what one row in a hundred of these exceeds."""
    found = []
    for stream in streams:
        before = stream.values[: stream.scored_from, None]
        if np.ptp(before) == 0.0:  # nothing is known of a constant, and nothing is said
            found.append(np.zeros(len(stream.values)))
            continue
        scorer = entry.fit(before, np.random.default_rng(5))
        usual = float(np.quantile(scorer.scores(before), 0.99))
        found.append(scorer.scores(stream.values[:, None]) / (usual if usual > 0.0 else 1.0))
    return found


def _alarms(detect: Detect, streams: Sequence[Stream]) -> list[NDArray[np.bool_]]:
    found = []
    for stream in streams:
        odd = np.zeros(len(stream.values), dtype=np.bool_)
        odd[[at for at, _ in detect(stream.values, stream.scored_from)]] = True
        found.append(odd)
    return found


def _theirs(folder: Path, name: str, stream: Stream) -> Rows:
    group, _, file_name = stream.name.partition("/")
    with (folder / "results" / name / group / f"{name}_{file_name}").open() as file:
        return np.array([float(row["anomaly_score"]) for row in csv.DictReader(file)])
