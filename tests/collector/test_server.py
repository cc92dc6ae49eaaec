"""The collector as a process: it takes work, answers, and puts its batch away on SIGTERM."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.parts.processes import free_ports, wait_until

pytestmark = pytest.mark.slow  # each starts a process

PROGRAM = """
    import sys
    from collector.server import run
    from collector.settings import CollectorSettings
    from driftline.testing import ListSource, ManualClock
    from tests.collector.helpers import MONITORS, START_S, CountingStatistics, batched, decode, event, records

    class Slow(ListSource):
        def poll(self, max_records, timeout_s):
            import time
            found = super().poll(max_records, timeout_s)
            if not found:
                time.sleep(0.01)
            return found

        def acknowledge(self, partition, next_offset):
            {fault}

    settings = CollectorSettings(database_url=sys.argv[1], port=int(sys.argv[2]))
    items = records([event(number) for number in range(50)])
    clock = ManualClock(START_S + 1e6)
    sys.exit(run(settings, clock, lambda start: Slow(items, start), batched(decode), CountingStatistics(), MONITORS))
"""


def start(tmp_path: Path, fault: str) -> tuple[subprocess.Popen[bytes], str]:
    port = free_ports(1)[0]
    program = textwrap.dedent(PROGRAM).format(fault=fault)
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/store.db", str(port)]
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}, cwd=tmp_path, stderr=subprocess.DEVNULL)
    return process, f"http://127.0.0.1:{port}"


def answer(url: str) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read().decode()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def all_are_stored(url: str) -> bool:
    """Whether the metrics count the fifty events of the program."""
    return 'outcome="stored",reason="",variant="stable",version="3"} 50.0' in answer(f"{url}/metrics")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_works_answers_and_ends_well_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    process, url = start(tmp_path, "pass")
    try:
        assert json.loads(answer(f"{url}/healthz"))["state"] in ("working", "idle")  # idle once all is committed
        wait_until(lambda: all_are_stored(url), what="the events are stored")
        process.send_signal(number)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()


def test_a_stream_of_labels_is_answered_while_it_is_sent(tmp_path: Path) -> None:
    process, url = start(tmp_path, "pass")
    lines = b"".join(
        b'{"request_id": "request-%d", "value": 1, "observed_at_s": 9, "model": "flights"}\n' % (number % 70)
        for number in range(5000)
    )
    try:
        answer(f"{url}/healthz")
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60) as connection:
            head = "POST /v1/labels HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
            head += "Accept: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head.encode())
            told = connection.makefile("rb")
            for line in (5000, 10000):
                connection.sendall(b"%x\r\n%s\r\n" % (len(lines), lines))
                while b'"line":%d,' % line not in told.readline():
                    pass  # the head of the answer, and the lengths of its chunks
            connection.sendall(b"0\r\n\r\n")
            rest = b""
            while b'"done":true' not in rest:
                rest = told.readline()
            assert b'"received":10000' in rest
    finally:
        process.kill()
        process.wait()


def test_the_command_uploads_a_file_and_tells_what_became_of_it(tmp_path: Path) -> None:
    process, url = start(tmp_path, "pass")
    rows = [f"request-{number},{number % 2}" for number in range(60)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,truth", *rows, "request-1,"]) + "\nrequest-2\n")
    mapping = ["--request-id-column", "id", "--label-column", "truth", "--model", "flights"]
    command = [sys.executable, "-m", "driftline", "labels", "upload", "labels.csv", "--url", url, *mapping]
    try:
        answer(f"{url}/healthz")
        wait_until(lambda: all_are_stored(url), what="the events are stored")
        surroundings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path, env=surroundings
        )
        assert "62 rows: 1 invalid, 50 joined, 10 pending, 1 withdrawn" in done.stdout
        assert "line 63:" in done.stdout
        assert "1 values stand under 2 columns" in done.stdout
        assert done.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_when_the_consumer_dies_the_process_ends_with_1(tmp_path: Path) -> None:
    process, _ = start(tmp_path, "raise RuntimeError('broken')")
    try:
        assert process.wait(300) == 1
    finally:
        process.kill()
        process.wait()
