"""Modules that only the compiled build has: written for Cython, each with a counterpart in Python for other builds."""

import importlib
import importlib.util
from types import ModuleType


def native_module(name: str) -> ModuleType | None:
    """The module of this full name; None where this build has none.

    >>> native_module("driftline.never_written") is None
    True
    """
    if importlib.util.find_spec(name) is None:
        return None
    return importlib.import_module(name)
