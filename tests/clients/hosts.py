"""Programs that speak for real clients, started once and asked again and again: an import of theirs takes a second."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.clients.environments import python_of

_PROGRAMS = Path(__file__).with_name("programs")
_LONGEST_S = 300.0


class ClientHost:
    """The clients of one module of ``programs``, in the environment that has them."""

    def __init__(self, environment: str, module: str) -> None:
        command = [str(python_of(environment)), str(_PROGRAMS / "client_host.py"), module]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, client: str, url: str, grpc: str = "") -> Iterator[Any]:
        """What the client made of the answers, each as soon as it has it; a refusal is ``{"error": ...}``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"client": client, "url": url, "grpc": grpc}) + "\n")
        self._process.stdin.flush()
        while not (line := self._next()).get("done"):
            yield line["result"]

    def _next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        giving_up = threading.Timer(_LONGEST_S, self._process.kill)
        giving_up.start()
        try:
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the client's program has ended")
            return dict(json.loads(line))
        finally:
            giving_up.cancel()
