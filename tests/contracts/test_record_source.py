"""What every record source promises, the fake as well as the spool and Kafka: one list of checks for all of them."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from collector.ports import RecordSource
from driftline.events import InferenceEvent
from driftline.records import Malformed, Record
from tests.contracts.streams import KafkaStream, ListStream, SpoolStream, Start, Stream, an_event, take
from tests.parts.kafka import said


@pytest.fixture(params=["list", "spool", pytest.param("kafka", marks=pytest.mark.real)])
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> Stream:
    """An empty stream of each kind."""
    if request.param == "list":
        return ListStream()
    if request.param == "spool":
        return SpoolStream(tmp_path / "spool")
    return KafkaStream(request.getfixturevalue("kafka"))


class Opened:
    """Sources opened by one test, closed at its end."""

    def __init__(self) -> None:
        self._sources: list[RecordSource] = []

    def __call__(self, stream: Stream, start: Start = lambda _partition: None) -> RecordSource:
        self._sources.append(stream.open(start))
        return self._sources[-1]

    def close(self, source: RecordSource) -> None:
        """Close one now."""
        self._sources.remove(source)
        source.close()

    def close_all(self) -> None:
        """Close the rest."""
        while self._sources:
            self._sources.pop().close()


@pytest.fixture
def opened() -> Iterator[Opened]:
    """``opened(stream, start)`` opens a source that is closed after the test."""
    each = Opened()
    yield each
    each.close_all()


def numbers(records: list[Record]) -> list[int]:
    """Which events these are."""
    return [record.content.time_ns for record in records if isinstance(record.content, InferenceEvent)]


def test_every_event_comes_once_and_in_order(stream: Stream, opened: Opened) -> None:
    events = [an_event(number) for number in range(100)]
    stream.fill(events)
    records = take(opened(stream), 100)
    assert [record.content for record in records] == events


def test_offsets_grow_and_each_record_says_where_reading_goes_on(stream: Stream, opened: Opened) -> None:
    stream.fill([an_event(number) for number in range(20)])
    records = take(opened(stream), 20)
    assert len({record.partition for record in records}) == 1
    assert all(record.offset < record.next_offset for record in records)
    assert all(one.next_offset <= other.offset for one, other in pairwise(records))


def test_no_poll_gives_more_than_asked(stream: Stream, opened: Opened) -> None:
    stream.fill([an_event(number) for number in range(30)])
    source = opened(stream)
    first = take(source, 1)
    batch = source.poll(7, 1.0)
    assert numbers(first) == [0]
    assert len(batch) <= 7
    assert numbers([*first, *batch, *take(source, 29 - len(batch), batch=7)]) == list(range(30))


def test_a_source_begins_at_the_committed_position(stream: Stream, opened: Opened) -> None:
    stream.fill([an_event(number) for number in range(40)])
    source = opened(stream)
    seventh = take(source, 40)[6]
    opened.close(source)
    asked: list[str] = []

    def start(partition: str) -> int:
        asked.append(partition)
        return seventh.next_offset

    assert numbers(take(opened(stream, start), 33)) == list(range(7, 40))
    assert seventh.partition in asked


def test_what_was_read_but_not_committed_is_read_again(stream: Stream, opened: Opened) -> None:
    stream.fill([an_event(number) for number in range(5)])
    source = opened(stream)
    assert numbers(take(source, 5)) == list(range(5))
    opened.close(source)
    assert numbers(take(opened(stream), 5)) == list(range(5))


def test_acknowledging_changes_nothing_for_this_reader(stream: Stream, opened: Opened) -> None:
    stream.fill([an_event(number) for number in range(10)])
    source = opened(stream)
    first = take(source, 4)
    source.acknowledge(first[1].partition, first[1].next_offset)
    assert numbers(take(source, 6)) == list(range(4, 10))


def test_the_committed_position_wins_over_what_was_acknowledged(stream: Stream, opened: Opened) -> None:
    stream.fill([an_event(number) for number in range(10)])
    source = opened(stream)
    records = take(source, 10)
    source.acknowledge(records[-1].partition, records[-1].next_offset)
    opened.close(source)
    assert numbers(take(opened(stream, lambda _partition: records[2].next_offset), 7)) == list(range(3, 10))


def test_something_that_is_no_event_is_handed_on_with_its_bytes_and_stops_nothing(
    stream: Stream, opened: Opened
) -> None:
    stream.fill([an_event(0), b"no event at all", an_event(2)])
    records = take(opened(stream), 3)
    assert numbers(records) == [0, 2]
    assert isinstance(records[1].content, Malformed)
    assert records[1].content.raw == b"no event at all"
    assert records[1].content.reason
    assert records[1].content.detail


def test_at_the_end_a_poll_comes_back_with_nothing(stream: Stream, opened: Opened) -> None:
    stream.fill([an_event(0)])
    source = opened(stream)
    assert numbers(take(source, 1)) == [0]
    assert list(source.poll(10, 0.05)) == []
    assert list(source.poll(10, 0.0)) == []


def test_a_source_that_goes_back_gives_what_the_store_lost_and_nothing_else_twice(
    stream: Stream, opened: Opened
) -> None:
    stream.fill([an_event(number) for number in range(10)])
    committed: dict[str, int] = {}
    source = opened(stream, committed.get)
    records = take(source, 8)
    partition = records[0].partition
    source.acknowledge(partition, records[5].next_offset)
    committed[partition] = records[2].next_offset
    assert source.go_back(partition)
    assert numbers(take(source, 7)) == list(range(3, 10))


def test_what_is_left_is_told_by_partition_and_is_nothing_at_the_end(stream: Stream, opened: Opened) -> None:
    stream.fill([an_event(number) for number in range(10)])
    source = opened(stream)
    first = take(source, 4)
    # Kafka's end is known of what was fetched: its first poll has more than was asked for.
    assert said(source.lag)[first[0].partition] > 0
    assert source.held() == {}  # nothing waits for people
    take(source, 6)
    source.poll(1, 0.1)
    assert said(source.lag)[first[0].partition] == 0
