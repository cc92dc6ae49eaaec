"""Real HTTP clients at real model servers: through the sidecar nothing changes, and all is logged readably."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.comparing import ask_both, assert_logged
from tests.clients.hosts import ClientHost
from tests.clients.programs.bodies import PATH, v2_body
from tests.clients.servers import SERVERS, Server

pytestmark = [pytest.mark.real, pytest.mark.slow]
ALL = sorted(SERVERS)


@pytest.mark.parametrize("server", ALL)
@pytest.mark.parametrize(
    "client",
    [
        "tritonclient-json",
        "tritonclient-binary",
        "tritonclient-gzip",
        "requests",
        "requests-uploads",
        "httpx",
        "aiohttp",
        "aiohttp-uploads",
    ],
)
def test_a_client_sees_through_the_sidecar_what_it_sees_without(
    client: str, server: str, servers: Callable[[str], Server], common_clients: ClientHost, tmp_path: Path
) -> None:
    running = servers(server)
    both = ask_both(lambda url: list(common_clients.ask(client, url)), running, tmp_path)
    assert both.through == both.direct
    assert_logged(both)


def test_tensors_in_shared_memory_are_not_observable(
    servers: Callable[[str], Server], common_clients: ClientHost, tmp_path: Path
) -> None:
    both = ask_both(lambda url: list(common_clients.ask("tritonclient-shared", url)), servers("triton"), tmp_path)
    assert both.through == both.direct == [[[16.0], [21.0], [27.5]]] * 2
    assert_logged(both, decoded=False)
    assert [event.not_observable for event in both.events] == ["shared_memory"] * 2


@pytest.mark.parametrize("server", ALL)
@pytest.mark.parametrize("client", ["kserve-rest", "kserve-rest-binary"])
def test_the_sdk_of_kserve_sees_through_the_sidecar_what_it_sees_without(
    client: str, server: str, servers: Callable[[str], Server], kserve_clients: ClientHost, tmp_path: Path
) -> None:
    running = servers(server)
    both = ask_both(lambda url: list(kserve_clients.ask(client, url)), running, tmp_path)
    assert both.through == both.direct
    assert_logged(both)


@pytest.mark.parametrize("server", ["driftline", "kserve"])
def test_the_sdk_of_kserve_speaks_v1_through_the_sidecar(
    server: str, servers: Callable[[str], Server], kserve_clients: ClientHost, tmp_path: Path
) -> None:
    both = ask_both(lambda url: list(kserve_clients.ask("kserve-v1", url)), servers(server), tmp_path)
    assert both.through == both.direct
    assert_logged(both)


@pytest.mark.parametrize("server", ALL)
def test_curl_sees_through_the_sidecar_what_it_sees_without(
    server: str, servers: Callable[[str], Server], tmp_path: Path
) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps(v2_body("curl-1")) + " " * 2000)  # long enough for "Expect: 100-continue"

    def ask(url: str) -> list[bytes]:
        command = ["curl", "-sS", "--noproxy", "*", "--expect100-timeout", "5", "-H", "Content-Type: application/json"]
        whole = subprocess.run(
            [*command, "-H", "Expect: 100-continue", "--data-binary", f"@{body}", url + PATH],
            capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        chunked = subprocess.run(
            [*command, "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{body}", url + PATH],
            capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        return [whole.stdout, chunked.stdout]

    both = ask_both(ask, servers(server), tmp_path / "spool")
    assert both.through == both.direct
