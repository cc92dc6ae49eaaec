"""The shipper: order kept, nothing acknowledged before it is delivered, faults counted or waited out."""

from collections.abc import Sequence
from pathlib import Path

from driftline.errors import UnavailableError
from driftline.events import InferenceEvent, decode_frame
from driftline.records import Malformed, Record
from logger_sidecar.shipping.delivery import Backoff, Shipper
from logger_sidecar.shipping.meters import SinkMeters
from logger_sidecar.shipping.sinks import BatchBounds
from logger_sidecar.spool.segments import read_cursor
from logger_sidecar.spool.source import SpoolSource
from tests.logger_sidecar.test_spool import event, fill


class ListSink:
    """Takes events; fails as often as told; refuses ids as told."""

    name = "list"

    def __init__(self, failures: int = 0, refuses: Sequence[str] = (), bounds: BatchBounds | None = None) -> None:
        self.taken: list[InferenceEvent] = []
        self.batches: list[list[str]] = []
        self.bounds = bounds or BatchBounds(max_events=10)
        self.failures = failures
        self._refuses = refuses

    def read(self, frame: bytes) -> InferenceEvent:
        return decode_frame(frame)

    def deliver(self, events: Sequence[InferenceEvent]) -> dict[int, str]:
        if self.failures:
            self.failures -= 1
            raise UnavailableError("list", "not now")
        refused = {index: "too_large" for index, event in enumerate(events) if event.request_id in self._refuses}
        self.taken.extend(event for index, event in enumerate(events) if index not in refused)
        self.batches.append([event.id for event in events])
        return refused

    def close(self) -> None: ...


def make(source: SpoolSource, sink: ListSink, slept: list[float]) -> tuple[Shipper, SinkMeters]:
    meters = SinkMeters(sink.name, lambda: sum(source.lag().values()))
    return Shipper(source, sink, meters, Backoff(1.0, 4.0, sleep=slept.append, jitter=lambda: 1.0)), meters


def always() -> bool:
    return True


def test_everything_is_shipped_in_order_and_the_cursor_stands_at_the_end(tmp_path: Path) -> None:
    fill(tmp_path, range(35))
    source, sink = SpoolSource(tmp_path, "kafka", lambda _partition: None), ListSink()
    shipper, meters = make(source, sink, [])
    assert shipper.drain(always)
    assert sink.taken == [event(number) for number in range(35)]
    assert (meters.delivered, meters.failed, source.lag()) == (35, {}, {"spool:kafka": 0})
    source.close()
    again = SpoolSource(tmp_path, "kafka", lambda _partition: None)
    assert again.poll(10, 0.0) == []


