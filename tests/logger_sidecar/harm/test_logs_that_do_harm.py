"""A log that nobody reads any more, or that has no reader at all, costs no inference and no event anything."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.logger_sidecar.harm.rig import Figures, SidecarProcess, alternate, drive, settled, sidecar_process
from tests.parts.processes import wait_until


def fill(descriptor: int) -> None:
    """Write until there is no more room."""
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * 4096)


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>{log}", "2>&-", "2>/dev/full"])
def test_a_log_that_takes_nothing_delays_no_inference_and_costs_no_event(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures, redirection: str
) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDWR | os.O_NONBLOCK)
    fill(reader)
    inside = ["/bin/sh", "-c", f'exec "$@" {redirection.format(log=log)}', "sh"]
    # A sink that refuses, and a rule: all helpers have something to say.
    with sidecar_process(
        tmp_path / "work", echo, broker="127.0.0.1:9", inside=inside, sidecar_redact="pattern:@email"
    ) as sidecar:

        def kill(module: str) -> None:
            wait_until(lambda: bool(sidecar.running(module)))
            [pid] = sidecar.running(module)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: pid not in sidecar.running(module))

        kill("recording.recorder")
        sidecar.process.send_signal(signal.SIGHUP)
        without, with_fault = alternate(healthy, sidecar)
        for module in ("recording.recorder", "finishing.process", "shipping.shipper"):
            kill(module)
            assert drive(sidecar.port, 500, tag=module).wrong == {}
        outcomes = settled(sidecar.outcomes, 4500)
        assert set(outcomes) <= {"logged", "buffer_full"}
        figures.compare(f"log that takes nothing ({redirection.partition('{')[0]})", without, with_fault)
        figures.say(f"log that takes nothing: {dict(outcomes)}")
        assert sidecar.process.stop() == 0
    os.close(reader)
