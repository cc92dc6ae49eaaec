"""Asking HTTP servers with the standard library alone, and a server that collects what webhooks send."""

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.parts.processes import wait_until

# Proxies of the environment must not see what is asked of 127.0.0.1.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get_json(url: str, timeout_s: float = 60.0) -> Any:
    """The JSON that a GET is answered with; raises RuntimeError with status and body when it is no success."""
    try:
        with _opener.open(url, timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url} answered {error.code}: {error.read().decode(errors='replace')}") from error


def post_json(url: str, body: object, timeout_s: float = 60.0) -> bytes:
    """What a POST of ``body`` as JSON is answered with; raises HTTPError when it is no success."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with _opener.open(request, timeout=timeout_s) as answer:
        return bytes(answer.read())


def answers(url: str) -> bool:
    """Whether a GET is answered with 200 now."""
    try:
        with _opener.open(url, timeout=10.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class WebhookReceiver:
    """A server in a thread that answers every POST with 200 and keeps its JSON body.

    ``port``: 0 is any. ``url``: where to send. ``bodies``: what came, in order.
    """

    def __init__(self, port: int = 0) -> None:
        bodies: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers.get("content-length", 0)))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
                """Say nothing: the bodies tell the story."""

        self.bodies = bodies
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for(self, count: int, timeout_s: float = 120.0) -> list[Any]:
        """The bodies once there are at least ``count``; raises TimeoutError."""
        wait_until(lambda: len(self.bodies) >= count, timeout_s, f"{count} webhook calls (came: {len(self.bodies)})")
        return list(self.bodies)

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)
