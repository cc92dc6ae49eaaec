"""Whose code is measured: this checkout's by the interpreter that runs the benchmark, and another environment's build.

A program that is started by ``-c`` in a directory of its own takes what is installed beside its interpreter, whatever
lies in the checkout. So the checkout is named to our own interpreter, and an environment whose installed code is not
the checkout's is refused: its figures would be told as those of code that it does not have.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.harness import INSTALLED

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = ("driftline", "logger_sidecar", "collector", "detectors", "serving", "alerts", "dashboards")
_SOURCES = frozenset({".py", ".pyx", ".pxd", ".pxi"})
_WHERE = "import driftline; print(driftline.__path__[0])"


def code_of(python: Path) -> Mapping[str, str]:
    """The environment in which a program of this interpreter runs the code that the benchmark is about."""
    return {"PYTHONPATH": str(CHECKOUT)} if python == Path(sys.executable) else INSTALLED


def other_build(python: str) -> Path:
    """The interpreter of ``--compiled PYTHON``, absolute; for argparse, which says what is wrong with it.

    Raises argparse.ArgumentTypeError where nothing is installed there, or other code than this checkout's.
    """
    path = Path(python).absolute()
    try:
        asked = subprocess.run(
            [path, "-P", "-c", _WHERE], env=dict(INSTALLED), capture_output=True, text=True, timeout=60, check=False
        )
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{python}: {error.strerror}") from None
    if asked.returncode:
        raise argparse.ArgumentTypeError(f"{python} cannot import driftline: {asked.stderr.strip()[-200:]}")
    different = next(differences(Path(asked.stdout.strip()).parent, CHECKOUT), None)
    if different is not None:
        raise argparse.ArgumentTypeError(f"{python} has another {different} than this checkout; install it anew")
    return path


def differences(installed: Path, checkout: Path) -> Iterator[str]:
    """Source files that one of the two does not have, or has otherwise, by their paths below it."""
    for package in PACKAGES:
        names = _sources(installed, package) | _sources(checkout, package)
        yield from (name for name in sorted(names) if _content(installed / name) != _content(checkout / name))


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _sources(root: Path, package: str) -> set[str]:
    files = (file for file in (root / package).rglob("*") if file.suffix in _SOURCES)
    return {file.relative_to(root).as_posix() for file in files}
