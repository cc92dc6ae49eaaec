"""Where products of matrices are worked out: by NumPy on the host, or by a library with the same functions on a device.

What is worked out is written once, with the functions that both have (``xp``), without writing into arrays but through
``into`` and ``*=``, which a library whose arrays never change takes as a new array.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Work = TypeVar("Work", bound=Callable[..., Any])


class DeviceFaultError(Exception):
    """The device did not do what it was asked; the host can."""


class DeviceFullError(DeviceFaultError):
    """The device's memory did not suffice; for smaller tiles it may."""


class Arrays(Protocol):
    """A library of arrays, and where its arrays are."""

    @property
    def name(self) -> str:
        """The device, as people know it; empty: the host."""
        ...

    @property
    def xp(self) -> Any:
        """The module with ``exp``, ``maximum``, ``einsum`` and so on."""
        ...

    @property
    def smallest(self) -> int:
        """Rows of the smallest tile that is worth trying."""
        ...

    @property
    def pads(self) -> bool:
        """Whether all tiles should have one shape, the last filled up, because each shape is prepared at a cost."""
        ...

    def tile_rows(self, rows: int, columns: int, deals: int) -> int:
        """Rows of a tile that fits and is fast, for a table of that shape and so many weights per row."""
        ...

    def into(self, array: Any) -> dict[str, Any]:
        """Arguments of a function that say that it may overwrite ``array``; none, where arrays never change."""
        ...

    def put(self, array: NDArray[Any]) -> Any:
        """The array, where it is worked on."""
        ...

    def fetch(self, arrays: list[Any]) -> list[NDArray[Any]]:
        """The arrays, on the host; waits until they are worked out."""
        ...

    def prepared(self, work: Work, fixed: tuple[str, ...]) -> Work:
        """The function as it runs fastest here; arguments named in ``fixed`` are no arrays, and few in kind."""
        ...

    def working(self) -> Any:
        """A context in which all work is done; raises DeviceFullError and DeviceFaultError for the library's errors."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """NumPy. ``tile``: rows of a tile; with 512 a tile and what is made of it stay in a core's own cache."""

    tile: int = 512
    name: str = ""
    pads: bool = False

    @property
    def xp(self) -> Any:
        """Part of Arrays."""
        return np

    @property
    def smallest(self) -> int:
        """Part of Arrays."""
        return self.tile

    def tile_rows(self, rows: int, columns: int, deals: int) -> int:
        """Part of Arrays."""
        return self.tile

    def into(self, array: Any) -> dict[str, Any]:
        """Part of Arrays."""
        return {"out": array}

    def put(self, array: NDArray[Any]) -> Any:
        """Part of Arrays."""
        return array

    def fetch(self, arrays: list[Any]) -> list[NDArray[Any]]:
        """Part of Arrays."""
        return arrays

    def prepared(self, work: Work, fixed: tuple[str, ...]) -> Work:
        """Part of Arrays."""
        return work

    @contextmanager
    def working(self) -> Iterator[None]:
        """Part of Arrays."""
        yield


HOST = Host()
