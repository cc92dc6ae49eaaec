import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.parts.processes import free_ports
from tests.serving.model_examples import write_regressor

PROGRAM = """
import sys, pathlib
from driftline.clock import system_clock
from serving.server import run
from serving.settings import ServingSettings
sys.exit(run(ServingSettings(models_dir=pathlib.Path(sys.argv[1]), port=int(sys.argv[2])), system_clock))
"""

#: What Java's HTTP client sends along with every request.
AS_JAVA_ASKS = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAABAAMAAABk"}


@pytest.mark.slow
def test_the_server_process_answers_and_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    write_regressor(tmp_path)
    [port] = free_ports(1)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), str(port)])
    try:
        wait_ready(f"http://127.0.0.1:{port}", process)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            answer = client.post("/v1/models/line:predict", json={"instances": [[1, 1]]})
            assert answer.json()["predictions"] == pytest.approx([6.0])
            asked = client.post("/v1/models/line:predict", json={"instances": [[1, 1]]}, headers=AS_JAVA_ASKS)
            assert asked.json() == answer.json()
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()


def wait_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            if httpx.get(f"{address}/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not become ready within two minutes")
