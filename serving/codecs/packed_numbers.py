r"""Numbers of a protobuf message that are packed one after another, as NumPy takes them.

>>> varints(b"\x05\xac\x02").tolist()
[5, 300]
"""

import numpy as np
from numpy.typing import NDArray

from driftline.protobuf_wire import LONGEST_VARINT_BYTES, WireError, few_varints

#: Packed numbers in fewer bytes are read one by one, in less time than NumPy takes to begin.
_FEW_BYTES = 48


def varints(packed: bytes) -> NDArray[np.uint64]:
    """Numbers that are written one after another; raises WireError."""
    if len(packed) < _FEW_BYTES:
        return np.array(few_varints(packed, 0, len(packed)), np.uint64)
    data = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(data < 128)
    if not len(ends) or ends[-1] != len(data) - 1:
        raise WireError("a number is cut")
    if len(ends) == len(data):
        return data.astype(np.uint64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > LONGEST_VARINT_BYTES:
        raise WireError("a number is too long")
    places = np.arange(len(data)) - np.repeat(starts, lengths)
    pieces = (data & 127).astype(np.uint64) << (places * 7).astype(np.uint64)
    found: NDArray[np.uint64] = np.bitwise_or.reduceat(pieces, starts)
    return found
