"""A GPU through JAX, for tests whose work is products of matrices; the only module that knows it.

JAX is an extra. It takes a second and hundreds of megabytes to load, so it is loaded by name, and only where a part of
it for a device is installed beside it or somebody asks for one.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Literal

from numpy.typing import NDArray

from detectors.multivariate.arrays import HOST, Arrays, DeviceFaultError, DeviceFullError, Work
from driftline.errors import MonitorError

AVAILABLE = find_spec("jax") is not None

NOT_INSTALLED = "JAX is not installed (driftline[jax], and what it needs for the device, as jax[cuda13])"
NO_PLUGIN = "JAX is installed without what it needs for a GPU (as jax[cuda13])"

#: What a monitor may ask for (``detectors.device``).
Device = Literal["auto", "cpu", "gpu"]

_LARGEST, _SMALLEST = 8192, 512
# Tables are cut into so many tiles a side at least, so that filling the last one up costs little.
_CUTS = 4
# Of the memory that is free so much is used, because what the library needs beside is not known.
_SHARE_OF_MEMORY = 0.5
# Squared distances, kernel values and what is made of them; of weights, those of two blocks and their products.
_TILES_HELD, _WEIGHTS_HELD, _BYTES = 3, 4, 4


@dataclass(frozen=True, slots=True)
class JaxArrays:
    """Arrays on one ``device`` of JAX; tiles have ``smallest`` to ``largest`` rows, both powers of two."""

    device: Any
    largest: int = _LARGEST
    smallest: int = _SMALLEST
    pads: bool = True

    @property
    def name(self) -> str:
        """Part of Arrays: what the maker calls it."""
        return str(self.device.device_kind)

    @property
    def xp(self) -> Any:
        """Part of Arrays."""
        return import_module("jax.numpy")

    def tile_rows(self, rows: int, columns: int, deals: int) -> int:
        """Part of Arrays: a power of two, so that few shapes are ever prepared."""
        tile, room = self.largest, self._free_bytes() * _SHARE_OF_MEMORY - rows * (deals + 2.0 * _BYTES * (columns + 2))
        while tile > self.smallest and (tile * _CUTS > rows or _needed_bytes(tile, deals) > room):
            tile //= 2
        return tile

    def into(self, array: Any) -> dict[str, Any]:
        """Part of Arrays: its arrays never change."""
        return {}

    def put(self, array: NDArray[Any]) -> Any:
        """Part of Arrays."""
        return _jax().device_put(array, self.device)

    def fetch(self, arrays: list[Any]) -> list[Any]:
        """Part of Arrays."""
        return list(_jax().device_get(arrays))

    def prepared(self, work: Work, fixed: tuple[str, ...]) -> Work:
        """Part of Arrays: compiled, once for each shape."""
        compiled: Work = _compiled(work, fixed)
        return compiled

    @contextmanager
    def working(self) -> Iterator[None]:
        """Part of Arrays. Products are of whole float32 numbers: a GPU would round them to 10 bits."""
        jax = _jax()
        try:
            with jax.default_matmul_precision("highest"):
                yield
        except jax.errors.JaxRuntimeError as error:
            told = str(error).partition("\n")[0]
            raise (DeviceFullError if "RESOURCE_EXHAUSTED" in told else DeviceFaultError)(told) from error

    def _free_bytes(self) -> float:
        known = self.device.memory_stats()
        if not known or "bytes_limit" not in known:
            return float("inf")
        return float(known["bytes_limit"] - known.get("bytes_in_use", 0))


def _needed_bytes(tile: int, deals: int) -> float:
    return float(_BYTES) * (_TILES_HELD * tile * tile + _WEIGHTS_HELD * tile * deals)


def cpu_arrays(smallest: int = _SMALLEST, largest: int = _LARGEST) -> JaxArrays:
    """The same on the host's cores, where no GPU is: to test and to measure, not faster than NumPy."""
    return JaxArrays(_jax().devices("cpu")[0], largest, smallest)


@cache
def open_gpu() -> JaxArrays | str:
    """The first GPU that JAX finds, or why there is none, in words. It is looked for once."""
    if not AVAILABLE:
        return NOT_INSTALLED
    if not entry_points(group="jax_plugins") and find_spec("jax_plugins") is None:
        return NO_PLUGIN
    # Else it takes three quarters of the memory at once, and a model server may live on the device.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        return JaxArrays(_jax().devices("gpu")[0])
    except RuntimeError as error:
        return f"JAX finds none: {str(error).partition(chr(10))[0]}"


def arrays_for(wanted: Device, find_gpu: Callable[[], Arrays | str] = open_gpu) -> Arrays:
    """Where a monitor's work is done that a device can do; ``auto`` takes a GPU where there is one.

    Raises MonitorError where ``gpu`` is asked for and there is none.
    """
    if wanted == "cpu":
        return HOST
    found = find_gpu()
    if not isinstance(found, str):
        return found
    if wanted == "gpu":
        raise MonitorError("detectors", [no_gpu(found)])
    return HOST


def told_place(wanted: Device, find_gpu: Callable[[], Arrays | str] = open_gpu) -> str:
    """In words, where that will be, and why, where it could have been elsewhere."""
    if wanted == "cpu":
        return "the host"
    found = find_gpu()
    return f"the host, because there is no GPU: {found}" if isinstance(found, str) else found.name


def no_gpu(why: str) -> str:
    """What is wrong with asking for a GPU where there is none."""
    return f"detectors.device: 'gpu' was asked for, and there is none here: {why}; 'auto' takes the host then"


@cache
def _compiled(work: Callable[..., Any], fixed: tuple[str, ...]) -> Any:
    return _jax().jit(work, static_argnames=fixed)


@cache
def _jax() -> Any:
    return import_module("jax")
