"""Real loggers written in Go, of the versions that ``go/NAME/go.mod`` pins: built once, into a cache of the user's.

``make clients`` builds all of them; a test builds what it needs. KServe's agent takes minutes the first time. A build
that took too long goes on from where it was the next time, for Go keeps what it has compiled.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.parts.missing import MissingPartError

_HERE = Path(__file__).with_name("go")
#: What is built in each folder beside this file.
PACKAGES = {"cloudevents": ".", "cloudevents1": ".", "kserve": "github.com/kserve/kserve/cmd/agent", "knative": "."}
_TIMEOUT_S = 900


def program_of(name: str) -> Path:
    """The program of a folder, built now where it lacks; raises MissingPartError with what stopped that."""
    go = shutil.which("go")
    if go is None:
        raise MissingPartError(f"Go, to build '{name}'", "apt-get install golang-go (1.24 or newer)")
    folder = _HERE / name
    pinned = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    program = _cache() / f"{name}-{hashlib.sha256(pinned).hexdigest()[:12]}"
    with locked(f"{name}.lock"):
        if not program.exists():
            _build(go, name, folder, program)
    return program


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Nobody else on this machine is in the block of that name, whichever process."""
    with (_cache() / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(go: str, name: str, folder: Path, program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        made = Path(scratch) / name
        # What is pinned and nothing else; no version control is asked, for this is somebody's clone.
        command = [go, "build", "-mod=readonly", "-buildvcs=false", "-o", str(made), PACKAGES[name]]
        environ = {**os.environ, "GOWORK": "off", "GOFLAGS": ""}
        part, remedy = f"the program '{name}'", "make clients builds it; it failed:"
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, cwd=folder, env=environ
            )
        except subprocess.TimeoutExpired as error:
            raise MissingPartError(part, f"{remedy} not built within {_TIMEOUT_S} s, once more goes on") from error
        if done.returncode != 0:
            raise MissingPartError(part, f"{remedy} {done.stderr.strip()[-500:]}")
        made.replace(program)


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "go"
    cache.mkdir(parents=True, exist_ok=True)
    return cache
