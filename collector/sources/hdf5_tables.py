"""HDF5 files to rows, as a process of its own: the only module of this room that knows h5py.

Apart because HDF5's library may end the process that reads a damaged file, or one that is being written.
``python -m collector.sources.hdf5_tables`` reads :class:`Wanted` from its standard input and writes a ``Table`` or a
``Fault`` for each to its standard output, as MessagePack.
"""

import io
import sys
from typing import Any

import h5py
import msgspec
import numpy as np

from collector.sources.hdf5_messages import Fault, Table, Wanted

#: What h5py raises for a file that is damaged.
_BROKEN = (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, ArithmeticError, MemoryError)
#: A data set that says it is much larger than its file is not believed: chunks may be half empty, no more.
_LARGER = 64
_SMALL_BYTES = 1 << 24


def main() -> None:
    """Answer what the parent asks."""
    wanted = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[Wanted])
    sys.stdout.buffer.write(msgspec.msgpack.encode([read_table(each) for each in wanted]))


def read_table(wanted: Wanted) -> Table | Fault:
    """A data set of a file: of numbers as lists, of rows of bytes as bytes."""
    try:
        with h5py.File(io.BytesIO(wanted.data), "r") as file:
            return _read(file, wanted)
    except _BROKEN as error:
        return Fault(f"is broken HDF5: {error}", may_be_torn=True)


def _read(file: Any, wanted: Wanted) -> Table | Fault:
    # A link may lead to another file, and so may values: to any that this process can read.
    if not isinstance(file.get(wanted.name, getlink=True), h5py.HardLink):
        return Fault(f"the file holds no data set '{wanted.name}'")
    dataset = file[wanted.name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external is not None:
        return Fault(f"'{wanted.name}' is no data set whose values are in the file")
    if dataset.nbytes > max(_SMALL_BYTES, _LARGER * len(wanted.data)):
        return Fault(f"{len(wanted.data)} bytes are said to hold {dataset.nbytes}")
    rows = dataset[()]
    names = [_text(each) for each in dataset.attrs["column_names"]]
    types = [_text(each) for each in dataset.attrs.get("column_types", ())]
    if isinstance(rows, np.ndarray) and rows.ndim and rows.dtype.kind in "fiub":
        return Table(rows.tolist(), names, types)
    if isinstance(rows, np.ndarray) and rows.size and rows.dtype.kind == "V" and rows.dtype.names is None:
        return Table([bytes(row) for row in rows.reshape(len(rows), -1)[:, 0]], names, types)
    return Fault("holds neither numbers nor rows of bytes")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
