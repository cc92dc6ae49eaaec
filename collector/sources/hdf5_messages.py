"""What is said between the collector and the process that reads HDF5 files for it."""

from typing import Any

import msgspec


class Wanted(msgspec.Struct, array_like=True):
    """The data set ``name`` of a file; ``data``: the file's content."""

    name: str
    data: bytes


class Table(msgspec.Struct, array_like=True, tag=True):
    """A data set: its rows, the names of its columns, and their types where they are said."""

    rows: list[Any]
    names: list[str]
    types: list[str]


class Fault(msgspec.Struct, array_like=True, tag=True):
    """Why a data set cannot be read; ``may_be_torn``: it may be that it is being written."""

    detail: str
    may_be_torn: bool = False
