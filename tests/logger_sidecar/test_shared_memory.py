"""Requests whose tensors lie in shared memory are told from all others, however they are looked for."""

from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.recording.event_frames import entry
from logger_sidecar.recording.shared_memory import SHARED_MEMORY_REGION, marked, shares_memory

_V2 = entry("protocol", "v2") + b"\xa2id"
_NEAR = st.sampled_from([SHARED_MEMORY_REGION, SHARED_MEMORY_REGION[:-1], SHARED_MEMORY_REGION[:-4], b"g", b"region"])
_BODIES = st.lists(st.binary(max_size=20) | _NEAR, max_size=6).map(b"".join)


@given(_BODIES)
def test_a_request_that_names_a_region_is_marked_and_no_other(body: bytes) -> None:
    stream = b"\xde\x00\x05" + _V2
    assert (marked(stream, body) != stream) == (SHARED_MEMORY_REGION in body)
    assert bool(shares_memory("v2", body, len(body))) == (SHARED_MEMORY_REGION in body)


def test_what_is_long_or_not_v2_is_not_looked_through() -> None:
    stream = b"\xde\x00\x05" + _V2
    long = SHARED_MEMORY_REGION + b" " * 16384
    assert marked(stream, long) == stream
    other = b"\xde\x00\x05" + entry("protocol", "v1") + b"\xa2id"
    assert marked(other, SHARED_MEMORY_REGION) == other
