"""Event ids are UUIDs of version 7 as RFC 9562 lays them out."""

import random
import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from driftline.events import new_event_id

LAYOUT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
moments_ns = st.integers(0, (2**48 - 1) * 1_000_000)


def test_the_example_of_the_rfc_is_reproduced() -> None:
    # RFC 9562, appendix A.6: 2022-02-22 14:22:22 in New York, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
    drawn = {12: 0xCC3, 62: 0x18C4DC0C0C07398F}
    assert new_event_id(1_645_557_742_000 * 1_000_000, drawn.__getitem__) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(moments_ns, st.integers())
def test_the_layout_is_that_of_version_7(time_ns: int, seed: int) -> None:
    text = new_event_id(time_ns, random.Random(seed).getrandbits)
    assert LAYOUT.fullmatch(text)
    read = uuid.UUID(text)
    assert read.version == 7
    assert read.variant == uuid.RFC_4122
    assert read.int >> 80 == time_ns // 1_000_000


@given(moments_ns, st.integers(1, 10**15), st.integers())
def test_ids_sort_by_their_millisecond(time_ns: int, later_ns: int, seed: int) -> None:
    draw = random.Random(seed).getrandbits
    first, second = new_event_id(time_ns, draw), new_event_id(time_ns + later_ns, draw)
    if (time_ns + later_ns) // 1_000_000 > time_ns // 1_000_000 and time_ns + later_ns < 2**48 * 1_000_000:
        assert first < second


def test_ids_of_one_millisecond_differ() -> None:
    draw = random.Random(1).getrandbits
    assert len({new_event_id(5, draw) for _ in range(10_000)}) == 10_000