def test_a_sink_that_is_away_is_tried_again_with_growing_pauses_and_nothing_is_lost(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    source, sink = SpoolSource(tmp_path, "kafka", lambda _partition: None), ListSink(failures=5)
    slept: list[float] = []
    shipper, meters = make(source, sink, slept)
    assert shipper.drain(always)
    assert slept == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert meters.delivered == 5


def test_the_cursor_does_not_move_while_the_sink_is_away(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    source, sink = SpoolSource(tmp_path, "kafka", lambda _partition: None), ListSink(failures=99)
    shipper, _ = make(source, sink, [])
    before, tries = read_cursor(tmp_path, "kafka"), iter(range(10))
    assert not shipper.drain(lambda: next(tries, None) is not None)
    assert read_cursor(tmp_path, "kafka") == before


def test_what_can_never_be_delivered_is_counted_and_stepped_over(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    source, sink = SpoolSource(tmp_path, "kafka", lambda _partition: None), ListSink(refuses=["r2"])
    shipper, meters = make(source, sink, [])
    assert shipper.drain(always)
    assert [event.request_id for event in sink.taken] == ["r0", "r1", "r3", "r4"]
    assert (meters.delivered, meters.failed) == (4, {"too_large": 1})


class SlowSource:
    """Gives its records a few at a time, with nothing in between."""

    partition = "spool:x"

    def __init__(self, pieces: Sequence[Sequence[int]], size: int = 10) -> None:
        self.acknowledged = 0
        self.polls = 0
        self._pieces = [
            [Record("spool:x", number * size, (number + 1) * size, event(number)) for number in piece]
            for piece in pieces
        ]

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        self.polls += 1
        return self._pieces.pop(0) if self._pieces else []

    def acknowledge(self, partition: str, next_offset: int) -> None:
        self.acknowledged = next_offset

    def lag(self) -> dict[str, int]:
        return {}


class MemoryPlans:
    """Plans that outlive a shipper, as the file does."""

    def __init__(self, *known: tuple[int, int]) -> None:
        self.known = dict(known)

    def planned_end(self, first_offset: int) -> int | None:
        return self.known.get(first_offset)

    def plan(self, first_offset: int, end_offset: int) -> None:
        self.known[first_offset] = end_offset


def shipped(source: SlowSource, bounds: BatchBounds, plans: MemoryPlans | None = None) -> list[list[str]]:
    """The batches that a sink with these bounds is given at the end of a shipper's life."""
    sink = ListSink(bounds=bounds)
    assert Shipper(source, sink, SinkMeters("list", lambda: 0), Backoff(0.0, 0.0), plans).drain(always)
    return sink.batches


def test_a_batch_is_bounded_in_events_and_in_bytes_and_holds_one_at_least() -> None:
    numbers = [range(7), range(7, 9)]
    assert shipped(SlowSource(numbers), BatchBounds(max_events=4)) == [list("0123"), list("4567"), ["8"]]
    assert shipped(SlowSource(numbers), BatchBounds(max_bytes=35)) == [list("012"), list("345"), list("678")]
    assert shipped(SlowSource(numbers), BatchBounds(max_bytes=1)) == [[str(number)] for number in range(9)]


def test_a_batch_is_waited_for_only_while_there_is_time() -> None:
    pieces = [range(2), (), (), range(2, 5), ()]
    sink, source = ListSink(bounds=BatchBounds(max_events=4, max_wait_s=1000.0)), SlowSource(pieces)
    shipper = Shipper(source, sink, SinkMeters("list", lambda: 0), Backoff(0.0, 0.0))
    assert shipper.ship_batch(0.0, always, always)
    assert (sink.batches, source.acknowledged) == ([list("0123")], 40)
    assert shipper.ship_batch(0.0, always, lambda: False)  # the end has begun: what is there goes
    assert (sink.batches[1:], source.acknowledged) == ([["4"]], 50)


class Trickle(SlowSource):
    """Has one more record whenever it is asked."""

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        number = self.polls
        self.polls += 1
        return [Record("spool:x", number, number + 1, event(number))]


def test_a_batch_goes_when_its_time_is_over_however_much_still_trickles_in() -> None:
    sink, source = ListSink(bounds=BatchBounds(max_events=1_000_000, max_wait_s=0.01)), Trickle([])
    shipper = Shipper(source, sink, SinkMeters("list", lambda: 0), Backoff(0.0, 0.0))
    assert shipper.ship_batch(0.0, always, always)
    [batch] = sink.batches
    assert batch == [str(number) for number in range(source.polls)]
    assert source.acknowledged == source.polls > 1


def test_a_planned_batch_is_repeated_as_it_was_planned() -> None:
    bounds = BatchBounds(max_events=4, repeats_exactly=True)
    assert shipped(SlowSource([range(9)]), bounds, MemoryPlans((0, 20))) == [list("01"), list("2345"), list("678")]
    assert shipped(SlowSource([range(9)]), bounds, MemoryPlans((10, 20))) == [list("0123"), list("4567"), ["8"]]
    plans = MemoryPlans((0, 60))  # it was larger than batches are now
    assert shipped(SlowSource([range(3), range(3, 9)]), bounds, plans) == [list("012345"), list("678")]
    assert plans.known == {0: 60, 60: 90}


def test_an_event_read_and_not_delivered_is_delivered_later_in_order() -> None:
    source, sink = SlowSource([range(6)]), ListSink(failures=1, bounds=BatchBounds(max_events=4))
    shipper = Shipper(source, sink, SinkMeters("list", lambda: 0), Backoff(0.0, 0.0, sleep=lambda _seconds: None))
    tries = iter([True])
    assert not shipper.ship_batch(0.0, lambda: next(tries, False), always)
    assert (source.acknowledged, sink.batches) == (0, [])
    assert shipper.drain(always)
    assert sink.batches == [list("0123"), list("45")]


class DamagedSource:
    """A source with one record that is not an event."""

    partition = "spool:x"

    def __init__(self) -> None:
        self.acknowledged = 0
        self._records: list[Record] = [Record("spool:x", 0, 9, Malformed("corrupt_frame", "damage", b""))]

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        records, self._records = self._records, []
        return records

    def acknowledge(self, partition: str, next_offset: int) -> None:
        self.acknowledged = next_offset

    def lag(self) -> dict[str, int]:
        return {}


def test_damage_in_the_spool_is_counted_and_stepped_over() -> None:
    source = DamagedSource()
    meters = SinkMeters("list", lambda: 0)
    shipper = Shipper(source, ListSink(), meters, Backoff(1.0, 1.0))
    assert shipper.drain(always)
    assert (source.acknowledged, meters.failed) == (9, {"corrupt_frame": 1})
