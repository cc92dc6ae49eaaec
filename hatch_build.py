"""The build's hook: DRIFTLINE_COMPILE=1 pip install . also compiles what every request and every value passes.

In the wheel a compiled module stands beside its source, and Python prefers it. Without the variable the wheel is pure
Python, and does the same.
"""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "DRIFTLINE_COMPILE"


class CompiledModules(BuildHookInterface):
    """Adds the compiled modules to the wheel, where they are asked for."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs beside hatchling."""
        return ["cython>=3.1", "setuptools>=75"] if _is_asked_for() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Part of hatchling's interface."""
        if not _is_asked_for() or self.target_name != "wheel" or version == "editable":
            return
        self._work = Path(tempfile.mkdtemp(prefix="driftline-compile-"))
        for built in _compiler(Path(self.root)).compile_modules(Path(self.root), self._work):
            build_data["force_include"][str(built)] = str(built.relative_to(self._work))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Part of hatchling's interface."""
        if hasattr(self, "_work"):
            shutil.rmtree(self._work)


def _is_asked_for() -> bool:
    return os.environ.get(VARIABLE, "") not in ("", "0")


def _compiler(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("compile_modules", root / "scripts" / "compile_modules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
