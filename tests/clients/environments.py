"""The environments of real clients and servers, one each because their pins clash: made once, outside the repository.

``tests/clients/NAME.txt`` pins what an environment holds. It lies under ``~/.cache/driftline/clients/NAME-HASH``, where
the hash is that of the pins and of the Python that runs it, so that changed pins make a new one. ``make clients`` (or
``python -m tests.clients.environments``) makes all of them; a test makes what it needs.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from tests.clients.go_programs import PACKAGES, program_of
from tests.parts.locks import locked
from tests.parts.missing import MissingPartError

_HERE = Path(__file__).parent
#: Each name is a file of pins beside this one.
ENVIRONMENTS = tuple(sorted(path.stem for path in _HERE.glob("*.txt")))
_TIMEOUT_S = 600


def python_of(name: str) -> Path:
    """The interpreter of an environment, made now where it lacks; raises MissingPartError with what stopped that."""
    directory = directory_of(name)
    if not (directory / ".ready").exists():
        with locked(directory.with_suffix(".lock")):
            if not (directory / ".ready").exists():
                _make(name, directory)
    return directory / "bin" / "python"


def directory_of(name: str) -> Path:
    """Where an environment lies, made or not."""
    pins = (_HERE / f"{name}.txt").read_bytes()
    mark = hashlib.sha256(pins + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "driftline" / "clients" / f"{name}-{mark}"


def library_path() -> str:
    """Where this Python's shared library lies: Triton's Python stub must load the very one its models run on."""
    return str(sysconfig.get_config_var("LIBDIR"))


def _make(name: str, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)  # what an interrupted run left
    python = directory / "bin" / "python"
    _run(name, ["venv", "--quiet", "--python", sys.executable, str(directory)])
    _run(name, ["pip", "install", "--quiet", "--python", str(python), "-r", str(_HERE / f"{name}.txt")])
    # Compiled now: a server that compiles a thousand modules at its start would look slow to its first test.
    subprocess.run(
        [python, "-m", "compileall", "-q", "-j", "0", str(directory / "lib")], check=False, timeout=_TIMEOUT_S
    )
    (directory / ".ready").touch()


def _run(name: str, arguments: Sequence[str]) -> None:
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    part, remedy = f"the environment '{name}'", f"python -m tests.clients.environments {name}"
    try:
        done = subprocess.run([uv, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPartError(part, f"{remedy} failed: {error}") from error
    if done.returncode != 0:
        raise MissingPartError(part, f"{remedy} failed: {done.stderr.strip()[-500:]}")


def _size_mib(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 2**20


def main(wanted: Sequence[str]) -> int:
    """Make the environments named, or all and the programs in Go; returns 1 when one could not be made."""
    failed = 0
    for name in wanted or ENVIRONMENTS:
        began_s = time.monotonic()
        try:
            python_of(name)
        except MissingPartError as error:
            print(error, file=sys.stderr)
            failed = 1
            continue
        directory = directory_of(name)
        print(f"{name:<10} {_size_mib(directory):6.0f} MiB  {time.monotonic() - began_s:5.1f} s  {directory}")
    if not wanted:
        _build_programs()
    return failed


def _build_programs() -> None:
    for name in PACKAGES:
        try:
            print(f"{name:<12} {program_of(name)}")
        except MissingPartError as error:  # the test that needs it tries once more, from where this one came to
            print(error, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
