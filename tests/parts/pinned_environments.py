"""Environments of other people's software, one each because their pins clash: made once, outside the repository.

A file of pins says what an environment holds. It lies under ``~/.cache/driftline/KIND/NAME-HASH``, where the hash is
that of the pins and of the Python that runs it, so that changed pins make a new one.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.parts.locks import locked
from tests.parts.missing import MissingPartError
from tests.parts.programs import find_uv

_TIMEOUT_S = 600


def python_of(pins: Path, kind: str, remedy: str) -> Path:
    """The interpreter of the environment of these pins, made now where it lacks.

    Raises MissingPartError with what stopped that; ``remedy`` is the command that makes it.
    """
    directory = directory_of(pins, kind)
    if not (directory / ".ready").exists():
        with locked(directory.with_suffix(".lock")):
            if not (directory / ".ready").exists():
                _make(pins, directory, remedy)
    return directory / "bin" / "python"


def directory_of(pins: Path, kind: str) -> Path:
    """Where an environment lies, made or not."""
    mark = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "driftline" / kind / f"{pins.stem}-{mark}"


def _make(pins: Path, directory: Path, remedy: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)  # what an interrupted run left
    python = directory / "bin" / "python"
    part = f"the environment '{pins.stem}'"
    _run(part, remedy, ["venv", "--quiet", "--python", sys.executable, str(directory)])
    _run(part, remedy, ["pip", "install", "--quiet", "--python", str(python), "-r", str(pins)])
    # Compiled now: a server that compiles a thousand modules at its start would look slow to its first test.
    subprocess.run(
        [python, "-m", "compileall", "-q", "-j", "0", str(directory / "lib")], check=False, timeout=_TIMEOUT_S
    )
    (directory / ".ready").touch()


def _run(part: str, remedy: str, arguments: Sequence[str]) -> None:
    uv = find_uv()
    try:
        done = subprocess.run([uv, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPartError(part, f"{remedy} failed: {error}") from error
    if done.returncode != 0:
        raise MissingPartError(part, f"{remedy} failed: {done.stderr.strip()[-500:]}")
