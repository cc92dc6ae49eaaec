"""The fakes that ship with the product behave as their users need."""

import pytest

from driftline.records import Malformed, Record
from driftline.testing import Crash, ListSource


def record(offset: int) -> Record:
    """A record at its place."""
    return Record("list:0", offset, offset + 1, Malformed("test", "", b""))


def test_a_crash_mark_raises_once_after_what_came_before_it() -> None:
    source = ListSource([record(0), Crash(), record(1)])
    assert [each.offset for each in source.poll(10, 0.0)] == [0]
    with pytest.raises(RuntimeError, match="crash mark"):
        source.poll(10, 0.0)
    assert [each.offset for each in source.poll(10, 0.0)] == [1]


def test_a_list_source_remembers_what_was_acknowledged() -> None:
    source = ListSource([record(0)])
    source.acknowledge("list:0", 1)
    assert source.acknowledged == {"list:0": 1}
