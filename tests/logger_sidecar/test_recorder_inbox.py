"""Messages come out of a socket as they went in, wherever the kernel cuts them."""

import socket
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from logger_sidecar.recording.recorder_inbox import Inbox
from logger_sidecar.recording.recorder_wire import PREFIX


def _nothing() -> None:
    pass


def _exchange(messages: list[bytes], cuts: list[int]) -> list[bytes]:
    """What an inbox reads while all messages, one behind the other, are sent in pieces of these lengths."""
    ours, theirs = socket.socketpair()
    data = b"".join(PREFIX.pack(len(message)) + message for message in messages)

    def send() -> None:
        with theirs:
            start = 0
            for cut in cuts:
                theirs.sendall(data[start : start + cut])
                start += cut
            theirs.sendall(data[start:])

    sender = threading.Thread(target=send)
    sender.start()
    found = []
    with ours:
        inbox = Inbox(ours, _nothing)
        while (message := inbox.next()) is not None:
            found.append(bytes(message))
    sender.join()
    return found


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 20) | st.integers(250_000, 270_000) | st.integers(0, 1_200_000), max_size=8),
    cuts=st.lists(st.integers(1, 9) | st.integers(1, 300_000), max_size=12),
)
def test_messages_of_any_length_come_out_as_they_went_in(sizes: list[int], cuts: list[int]) -> None:
    messages = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    assert _exchange(messages, cuts) == messages


def test_a_message_that_is_cut_by_the_end_is_none() -> None:
    for part in (b"\0\0", PREFIX.pack(10), PREFIX.pack(10) + b"123456789"):
        ours, theirs = socket.socketpair()
        with ours:
            theirs.sendall(PREFIX.pack(2) + b"ok" + part)
            theirs.close()
            inbox = Inbox(ours, _nothing)
            first = inbox.next()
            assert first is not None
            assert bytes(first) == b"ok"
            assert inbox.next() is None


def test_while_nothing_comes_somebody_else_may_work() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.01)
    calls: list[int] = []

    def idle() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            theirs.sendall(PREFIX.pack(4) + b"here")

    with ours, theirs:
        found = Inbox(ours, idle).next()
        assert found is not None
        assert bytes(found) == b"here"
    assert len(calls) >= 3
