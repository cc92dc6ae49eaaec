"""A disk that is full or read-only costs events, which are counted, and no inference.

The first tests need no privilege and meet what the system says on any machine: ENOSPC of a segment that is /dev/full,
EFBIG in the middle of a write where files may not grow (RLIMIT_FSIZE), EACCES of a directory that may not be written.

In the others the disk is a file system of memory that only the sidecar sees: it runs in a mount namespace of its own,
where a tmpfs of a few MiB (a true ENOSPC) or a read-only one (a true EROFS) lies under its spool. They are skipped
where such a namespace is not allowed.
"""

import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from driftline import names
from driftline.events import InferenceEvent
from logger_sidecar.spool.segments import list_segments, segment_path
from logger_sidecar.spool.source import SpoolSource
from tests.logger_sidecar.harm.rig import Figures, SidecarProcess, alternate, drive, settled, sidecar_process
from tests.parts.http import WebhookReceiver
from tests.parts.processes import free_ports, wait_until

MIB = 1024 * 1024
#: Far behind every time in nanoseconds, where new spools begin: the writer goes on at a segment that stands there.
LATER = 4 * 10**18
#: Root may write where nobody may, unless it gives that up (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) before it begins.
LIKE_ANYBODY = """
import ctypes, os, sys
PR_CAPBSET_DROP = 24
for capability in (1, 2):
    if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot give a capability up")
os.execvp(sys.argv[1], sys.argv[1:])
"""


