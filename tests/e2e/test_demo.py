"""The demo as a newcomer runs it: one command, real parts of the house, embedded."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.processes import running_for, wait_until

pytestmark = pytest.mark.slow

DEMO_TIMEOUT_S = 900


def _command(data_dir: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "driftline", "demo", "--data-dir", str(data_dir), *arguments]


@pytest.mark.timeout(DEMO_TIMEOUT_S + 20)
def test_the_demo_pages_in_december_and_never_in_autumn(tmp_path: Path) -> None:
    data_dir = tmp_path / "demo"
    done = subprocess.run(
        _command(data_dir, "--until-page"), capture_output=True, text=True, timeout=DEMO_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    autumn, _, december = done.stdout.partition("December comes")
    assert "PAGE delivered" in december
    assert "delivered" not in autumn
    assert len(re.findall(r"Nov \d\d .*accuracy 0\.8", autumn)) >= 5
    assert not re.search(r"Nov \d\d .* drifted", done.stdout)
    assert re.search(r"Dec \d\d .* drifted: \w+", december)
    report = (data_dir / "drift-report.html").read_text()
    assert "flight-delay" in report
    assert running_for(data_dir) == []


@pytest.fixture
def demo(tmp_path: Path) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
    """In the background, as a shell starts it with "&": deaf to SIGINT, unless it listens on purpose."""
    data_dir = tmp_path / "demo"
    ignoring = "import os, signal as s, sys; s.signal(s.SIGINT, s.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", ignoring, *_command(data_dir)], stdout=subprocess.DEVNULL)
    try:
        wait_until((data_dir / "addresses.json").exists, 300, "the demo's addresses")
        yield process, data_dir
    finally:
        process.kill()
        process.wait()


# That its parts end with a killed supervisor is in test_up.
@pytest.mark.timeout(900)
def test_doctor_walks_the_chain_and_ctrl_c_leaves_nothing_running(
    demo: "tuple[subprocess.Popen[bytes], Path]",
) -> None:
    process, data_dir = demo
    doctor = [sys.executable, "-m", "driftline", "doctor", "--data-dir", str(data_dir)]
    doctor += ["--monitors", str(data_dir / "monitors")]

    def labels_joined() -> bool:
        done = subprocess.run(doctor, capture_output=True, text=True, check=False, timeout=240)
        return done.returncode == 0 and bool(re.search(r"labels: \d+ joined", done.stdout))

    wait_until(labels_joined, 400, "a doctor who finds the whole chain in order", pause_s=1.0)
    addresses = json.loads((data_dir / "addresses.json").read_text())
    done = subprocess.run(
        [*doctor, "--address", f"collector={addresses['model'].rsplit(':', 1)[0]}:1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 1
    assert "first broken link: collector" in done.stdout
    assert len(running_for(data_dir)) >= 5
    process.send_signal(signal.SIGINT)
    assert process.wait(240) is not None
    wait_until(lambda: running_for(data_dir) == [], 120, "all processes of the demo to end")


@pytest.mark.timeout(900)
def test_sigterm_leaves_nothing_running_either(demo: "tuple[subprocess.Popen[bytes], Path]") -> None:
    process, data_dir = demo
    process.send_signal(signal.SIGTERM)
    assert process.wait(240) is not None
    wait_until(lambda: running_for(data_dir) == [], 120, "all processes of the demo to end")
