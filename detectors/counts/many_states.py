"""Many small window states at once: ten thousand labels spread over a month change seven hundred of them.

State by state most of the time would go to calls about arrays of a few numbers. States that hold one section, written
as its counts that are not zero, are read, added to and written as one matrix; any other is changed by itself. Both give
the same bytes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.counts.sparse import LARGEST, add_rows, write_rows
from detectors.counts.summary import (
    MAGIC,
    SECTION,
    SPARSE,
    SPARSE_BYTES,
    Section,
    StateError,
    WindowState,
)

_BEGUN = WindowState().to_bytes()
_HEAD = len(MAGIC) + SECTION.size
_ZEROS = write_rows(np.zeros((1, 1), dtype=np.int64))[0]


def plus_each(states: Sequence[bytes | None], fingerprint: str, sections: Sequence[Section]) -> list[bytes]:
    """Each state with its section added; None is a window's beginning. Raises StateError on foreign bytes.

    >>> section = Section(np.array([0, 7]))
    >>> one, two = plus_each([None, WindowState().to_bytes()], "0" * 16, [section, section])
    >>> plus_each([one], "0" * 16, [section])[0] == WindowState().plus("0" * 16, Section(np.array([0, 14]))).to_bytes()
    True
    """
    found: list[bytes | None] = [None] * len(states)
    if sections and not any(section.sums for section in sections):
        size = len(sections[0].values)
        if size <= LARGEST and all(len(section.values) == size for section in sections):
            found = _together(states, fingerprint, np.stack([section.values for section in sections]))
    return [
        _alone(state, fingerprint, section) if done is None else done
        for done, state, section in zip(found, states, sections, strict=True)
    ]


def _alone(state: bytes | None, fingerprint: str, section: Section) -> bytes:
    read = WindowState() if state is None else WindowState.from_bytes(state)
    return read.plus(fingerprint, section).to_bytes()


def _together(states: Sequence[bytes | None], fingerprint: str, values: NDArray[np.int64]) -> list[bytes | None]:
    """The states as they will be, ``values`` of shape (states, size) added; None for those that need a closer look."""
    layout, size = bytes.fromhex(fingerprint), values.shape[1]
    begun = [state is None or state == _BEGUN for state in states]
    stored = {place: state[_HEAD:] for place, state in enumerate(states) if state and _is_plain(state, layout, size)}
    try:
        add_rows(values, list(stored), list(stored.values()))
    except ValueError as error:
        raise StateError(f"a window state is damaged: {error}") from error
    together: list[bytes | None] = []
    for place, counts in enumerate(write_rows(values)):
        if not (begun[place] or place in stored) or len(counts) > SPARSE_BYTES:
            together.append(None)
        elif counts == _ZEROS:
            together.append(_BEGUN)
        else:
            together.append(MAGIC + SECTION.pack(layout, SPARSE, size, len(counts)) + counts)
    return together


def _is_plain(state: bytes, layout: bytes, size: int) -> bool:
    """Whether a state is one sparse section of this layout, without sums, and nothing else."""
    if len(state) < _HEAD or not state.startswith(MAGIC):
        return False
    return SECTION.unpack_from(state, len(MAGIC)) == (layout, SPARSE, size, len(state) - _HEAD)
