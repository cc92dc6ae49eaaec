"""Real servers and clients as fixtures, each started when the first test needs it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.hosts import ClientHost
from tests.clients.servers import SERVERS, Server

Need = Callable[[str, Callable[[], Any]], Any]


@pytest.fixture(scope="session")
def servers(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """``servers(NAME)``: a model server that the session shares."""
    started: dict[str, Server] = {}
    with contextlib.ExitStack() as stack:

        def get(name: str) -> Server:
            if name not in started:
                directory: Path = tmp_path_factory.mktemp(name)
                started[name] = need(name, lambda: stack.enter_context(SERVERS[name](directory)))
            return started[name]

        yield get


@pytest.fixture(scope="session")
def common_clients(need: Need) -> Iterator[ClientHost]:
    """Tritonclient, openai, aiohttp, httpx and requests."""
    with need("real clients", lambda: ClientHost("clients", "common_clients")) as host:
        yield host


@pytest.fixture(scope="session")
def kserve_clients(need: Need) -> Iterator[ClientHost]:
    """KServe's SDK."""
    with need("KServe's clients", lambda: ClientHost("kserve", "kserve_clients")) as host:
        yield host
