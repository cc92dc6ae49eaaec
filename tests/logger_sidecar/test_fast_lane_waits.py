"""While connections are in the fast lane it is the lane that waits: nothing that the loop has to do may wait for it."""

import asyncio
import threading
from pathlib import Path

from tests.logger_sidecar.test_fast_lane import ask, enter, in_lane, on_loop
from tests.logger_sidecar.wire import OK, Running, answering, between, post, read_message
from tests.parts.processes import wait_until


def end_ticking(running: Running) -> None:
    """From now on nothing wakes the loop by and by."""
    for task in asyncio.all_tasks(running.loop):
        if "_tick" in repr(task.get_coro()):
            task.cancel()


def test_what_the_loop_has_to_do_is_done_while_a_client_is_idle(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK)) as (running, _), running.connect() as client:
        enter(running, client)
        on_loop(running, lambda: end_ticking(running))
        stream = running.sidecar.meters._streams["iris", "", "stable"]
        before = stream.logged
        ask(client)
        wait_until(lambda: stream.logged > before)
        fired = threading.Event()
        on_loop(running, lambda: running.loop.call_later(0.01, fired.set) and None)
        assert fired.wait(60)
        with running.connect() as other:  # it is new, and its transport reads it
            message = post(b"[]", "x-other: yes")
            other.sendall(message[:30])
            on_loop(running, lambda: None)
            other.sendall(message[30:])
            assert read_message(other).endswith(b"{}")
        assert any(in_lane(running)) is (running.sidecar._lane is not None)
        assert ask(client).endswith(b"{}")


def test_a_loop_that_does_not_stand_on_libuv_does_without_it(tmp_path: Path) -> None:
    with between(tmp_path, answering(OK), new_loop=asyncio.new_event_loop) as (running, _), running.connect() as client:
        for _ in range(8):
            assert ask(client).endswith(b"{}")
        assert not any(in_lane(running))