def waits_for_events(sidecar: SidecarProcess, spool: Path) -> bool:
    """Whether the recorder has read what was in the spool, which it does not sleep in, and asks for events now."""
    if not (spool / "writer.lock").exists():
        return False
    recorders = sidecar.running("recording.recorder")
    if len(recorders) != 1:  # before it is started, and while it starts a process
        return False
    [recorder] = recorders
    return Path(f"/proc/{recorder}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def logging_goes_on(sidecar: SidecarProcess, before: dict[str, int]) -> None:
    """Assert that from now on every event is written."""
    assert drive(sidecar.port, 200, tag="again").wrong == {}
    again = settled(sidecar.outcomes, sum(before.values()) + 200)
    assert again == {**before, "logged": before.get("logged", 0) + 200}


@pytest.mark.slow
def test_a_disk_without_room_costs_events_and_no_inference_until_there_is_room(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    spool = tmp_path / "spool"
    segment = segment_path(spool, LATER, 0)
    spool.mkdir()
    segment.touch()
    with sidecar_process(tmp_path / "work", echo, spool=spool) as sidecar:
        wait_until(lambda: waits_for_events(sidecar, spool), 120, "the recorder, which has then chosen its segment")
        segment.unlink()
        segment.symlink_to("/dev/full")
        without, with_fault = alternate(healthy, sidecar)
        figures.compare("no space left on device", without, with_fault)
        outcomes = dict(settled(sidecar.outcomes, 3000))
        assert outcomes == {"disk_error": 3000}
        wait_until(lambda: "No space left on device" in sidecar.process.output(), 120, "the true error in the log")
        segment.unlink()
        logging_goes_on(sidecar, outcomes)


@pytest.mark.slow
def test_writes_that_break_off_leave_whole_events_and_count_the_others(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    spool = tmp_path / "spool"
    with sidecar_process(tmp_path / "work", echo, spool=spool) as sidecar:
        wait_until(lambda: waits_for_events(sidecar, spool), 120, "the recorder")
        [recorder] = sidecar.running("recording.recorder")
        _, hard = resource.prlimit(recorder, resource.RLIMIT_FSIZE)
        resource.prlimit(recorder, resource.RLIMIT_FSIZE, (MIB // 4 + 1, hard))
        without, with_fault = alternate(healthy, sidecar)
        figures.compare("files that may not grow", without, with_fault)
        outcomes = dict(settled(sidecar.outcomes, 3000))
        figures.say(f"files that may not grow: {outcomes}")
        assert set(outcomes) == {"logged", "disk_error"}
        # Between two of these faults all is well, so the log need not have seen one; the counter has.
        assert f"\n{names.SPOOL_WRITE_ERRORS.name} 0.0\n" not in sidecar.metrics()
        assert max(each.size_bytes for each in list_segments(spool)) <= MIB // 4 + 1
        resource.prlimit(recorder, resource.RLIMIT_FSIZE, (hard, hard))
        logging_goes_on(sidecar, outcomes)
    assert written(spool) == outcomes["logged"] + 200


@pytest.mark.slow
def test_a_spool_that_is_deleted_again_and_again_costs_no_inference_and_is_made_anew(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    spool = tmp_path / "spool"
    enough = threading.Event()
    deleted = 0
    with sidecar_process(tmp_path / "work", echo, spool=spool) as sidecar:

        def delete() -> None:
            nonlocal deleted
            while not enough.wait(0.1):
                shutil.rmtree(spool, ignore_errors=True)
                deleted += 1

        thread = threading.Thread(target=delete)
        thread.start()
        try:
            without, with_fault = alternate(healthy, sidecar)
        finally:
            enough.set()
            thread.join()
        figures.compare(f"spool deleted {deleted} times", without, with_fault)
        outcomes = dict(settled(sidecar.outcomes, 3000))
        shutil.rmtree(spool, ignore_errors=True)
        logging_goes_on(sidecar, outcomes)
        assert written(spool) == 200


def written(spool: Path) -> int:
    """How many events are in the spool; none of them is damaged."""
    source = SpoolSource(spool, "check", lambda _partition: None)
    ids: set[str] = set()
    while records := source.poll(1000, 0.0):
        for record in records:
            assert isinstance(record.content, InferenceEvent), record
            ids.add(record.content.id)
    source.close()
    return len(ids)


@pytest.mark.slow
def test_a_spool_that_may_not_be_written_costs_events_and_no_inference_until_it_may(
    tmp_path: Path, echo: int, healthy: SidecarProcess, figures: Figures
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o555)
    inside = [sys.executable, "-c", LIKE_ANYBODY] if os.geteuid() == 0 else []
    with sidecar_process(tmp_path / "work", echo, inside=inside, spool=spool) as sidecar:
        without, with_fault = alternate(healthy, sidecar)
        figures.compare("spool directory without permission", without, with_fault)
        outcomes = dict(settled(sidecar.outcomes, 3000))
        assert outcomes == {"disk_error": 3000}
        wait_until(lambda: "Permission denied" in sidecar.process.output(), 120, "the true error in the log")
        spool.chmod(0o755)
        logging_goes_on(sidecar, outcomes)


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
    sizes = {"sidecar_spool_max_bytes": 256 * MIB, "sidecar_segment_bytes": MIB}
    with sidecar_process(tmp_path / "work", echo, inside=inside, spool=disk / "spool", **sizes) as sidecar:
        filler = seen_by(sidecar, disk) / "filler"
        filler.write_bytes(bytes(3 * MIB))
        without, with_fault = alternate(healthy, sidecar)
        outcomes = settled(sidecar.outcomes, 3000)
        figures.compare("disk full", without, with_fault)
        figures.say(f"disk full: {outcomes}")
        assert set(outcomes) == {"logged", "disk_error"}
        wait_until(lambda: "No space left on device" in sidecar.process.output(), 120, "the true error in the log")

        filler.unlink()
        assert drive(sidecar.port, 200, tag="again").wrong == {}
        again = settled(sidecar.outcomes, 3200)
        assert again["logged"] == outcomes["logged"] + 200
        assert again["disk_error"] == outcomes["disk_error"]


@pytest.mark.slow
def test_a_spool_that_filled_its_disk_empties_itself_when_its_sink_is_back(
    tmp_path: Path, echo: int, figures: Figures
) -> None:
    disk = tmp_path / "disk"
    inside = on_file_system(disk, "size=2m")
    [port] = free_ports(1)
    sizes = {"sidecar_spool_max_bytes": 256 * MIB, "sidecar_segment_bytes": MIB // 4}
    sink = f"http://127.0.0.1:{port}/?form=structured"
    with sidecar_process(
        tmp_path / "work", echo, inside=inside, spool=disk / "spool", sidecar_sinks=sink, **sizes
    ) as sidecar:
        wait_until(lambda: any(seen_by(sidecar, disk / "spool").glob("*.cursor")), 120, "the sink's position")
        assert drive(sidecar.port, 2000, tag="away").wrong == {}
        outcomes = settled(sidecar.outcomes, 2000)
        assert outcomes["disk_error"] > 0
        with WebhookReceiver(port) as received:
            ids: set[str] = set()

            def came() -> int:
                ids.update(body["requestid"] for body in tuple(received.bodies))
                return len(ids)

            wait_until(lambda: came() >= outcomes["logged"], what="each event")  # some may come twice
            again = drive(sidecar.port, 200, tag="again")
            assert (again.wrong, settled(sidecar.outcomes, 2200)["logged"]) == ({}, outcomes["logged"] + 200)
        figures.say(f"a spool that filled its disk: {outcomes}, {len(received.bodies)} delivered, {len(ids)} different")
        assert len(ids) == outcomes["logged"]


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
        wait_until(lambda: "Read-only file system" in sidecar.process.output(), 120, "the true error in the log")
