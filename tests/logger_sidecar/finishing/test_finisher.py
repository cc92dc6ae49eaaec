"""The finishing process under a bad star: killed, hanging, talking nonsense, orphaned."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from driftline.events import Payload, decode_frame
from logger_sidecar.finishing.captured import Captured, encode_captured
from logger_sidecar.finishing.finisher import REASON_FINISHING_FAILED, FinishingProcess
from logger_sidecar.finishing.wire import Setup
from tests.parts.processes import wait_until

RULES = Setup(rules=("json:$.user",))


def frame(body: bytes = b'{"user":"Ann"}') -> bytes:
    captured = Captured(
        id="1", source="/a/b/c", model="m", time_ns=0, request_id="r", protocol="v1", status_code=200,
        request=Payload(body=body), response=Payload(),
    )  # fmt: skip
    return encode_captured(captured)


def bodies(finished: list[bytes | str]) -> list[bytes | str]:
    return [done if isinstance(done, str) else decode_frame(done).request.body for done in finished]


@pytest.fixture
def process():
    made = FinishingProcess(RULES)
    yield made
    made.close()


def test_a_batch_comes_back_finished_and_in_order(process: FinishingProcess) -> None:
    finished = process.finish([frame(b'{"user":"Ann","n":%d}' % n) for n in range(1500)])
    assert bodies(finished) == [b'{"user":"[redacted]","n":%d}' % n for n in range(1500)]
    assert process.starts == 1


def test_rules_change_from_one_batch_to_the_next(process: FinishingProcess) -> None:
    process.finish([frame()])
    process.follow(Setup())
    assert bodies(process.finish([frame()])) == [b'{"user":"Ann"}']
    process.follow(Setup(rules=("column:user => hash",), key=b"k" * 16))
    assert bodies(process.finish([frame()]))[0] != b'{"user":"Ann"}'
    assert process.starts == 1


def test_a_killed_process_is_started_again_and_nothing_is_lost(process: FinishingProcess) -> None:
    process.finish([frame()])
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert bodies(process.finish([frame(), frame()])) == [b'{"user":"[redacted]"}'] * 2
    assert process.starts == 2


def test_a_body_that_is_left_out_is_counted_by_reason(process: FinishingProcess) -> None:
    (finished,) = process.finish([frame(b"no json")])
    assert isinstance(finished, bytes)
    event = decode_frame(finished)
    assert (event.request.body, event.redacted, process.left_out) == (b"", True, {"not_json": 1})


def test_what_is_no_event_is_lost_and_costs_the_others_nothing(process: FinishingProcess) -> None:
    assert bodies(process.finish([b"junk", frame()])) == [REASON_FINISHING_FAILED, b'{"user":"[redacted]"}']
    assert process.starts == 1


def test_wrong_rules_finish_nothing() -> None:
    made = FinishingProcess(Setup(rules=("json:user",)))
    assert made.finish([frame(), frame()]) == [REASON_FINISHING_FAILED] * 2
    made.close()


POISONED = """
import os, sys, time
from logger_sidecar.finishing import process as finishing_process

class Poisoned(finishing_process.FinishingWorker):
    def answer(self, data):
        if b"POISON" in data:
            {deed}
        return super().answer(data)

finishing_process.FinishingWorker = Poisoned
sys.exit(finishing_process.main())
"""


def poisoned(directory: Path, deed: str, monkeypatch: pytest.MonkeyPatch, timeout_s: float) -> FinishingProcess:
    (directory / "poisoned_finishing.py").write_text(POISONED.format(deed=deed))
    monkeypatch.syspath_prepend(str(directory))
    return FinishingProcess(RULES, module="poisoned_finishing", timeout_s=timeout_s)


@pytest.mark.slow
@pytest.mark.parametrize(
    "deed", ["os.kill(os.getpid(), 9)", "time.sleep(60)", "os.close(0); os._exit(3)", "bytearray(1 << 40)"]
)
def test_a_frame_that_ends_the_process_twice_is_lost_alone(
    tmp_path: Path, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only who sleeps is waited for in vain; twice, and an innocent frame on a busy machine must not take as long.
    process = poisoned(tmp_path, deed, monkeypatch, 12.0 if "sleep" in deed else 60.0)
    finished = process.finish([frame(), frame(b'{"user":"POISON"}'), frame()])
    assert bodies(finished) == [b'{"user":"[redacted]"}', REASON_FINISHING_FAILED, b'{"user":"[redacted]"}']
    assert process.starts == 3
    process.close()


@pytest.mark.slow
def test_many_bad_frames_do_not_hold_the_spool_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = poisoned(tmp_path, "os._exit(3)", monkeypatch, 60.0)
    assert set(process.finish([frame(b"POISON")] * 100)) == {REASON_FINISHING_FAILED}
    assert process.starts < 12  # as many as there may be failures, and those around them
    assert bodies(process.finish([frame()])) == [b'{"user":"[redacted]"}']
    process.close()


@pytest.mark.slow
def test_a_process_that_cannot_start_loses_frames_and_waits_before_it_tries_again() -> None:
    now = [0.0]
    process = FinishingProcess(RULES, module="no_such_module_at_all", monotonic=lambda: now[0])
    assert process.finish([frame()] * 50) == [REASON_FINISHING_FAILED] * 50
    starts = process.starts
    process.finish([frame()])
    assert process.starts == starts
    now[0] = 5.0
    process.finish([frame()])
    assert process.starts > starts
    process.close()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_the_process_ends_with_its_parent_even_when_that_is_killed() -> None:
    code = textwrap.dedent("""
        import time
        from logger_sidecar.finishing.finisher import FinishingProcess
        from logger_sidecar.finishing.wire import Setup
        process = FinishingProcess(Setup())
        process.start()
        print(process.pid, flush=True)
        time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _is_alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not _is_alive(pid), what="the end of the process whose parent has gone")


def test_closing_ends_the_process(process: FinishingProcess) -> None:
    process.finish([frame()])
    pid = process.pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0) or os.nice(0) >= 19
    process.close()
    assert not _is_alive(pid)
