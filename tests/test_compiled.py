"""The sidecar's compiled part: what Cython is told follows from the source, and what runs is what was built."""

import asyncio
import importlib
import inspect
import os

import pytest

from driftline.native import native_module
from logger_sidecar.server import implementation
from scripts.compile_modules import COMPILED, NATIVE, declarations, native_here

IS_COMPILED = os.environ.get("DRIFTLINE_COMPILED") == "1"
MODULE = """
import asyncio
from a.exchange import Half


class Flow(asyncio.Protocol):
    def __init__(self, parts: Parts, *, room_bytes: int) -> None:
        self.half: Half | None = None
        self.room_bytes = room_bytes
        self.started_s, self.is_open = 0.0, False
        self.where: int | None = None
        self.pieces: list[bytes] = []

    def take(self, half: Half, data: bytes) -> None:
        own: Half
        size: int
        end_ns: int
        own, size, end_ns = half, len(data), 1 << 70
        self.last = data

    def later(self, wait_s: float = 1.0) -> None:
        self.then = lambda: wait_s


class Client(Flow):
    def __init__(self) -> None:
        self.room_bytes = -1
        self.own = Half()
"""


def test_what_cython_is_told_is_what_the_source_says() -> None:
    sources = {"a.exchange": "class Half:\n    pass\n", "a.flow": MODULE}
    plan = {"a.exchange": ("Half",), "a.flow": ("Flow", "Client")}
    assert declarations(sources, plan)["a.flow"].splitlines() == [
        "cimport cython",
        "from a.exchange cimport Half",
        "",
        "cdef class Flow:",
        "    cdef public Half half",
        "    cdef public bint is_open",
        "    cdef public bytes last",
        "    cdef public list pieces",
        "    cdef public long long room_bytes",
        "    cdef public double started_s",
        "    cdef public object then",
        "    cdef public object where",
        "    @cython.locals(own=Half, size=cython.longlong)",
        "    cpdef object take(self, Half half, bytes data)",
        "",
        "cdef class Client(Flow):",
        "    cdef public Half own",
    ]


@pytest.mark.parametrize("module", COMPILED)
def test_what_runs_is_what_this_environment_was_built_with(module: str) -> None:
    loaded = importlib.import_module(module)
    assert loaded.__file__ is not None
    assert loaded.__file__.endswith(".so") is IS_COMPILED
    for name in COMPILED[module]:
        assert inspect.isfunction(getattr(loaded, name).__init__) is not IS_COMPILED
    assert implementation() == ("compiled" if IS_COMPILED else "python")


@pytest.mark.parametrize("module", NATIVE)
def test_only_the_compiled_build_has_what_is_written_for_cython(module: str) -> None:
    assert (native_module(module) is not None) is (IS_COMPILED and module in native_here())


@pytest.mark.skipif(IS_COMPILED, reason="of the source; an extension type has no base to inherit from")
def test_a_protocol_inherits_no_callback_from_asyncio() -> None:
    callbacks = {name for name in vars(asyncio.Protocol) if not name.startswith("__")}
    callbacks |= {name for name in vars(asyncio.BaseProtocol) if not name.startswith("__")}
    for module, names in COMPILED.items():
        for name in set(names) - {"ClientFlow"}:
            found = getattr(importlib.import_module(module), name)
            if issubclass(found, asyncio.Protocol):
                assert {each for each in callbacks if getattr(found, each) is getattr(asyncio.Protocol, each)} == set()
