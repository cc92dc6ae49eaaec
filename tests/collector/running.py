"""The API under a real server, in a thread, on a free port."""

import threading
from typing import Any, Self

import uvicorn

from collector.server import http_config
from tests.parts.processes import free_ports, wait_until


class RunningApi:
    """``url``: where it answers while the block lasts."""

    def __init__(self, app: Any) -> None:
        port = free_ports(1)[0]
        self._server = uvicorn.Server(http_config(app, "127.0.0.1", port))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self._server.started, 120, "the API answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(120)
