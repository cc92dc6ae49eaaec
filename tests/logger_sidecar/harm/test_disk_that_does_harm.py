"""A disk that is full or read-only costs events, which are counted, and no inference.

The disk is a file system of memory that only the sidecar sees: it runs in a mount namespace of its own, where a tmpfs
of a few MiB (a true ENOSPC) or a read-only one (a true EROFS) lies under its spool.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.logger_sidecar.harm.rig import Figures, SidecarProcess, alternate, drive, settled, sidecar_process
from tests.parts.processes import wait_until

MIB = 1024 * 1024


def on_file_system(directory: Path, options: str) -> list[str]:
    """A command that runs what follows with a tmpfs on ``directory``; skips the test where that is not allowed."""
    directory.mkdir(parents=True)
    script = f'mount -t tmpfs -o {options} tmpfs "{directory}" && exec "$@"'
    for namespaces in (["--mount"], ["--mount", "--map-root-user"]):
        command = ["unshare", *namespaces, "sh", "-c", script, "sh"]
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
        ):
            return command
    pytest.skip("needs a mount namespace: run as root, or allow user namespaces")


def seen_by(sidecar: SidecarProcess, path: Path) -> Path:
    """A path as the sidecar's own mount namespace has it."""
    return Path(f"/proc/{sidecar.pid}/root{path}")


@pytest.mark.slow
def test_a_full_disk_costs_events_and_no_inference_and_logging_goes_on_when_there_is_room_again(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    disk = tmp_path / "disk"
    inside = on_file_system(disk, "size=4m")
    # The spool believes to have much more than the disk has.
    sizes = {"sidecar_spool_max_bytes": 256 * MIB, "sidecar_segment_bytes": MIB, "sidecar_buffer_bytes": MIB}
    with sidecar_process(tmp_path / "work", echo, inside=inside, spool=disk / "spool", **sizes) as sidecar:
        filler = seen_by(sidecar, disk) / "filler"
        filler.write_bytes(bytes(3 * MIB))
        without, with_fault = alternate(healthy, sidecar)
        outcomes = settled(sidecar.outcomes, 3000)
        figures.compare("disk full", without, with_fault)
        figures.say(f"disk full: {outcomes}")
        assert set(outcomes) == {"logged", "disk_error"}
        wait_until(lambda: "No space left on device" in sidecar.process.output(), 10, "the true error in the log")

        filler.unlink()
        assert drive(sidecar.port, 200, tag="again").wrong == {}
        again = settled(sidecar.outcomes, 3200)
        assert again["logged"] == outcomes["logged"] + 200
        assert again["disk_error"] == outcomes["disk_error"]


@pytest.mark.slow
def test_a_read_only_spool_costs_events_and_no_inference(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    disk = tmp_path / "disk"
    inside = on_file_system(disk, "ro,size=4m")
    with sidecar_process(tmp_path / "work", echo, inside=inside, spool=disk) as sidecar:
        without, with_fault = alternate(healthy, sidecar)
        figures.compare("spool directory read-only", without, with_fault)
        assert settled(sidecar.outcomes, 3000) == {"disk_error": 3000}
        wait_until(lambda: "Read-only file system" in sidecar.process.output(), 10, "the true error in the log")
