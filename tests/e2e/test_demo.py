"""The demo as a newcomer runs it: one command, real parts of the house, embedded."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.processes import wait_until

pytestmark = pytest.mark.slow

DEMO_TIMEOUT_S = 280


def _command(data_dir: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "driftline", "demo", "--data-dir", str(data_dir), *arguments]


def _running_for(data_dir: Path) -> list[str]:
    """Command lines of processes that know the demo's directory, from their arguments or their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            known = command + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(data_dir).encode() in known and str(os.getpid()) != process.name:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


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
    assert _running_for(data_dir) == []


@pytest.fixture
def demo(tmp_path: Path) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
    data_dir = tmp_path / "demo"
    process = subprocess.Popen(_command(data_dir), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        wait_until((data_dir / "addresses.json").exists, 90, "the demo's addresses")
        yield process, data_dir
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(200)
def test_doctor_walks_the_chain_and_ctrl_c_leaves_nothing_running(
    demo: "tuple[subprocess.Popen[bytes], Path]",
) -> None:
    process, data_dir = demo
    doctor = [sys.executable, "-m", "driftline", "doctor", "--data-dir", str(data_dir)]
    doctor += ["--monitors", str(data_dir / "monitors")]

    def labels_joined() -> bool:
        done = subprocess.run(doctor, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode == 0 and bool(re.search(r"labels: \d+ joined", done.stdout))

    wait_until(labels_joined, 60, "a doctor who finds the whole chain in order", pause_s=1.0)
    addresses = json.loads((data_dir / "addresses.json").read_text())
    done = subprocess.run(
        [*doctor, "--address", f"collector={addresses['model'].rsplit(':', 1)[0]}:1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "first broken link: collector" in done.stdout
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=40) is not None
    wait_until(lambda: _running_for(data_dir) == [], 20, "all processes of the demo to end")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_in_the_background_ends_by_either_signal(tmp_path: Path, number: signal.Signals) -> None:
    data_dir = tmp_path / "demo"
    # What a shell does to whatever it starts with "&".
    ignoring = "import os, signal as s, sys; s.signal(s.SIGINT, s.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", ignoring, *_command(data_dir)], stdout=subprocess.DEVNULL)
    try:
        wait_until((data_dir / "addresses.json").exists, 90, "the demo's addresses")
        process.send_signal(number)
        assert process.wait(timeout=40) is not None
        wait_until(lambda: _running_for(data_dir) == [], 20, "all processes of the demo to end")
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(200)
def test_parts_end_with_their_supervisor(demo: "tuple[subprocess.Popen[bytes], Path]") -> None:
    process, data_dir = demo
    assert len(_running_for(data_dir)) >= 5
    process.kill()
    process.wait()
    wait_until(lambda: _running_for(data_dir) == [], 30, "the orphaned parts to end")
