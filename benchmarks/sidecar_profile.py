"""Where the proxy's time goes: perf samples of the sidecar under load, with Python's own functions by name."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.sidecar_contenders import Running
from benchmarks.sidecar_load import Load

_SECONDS = 5


def profile(contender: Callable[[], AbstractContextManager[Running]], load: Load, file: Path) -> None:
    """Sample one contender at full load into ``file`` and print what takes most of its time."""
    perf = shutil.which("perf")
    if perf is None:
        sys.exit("perf is not installed; on Debian: apt-get install linux-perf")
    with contender() as running:
        running.place()
        load.closed(running.port, 16, 1)
        record = [perf, "record", "-q", "-F", "999", "-g", "-p", str(running.pid), "-o", str(file)]
        with subprocess.Popen([*record, "--", "sleep", str(_SECONDS)], stderr=subprocess.DEVNULL) as sampling:
            load.closed(running.port, 16, _SECONDS)
            sampling.wait(_SECONDS + 30)
    report = [perf, "report", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.7", "-i", str(file)]
    done = subprocess.run(report, capture_output=True, text=True, timeout=120, check=False)
    print(done.stdout or done.stderr)
