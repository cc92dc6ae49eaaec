"""Do changes found in short real series agree with what people marked? The Turing Change Point Dataset.

``git clone https://github.com/alan-turing-institute/TCPD`` brings 32 series as JSON and five people's marks of all 42;
the series have licences of their own, so that none lies here. ``python -m benchmarks.detection --tables tcpd --tcpd
FOLDER``.

Scores as in the dataset's paper: F1 with a margin of 5 rows, precision against what anybody marked, recall averaged
over people; and *cover*, how well the pieces between changes overlap. Source: G. van den Burg, C. Williams, An
evaluation of change point detection algorithms, 2020, section 3.2. A series' first row begins a piece for everybody.

>>> f1({"a": {0, 50}, "b": {0}}, {0, 52}, 5), round(cover({"a": {0, 50}}, {0, 52}, 100), 3)
(1.0, 0.961)
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection_series import DETECTORS, Detect

Marks = Mapping[str, set[int]]
MARGIN = 5
#: Rows that a detector may learn from: so much of a series, and so many at least.
LEARNT, LEAST = 0.15, 20
#: Cover and F1 of others at their defaults on those of the same series that they have a score for, all but one
#: (TCPDBench, analysis/output/scores/default_*_scores.json); F1 and cover of saying nothing are there as they are here.
PUBLISHED = {"binseg": (0.655, 0.690), "pelt": (0.656, 0.684), "bocpd": (0.591, 0.657)}


def table(folder: Path) -> dict[str, Any]:
    """Mean cover and F1 over the folder's real univariate series, per detector; beside the published ones."""
    series, marks = load(folder)
    rows: list[list[object]] = []
    for name, detect in DETECTORS.items():
        covers, scores, changes = zip(
            *(_scored(detect, values, marks[key]) for key, values in series.items()), strict=True
        )
        rows.append([name, f"{np.mean(covers):.3f}", f"{np.mean(scores):.3f}", f"{np.mean(changes):.1f}"])
    rows += [
        [f"{name}, published, without uk_coal_employ", f"{found[0]:.3f}", f"{found[1]:.3f}", "-"]
        for name, found in PUBLISHED.items()
    ]
    title = f"Turing Change Point Dataset: the {len(series)} real univariate series that it holds itself"
    return {"title": title, "head": ["detector", "cover", "F1", "changes a series"], "rows": rows}


def load(folder: Path) -> tuple[dict[str, NDArray[np.float64]], dict[str, Marks]]:
    """Series and marks by name; without the five that were made to test the annotators."""
    said = json.loads((folder / "annotations.json").read_text())
    series = {}
    for path in sorted(folder.glob("datasets/*/*.json")):
        held = json.loads(path.read_text())
        if held["n_dim"] == 1 and not path.stem.startswith("quality_control"):
            values = np.array([np.nan if value is None else value for value in held["series"][0]["raw"]], dtype=float)
            series[path.stem] = values
    marks: dict[str, Marks] = {
        name: {who: {0, *found} for who, found in people.items()} for name, people in said.items()
    }
    return series, marks


def _scored(detect: Detect, values: NDArray[np.float64], marks: Marks) -> tuple[float, float, int]:
    calibrated = min(max(LEAST, int(LEARNT * len(values))), len(values))
    found = {0, *(onset for _, onset in detect(values, calibrated))}
    return cover(marks, found, len(values)), f1(marks, found, MARGIN), len(found) - 1


def f1(marks: Marks, found: set[int], margin: int) -> float:
    """The harmonic mean of precision against all marks together and recall of each person's."""
    precision = _matched(set().union(*marks.values()), found, margin) / len(found)
    recall = float(np.mean([_matched(of_one, found, margin) / len(of_one) for of_one in marks.values()]))
    return 2.0 * precision * recall / (precision + recall)


def _matched(marks: set[int], found: set[int], margin: int) -> int:
    """Marks with a change within the margin of their own; each change serves one mark, the nearest first."""
    left, matched = set(found), 0
    for mark in sorted(marks):
        near = min(left, key=lambda place: (abs(place - mark), place), default=None)
        if near is not None and abs(near - mark) <= margin:
            left.remove(near)
            matched += 1
    return matched


def cover(marks: Marks, found: set[int], length: int) -> float:
    """How well the found pieces cover each person's, weighted by their lengths; the mean over people."""
    ours = _pieces(found, length)
    return float(
        np.mean(
            [
                sum(
                    (end - start) * max(_overlap((start, end), piece) for piece in ours)
                    for start, end in _pieces(of_one, length)
                )
                / length
                for of_one in marks.values()
            ]
        )
    )


def _pieces(changes: set[int], length: int) -> list[tuple[int, int]]:
    starts = sorted(place for place in changes if 0 <= place < length)
    return list(zip(starts, [*starts[1:], length], strict=True))


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return max(0, shared) / (max(one[1], other[1]) - min(one[0], other[0])) if shared > 0 else 0.0
