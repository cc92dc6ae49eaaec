"""What every peer's script shares: read windows that a benchmark wrote, ask the peer of each, print what it said.

Run with the peer's own Python, which has NumPy and knows nothing of driftline: ``python ask_PEER.py DIRECTORY CPU_S``.
``DIRECTORY`` holds one ``.npz`` per stream: ``reference/COLUMN`` of shape (rows,), ``windows/COLUMN`` of shape
(windows, rows); numbers with NaN, or text with "" for missing. ``CPU_S`` after the first answer, no more is asked.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Columns = dict[str, Any]
#: Per window, in order: which columns are called drifted, and whether the whole is (None: the peer has no such word).
Answers = Iterator[tuple[list[bool], bool | None]]


def ask(directory: Path, limit_s: float, decide: Callable[[Columns, list[Columns]], Answers]) -> dict[str, Any]:
    """What the peer said of each stream."""
    said: dict[str, Any] = {}
    for path in sorted(directory.glob("*.npz")):
        reference, windows = load(path)
        try:
            said[path.stem] = _count(decide(reference, windows), limit_s)
        except Exception as error:  # noqa: BLE001 - what a peer cannot answer is one of the results
            said[path.stem] = {"failed": f"{type(error).__name__}: {error}"[:200]}
    return said


def load(path: Path) -> tuple[Columns, list[Columns]]:
    """The reference and the windows of one stream."""
    with np.load(path) as arrays:
        names = [name.partition("/")[2] for name in arrays.files if name.startswith("reference/")]
        reference = {name: arrays[f"reference/{name}"] for name in names}
        windows = {name: arrays[f"windows/{name}"] for name in names}
    count = len(next(iter(windows.values())))
    return reference, [{name: windows[name][place] for name in names} for place in range(count)]


def _count(answers: Answers, limit_s: float) -> dict[str, Any]:
    began_s = time.process_time()
    first_s: float | None = None
    seen: list[tuple[list[bool], bool | None]] = []
    for answer in answers:
        seen.append(answer)
        # Some peers answer all windows at the first: those that are there are taken.
        first_s = first_s or time.process_time()
        if time.process_time() - first_s > limit_s:
            break
    wholes = [whole for _, whole in seen if whole is not None]
    return {
        "windows": len(seen),
        "any": sum(any(columns) for columns, _ in seen),
        "columns": sum(sum(columns) for columns, _ in seen),
        "column_windows": sum(len(columns) for columns, _ in seen),
        "whole": sum(wholes) if wholes else None,
        "cpu_s": time.process_time() - began_s,
    }


def is_number(values: Any) -> bool:
    """Whether a column holds numbers."""
    return bool(values.dtype.kind == "f")


def frame_columns(columns: Columns) -> Columns:
    """Columns as pandas wants them: text with None for missing."""
    return {
        name: values if is_number(values) else np.where(values == "", None, values.astype(object))
        for name, values in columns.items()
    }


def main(decide: Callable[[Columns, list[Columns]], Answers]) -> None:
    """Ask, and print the answers as the last line."""
    print("\n" + json.dumps(ask(Path(sys.argv[1]), float(sys.argv[2]), decide)))
