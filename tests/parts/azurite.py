"""Azurite, Microsoft's own emulator of Azure's Blob Storage: installed once with npm, in a cache of the user's."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.parts.locks import locked
from tests.parts.missing import MissingPartError
from tests.parts.processes import PartProcess, free_ports

# The newest that runs on the Node of every Debian since 12.
_PACKAGE = "azurite@3.35.0"
_PROGRAM = "node_modules/azurite/dist/src/blob/main.js"
_INSTALL_TIMEOUT_S = 600
_START_TIMEOUT_S = 120.0
#: The account that every Azurite has, and its key, which Microsoft's documents tell everybody.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def find_azurite() -> Path:
    """Azurite's program for blobs, to be run by ``node``; raises MissingPartError."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise MissingPartError("Azurite", "apt-get install npm, which installs it once")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / _PACKAGE.replace("@", "-")
    if not cache.is_dir():
        with locked(cache.with_name(f"{cache.name}.lock")):
            if not cache.is_dir():
                _install(npm, cache)
    return cache / _PROGRAM


def _install(npm: str, cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
        place = Path(scratch) / "azurite"
        place.mkdir()
        # Nothing of it is compiled, and no script of a package is run.
        flags = ["--no-audit", "--no-fund", "--omit=dev", "--omit=optional", "--ignore-scripts", "--no-update-notifier"]
        command = [npm, "install", *flags, "--prefix", str(place), _PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise MissingPartError("Azurite", f"npm did not install it within {_INSTALL_TIMEOUT_S} s") from error
        if done.returncode != 0:
            raise MissingPartError("Azurite", f"npm could not install it: {done.stderr.strip()[-300:]}")
        place.rename(cache)


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running Azurite. ``trusted``: what its certificate is checked with, where it speaks TLS."""

    endpoint: str
    trusted: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def environ(self) -> Mapping[str, str]:
        """What a reader of its account has in its environment."""
        named = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY}
        return named | {"AZURE_STORAGE_ENDPOINT": self.endpoint, "AZURE_ALLOW_HTTP": "true"}

    def answers(self) -> bool:
        """Whether it takes requests."""
        try:
            self._ask("GET", "", {"comp": "list"}, b"").close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True

    def make_container(self, name: str) -> None:
        """Make a container, where blobs are put."""
        self._ask("PUT", f"/{name}", {"restype": "container"}, b"").close()

    def put(self, path: str, data: bytes) -> None:
        """Store a blob at ``CONTAINER/NAME``."""
        self._ask("PUT", f"/{path}", {}, data).close()

    def names(self, container: str) -> list[str]:
        """All blobs of a container."""
        with self._ask("GET", f"/{container}", {"restype": "container", "comp": "list"}, b"") as answer:
            text: str = answer.read().decode()
        return sorted(part.partition("</Name>")[0] for part in text.split("<Name>")[1:])

    def _ask(self, method: str, path: str, query: Mapping[str, str], data: bytes):  # type: ignore[no-untyped-def]
        # Signed by Azure's rules for shared keys, with nothing of the libraries that are tested.
        path = urllib.parse.quote(path, safe="/=")
        headers = {"x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"), "x-ms-version": "2023-11-03"}
        if method == "PUT" and not query:
            headers["x-ms-blob-type"] = "BlockBlob"
        kind = "application/octet-stream" if data else ""
        signed = [method, "", "", str(len(data) or ""), "", kind, "", "", "", "", "", ""]
        signed += [f"{name}:{headers[name]}" for name in sorted(headers)]
        signed += [f"/{ACCOUNT}/{ACCOUNT}{path}", *(f"{name}:{query[name]}" for name in sorted(query))]
        digest = hmac.new(base64.b64decode(KEY), "\n".join(signed).encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        if kind:
            headers["Content-Type"] = kind
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        request = urllib.request.Request(self.endpoint + path + asked, data or None, headers, method=method)
        handlers = [urllib.request.HTTPSHandler(context=self.trusted)] if self.trusted else []
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
        return opener.open(request, timeout=60)


@contextlib.contextmanager
def azurite_server(program: Path, directory: Path, tls: tuple[Path, Path, Path] | None = None) -> Iterator[Azurite]:
    """A server of its own while the block lasts, its log in ``directory``.

    ``tls``: its certificate, the key and the authority's certificate; with them it also takes ``access_token``.
    """
    (port,) = free_ports(1)
    command = [shutil.which("node") or "node", str(program), "--blobPort", str(port), "--inMemoryPersistence"]
    command += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    trusted = None
    if tls is not None:
        certificate, key, authority = tls
        command += ["--cert", str(certificate), "--key", str(key), "--oauth", "basic"]
        trusted = ssl.create_default_context(cafile=str(authority))
    server = Azurite(f"{'https' if tls else 'http'}://127.0.0.1:{port}/{ACCOUNT}", trusted)
    with PartProcess(command, directory / "azurite.log", cwd=directory) as process:
        process.wait_ready(server.answers, _START_TIMEOUT_S)
        yield server


def access_token() -> str:
    """A token such as Azure's directory gives for its storage; Azurite reads what it claims and not who signed it."""
    now_s = int(time.time())
    claims = {"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/driftline/", "nbf": now_s - 60}
    parts = ({"alg": "HS256", "typ": "JWT"}, claims | {"iat": now_s - 60, "exp": now_s + 3600})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "unsigned"])
