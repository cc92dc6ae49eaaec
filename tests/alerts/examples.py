"""The example monitors of this folder, and helpers that several test modules share."""

import subprocess
from pathlib import Path

from alerts.selectors import Selector
from alerts.slo import Objective
from driftline.monitors import Monitor, parse_monitor
from driftline.objectives import Severity

HERE = Path(__file__).parent
DAY_S = 86400.0


def monitor(name: str) -> Monitor:
    """One of the example monitors."""
    path = HERE / "monitors" / f"{name}.yaml"
    return parse_monitor(path.read_text(), path.name)


def monitors() -> list[Monitor]:
    """Both example monitors."""
    return [monitor("flight-delay"), monitor("house-price")]


def objective(
    target: float, *, period_days: float = 30, resolution_s: float = 60.0, severity: Severity = "page"
) -> Objective:
    """An availability objective of a model called m."""
    return Objective(
        namespace="n",
        model="m",
        kind="availability",
        owner="o",
        severity=severity,
        target=target,
        period_s=period_days * DAY_S,
        counted=Selector("bad_total", ()),
        counts="bad",
        total=Selector("all_total", ()),
        resolution_s=resolution_s,
    )


def run(*command: str | Path) -> str:
    """Run a program; on failure the test shows what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command[0]} answered {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
