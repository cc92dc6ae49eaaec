"""POST over connections that are kept: a longest silence, TLS with a client certificate, a token read from a file."""

import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from driftline.errors import SettingsError, UnavailableError
from logger_sidecar.shipping.cloud_events import HttpEvent
from logger_sidecar.shipping.sink_urls import SinkUrl

#: An answer that is longer is not read to its end; its connection is closed instead.
_MAX_ANSWER_BYTES = 65536
_CLOSED = (ConnectionResetError, BrokenPipeError, http.client.CannotSendRequest)
_FAULTS = (OSError, http.client.HTTPException)


class Reply(NamedTuple):
    """What came back."""

    status: int
    reason: str
    body: bytes = b""


class TokenFile:
    """A bearer token, read again when its file changes: Kubernetes renews them in place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._token = ""

    def header(self) -> str:
        """The value of ``authorization``; raises UnavailableError when the file cannot be read."""
        try:
            state = self._path.stat()
            if (state.st_mtime_ns, state.st_ino) != self._seen:
                self._token = self._path.read_text(encoding="ascii").strip()
                self._seen = (state.st_mtime_ns, state.st_ino)
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError("token", f"token_file '{self._path}': {type(error).__name__}") from error
        return f"Bearer {self._token}"


def tls_context(url: SinkUrl) -> ssl.SSLContext | None:
    """How to know the server, and what to show it; None for plain HTTP. Raises SettingsError for wrong files."""
    if url.scheme != "https":
        return None
    options = url.options
    try:
        context = ssl.create_default_context(cafile=options["ca_file"] or None)
        if options["cert_file"]:
            context.load_cert_chain(options["cert_file"], options["key_file"])
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(options[name] for name in ("ca_file", "cert_file", "key_file") if options[name])
        raise SettingsError(f"sink '{url.name}'", [f"{files}: {error}"]) from error
    return context


class Poster:
    """Posts to one address over connections that are kept for the next post. Several threads may call it at once."""

    def __init__(self, url: SinkUrl) -> None:
        self._url = url
        self._tls = tls_context(url)
        self._token = TokenFile(Path(url.options["token_file"])) if url.options["token_file"] else None
        self._target = quote(url.path, safe="/:@!$&'()*+,;=~") or "/"
        self._idle: list[http.client.HTTPConnection] = []

    def post(self, event: HttpEvent) -> Reply:
        """Post one event; raises UnavailableError when no answer came in time."""
        headers = dict(event.headers)
        if self._token is not None:
            headers["authorization"] = self._token.header()
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._post(self._new_connection(), headers, event.body)
        try:
            return self._post(connection, headers, event.body)
        except _StaleError:  # the server had closed it while it was idle
            return self._post(self._new_connection(), headers, event.body)

    def renew(self) -> None:
        """Close what is idle; what is opened from now on uses certificates as they are now."""
        while self._idle:
            self._idle.pop().close()
        self._tls = tls_context(self._url)

    def _post(self, connection: http.client.HTTPConnection, headers: Mapping[str, str], body: bytes) -> Reply:
        is_new = connection.sock is None
        try:
            connection.request("POST", self._target, body, headers)
            response = connection.getresponse()
            answer = response.read(_MAX_ANSWER_BYTES)
        except _FAULTS as error:
            connection.close()
            if not is_new and isinstance(error, _CLOSED):
                raise _StaleError from error
            detail = str(error) or type(error).__name__
            raise UnavailableError(self._url.name, f"{self._url.address}: {detail}") from error
        if response.will_close or len(answer) == _MAX_ANSWER_BYTES:
            connection.close()
        else:
            self._idle.append(connection)
        return Reply(response.status, response.reason, answer)

    def _new_connection(self) -> http.client.HTTPConnection:
        timeout_s = self._url.options["timeout"]
        if self._tls is None:
            return http.client.HTTPConnection(self._url.host, self._url.port, timeout=timeout_s)
        return http.client.HTTPSConnection(self._url.host, self._url.port, timeout=timeout_s, context=self._tls)


class _StaleError(Exception):
    """A kept connection was closed by the server before it was used again."""
