"""A load generator of C at full speed: nothing fails, and every request it counts is an event that is readable."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.comparing import assert_rows
from tests.clients.programs.bodies import PATH, v2_body
from tests.clients.servers import Server
from tests.logger_sidecar.wire import sidecar

pytestmark = [pytest.mark.real, pytest.mark.slow]
_SCRIPT = """
wrk.method = "POST"
wrk.path = "%s"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[%s]]
"""


def test_wrk_sees_no_error_and_every_request_is_logged(
    wrk_binary: Path, servers: Callable[[str], Server], tmp_path: Path
) -> None:
    script = tmp_path / "load.lua"
    script.write_text(_SCRIPT % (PATH, json.dumps(v2_body("wrk"))))
    with sidecar(f"http://127.0.0.1:{servers('driftline').port}", tmp_path / "spool", buffer_bytes=1 << 27) as running:
        command = [str(wrk_binary), "-t1", "-c8", "-d2", "--timeout", "60s", "-s", str(script), running.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
        events = running.events()
    assert "Non-2xx" not in done.stdout
    assert "Socket errors" not in done.stdout
    counted = re.search(r"(\d+) requests in", done.stdout)
    assert counted is not None
    # wrk breaks off what is in flight when its time is over.
    assert int(counted[1]) <= len(events) <= int(counted[1]) + 8
    whole = [event for event in events if event.status_code == 200]
    assert len(whole) >= int(counted[1])
    for event in whole:
        assert_rows(event)
