"""Sinks side by side: one that is dead, slow or broken is its own trouble and nobody else's."""

import asyncio
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from driftline import names
from driftline.errors import SettingsError, UnavailableError
from driftline.events import InferenceEvent, decode_frame
from logger_sidecar.admin import metrics_answer
from logger_sidecar.shipping.meters import ShipperMeters
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SinkUrl
from logger_sidecar.shipping.sink_workers import SinkWorkers
from logger_sidecar.shipping.sinks import BatchBounds, Sink
from logger_sidecar.spool.segments import list_segments, read_cursors
from tests.logger_sidecar.test_spool import fill
from tests.parts.processes import wait_until


class TestSink:
    """Takes everything; or is away, hangs, or breaks, as its name says, while it is told to."""

    __test__ = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.bounds = BatchBounds(max_events=10)
        self.taken: list[str] = []
        self.closed = 0
        self.well = threading.Event()

    def read(self, frame: bytes) -> InferenceEvent:
        return decode_frame(frame)

    def deliver(self, events: Sequence[InferenceEvent]) -> dict[int, str]:
        if self.name.startswith("hanging"):
            self.well.wait(60)
        elif not self.name.startswith("good") and not self.well.is_set():
            raise {"away": UnavailableError("sink", "not now"), "broken": ZeroDivisionError("oh")}[self.name]
        self.taken.extend(event.id for event in events)
        return {}

    def close(self) -> None:
        self.closed += 1


class House:
    """Workers over sinks that are kept by name."""

    def __init__(self, directory: Path) -> None:
        self.sinks: dict[str, list[TestSink]] = {}
        #: Whether one of them cannot be had now, and how often that was tried.
        self.impossible, self.tried = False, 0
        self.meters = ShipperMeters(lambda: 100.0)
        self.workers = SinkWorkers(self.meters, self._open)
        self.settings = ShipperSettings(
            spool_directory=directory, sinks=(), retry_backoff_s=0.01, max_backoff_s=0.02, drain_timeout_s=0.5
        )

    def follow(self, *sinks: str, **changes: object) -> None:
        urls = tuple(f"http://host/?name={name}" for name in sinks)
        self.settings = dataclasses.replace(self.settings, sinks=urls, **changes)  # type: ignore[arg-type]
        self.workers.follow(self.settings)

    def newest(self, name: str) -> TestSink:
        """The last one of that name, once its worker, which has a thread of its own, has opened it."""
        wait_until(lambda: name in self.sinks, what=f"the sink {name}")
        return self.sinks[name][-1]

    def samples(self, metric: names.Metric) -> dict[str, float]:
        text = asyncio.run(metrics_answer(self.meters)).body.decode()
        family = next(one for one in text_string_to_metric_families(text) if one.name == metric.name)
        return {one.labels["sink"]: one.value for one in family.samples}

    def _open(self, url: SinkUrl, _settings: ShipperSettings) -> Sink:
        if url.name == "good-a" and self.impossible:
            self.tried += 1
            raise SettingsError("sink", ["its library is not installed"])
        self.sinks.setdefault(url.name, []).append(TestSink(url.name))
        return self.sinks[url.name][-1]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    for sinks in house.sinks.values():
        for sink in sinks:
            sink.well.set()
    house.workers.drain(5.0)


def test_a_sink_that_is_away_broken_or_hanging_delays_no_other(tmp_path: Path, house: House) -> None:
    fill(tmp_path, range(50))
    house.follow("away", "broken", "hanging", "good")
    everything = [str(number) for number in range(50)]
    wait_until(lambda: house.newest("good").taken == everything)
    wait_until(lambda: house.meters.away == ["away", "broken"])
    assert house.samples(names.SHIPPER_SINK_UP) == {"away": 0.0, "broken": 0.0, "hanging": 1.0, "good": 1.0}
    wait_until(lambda: house.samples(names.SHIPPER_LAG_BYTES)["good"] == 0.0)
    wait_until(lambda: house.samples(names.SHIPPER_INFLIGHT_BYTES)["hanging"] > 0.0)
    lag, inflight = house.samples(names.SHIPPER_LAG_BYTES), house.samples(names.SHIPPER_INFLIGHT_BYTES)
    assert lag["away"] == lag["hanging"] > inflight["hanging"] > inflight["good"] == 0.0
    age = house.samples(names.SHIPPER_LAG_AGE)  # the first event's time is 0 s, now is 100 s
    assert (age["away"], age["hanging"], age["good"]) == (100.0, 100.0, 0.0)
    for name in ("away", "broken", "hanging"):
        house.newest(name).well.set()
        wait_until(lambda name=name: house.newest(name).taken == everything)  # type: ignore[misc]
    wait_until(lambda: house.meters.away == [])


def test_the_end_waits_for_no_sink_longer_than_it_may(tmp_path: Path, house: House) -> None:
    fill(tmp_path, range(20))
    house.follow("away", "hanging", "good")
    wait_until(lambda: house.samples(names.SHIPPER_LAG_BYTES)["good"] == 0.0)
    assert house.workers.drain(2.0) == {"away": False, "hanging": False, "good": True}


def test_sinks_come_go_and_stay_as_they_are_configured(tmp_path: Path, house: House) -> None:
    fill(tmp_path, range(10))
    house.follow("good-a", "good-b")
    for name in ("good-a", "good-b"):
        wait_until(lambda name=name: len(house.newest(name).taken) == 10)  # type: ignore[misc]
    house.follow("good-b", "good-c")
    assert house.workers.names == ["good-b", "good-c"]
    assert set(read_cursors(tmp_path)) - {"good-c"} == {"good-b"}  # the spool no longer waits for the one that went
    fill(tmp_path, range(10, 20))
    wait_until(lambda: len(house.newest("good-b").taken) == 20)
    wait_until(lambda: len(house.newest("good-c").taken) == 10)
    assert [len(house.sinks[name]) for name in ("good-a", "good-b", "good-c")] == [1, 1, 1]
    assert len(house.newest("good-a").taken) == 10
    assert set(house.samples(names.SHIPPER_LAG_BYTES)) == {"good-b", "good-c"}


def test_a_sink_that_goes_while_it_hangs_holds_the_spool_no_longer_than_it_hangs(tmp_path: Path, house: House) -> None:
    fill(tmp_path, range(30))
    house.follow("hanging", "good")
    wait_until(lambda: house.samples(names.SHIPPER_INFLIGHT_BYTES)["hanging"] > 0.0)
    house.follow("good")
    assert "hanging" in read_cursors(tmp_path)  # its thread still waits for an answer
    house.newest("hanging").well.set()
    wait_until(lambda: set(read_cursors(tmp_path)) == {"good"})
    wait_until(lambda: len(house.newest("good").taken) == 30)


def test_new_settings_of_all_open_every_sink_anew_and_go_on_where_it_stood(tmp_path: Path, house: House) -> None:
    fill(tmp_path, range(10))
    house.follow("good")
    wait_until(lambda: len(house.newest("good").taken) == 10)
    house.follow("good", client_id="another")
    fill(tmp_path, range(10, 20))
    wait_until(lambda: len(house.sinks["good"]) == 2, what="the second sink")
    wait_until(lambda: house.newest("good").taken == [str(number) for number in range(10, 20)])


def test_a_sink_that_cannot_be_had_is_away_until_it_can_be_and_stops_no_other(
    tmp_path: Path, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, range(10))
    house.impossible = True
    house.follow("good-a", "good-b")
    wait_until(lambda: house.tried > 2)
    assert house.meters.away == ["good-a"]
    assert caplog.text.count("its library is not installed") == 1
    wait_until(lambda: len(house.newest("good-b").taken) == 10)
    house.impossible = False
    wait_until(lambda: "good-a" in house.sinks and len(house.newest("good-a").taken) == 10)
    wait_until(lambda: house.meters.away == [])


def test_what_a_sink_that_cannot_be_had_has_not_taken_stays_in_the_spool(tmp_path: Path, house: House) -> None:
    house.impossible = True
    house.follow("good-a", "good-b")
    wait_until(lambda: house.tried > 0)
    fill(tmp_path, range(500))
    wait_until(lambda: len(house.newest("good-b").taken) == 500)
    fill(tmp_path, range(500, 510))  # whoever writes deletes what all have passed
    lag = house.samples(names.SHIPPER_LAG_BYTES)
    assert lag["good-a"] == sum(segment.size_bytes for segment in list_segments(tmp_path)) > lag["good-b"]
    house.impossible = False
    wait_until(lambda: "good-a" in house.sinks and len(house.newest("good-a").taken) >= 510)
    assert house.newest("good-a").taken == [str(number) for number in range(510)]


def test_a_spool_that_cannot_be_looked_at_ends_no_worker(tmp_path: Path, house: House) -> None:
    spool = tmp_path / "spool"
    spool.write_text("a file in its place")
    house.follow("good", spool_directory=spool)
    wait_until(lambda: house.meters.away == ["good"])
    spool.unlink()
    fill(spool, range(5))
    wait_until(lambda: len(house.newest("good").taken) == 5)


def test_the_end_waits_for_no_sink_that_cannot_be_had_and_has_nothing_to_take(tmp_path: Path, house: House) -> None:
    house.impossible = True
    house.follow("good-a")
    wait_until(lambda: house.tried > 0)
    assert house.workers.drain(60.0) == {"good-a": True}


def test_sighup_connects_anew_between_two_deliveries(tmp_path: Path, house: House) -> None:
    house.follow("good")
    house.workers.reopen()
    wait_until(lambda: house.newest("good").closed == 1)
    fill(tmp_path, range(10))
    wait_until(lambda: len(house.newest("good").taken) == 10)


def test_a_sink_whose_name_somebody_else_reads_under_waits_for_it(tmp_path: Path, house: House) -> None:
    from logger_sidecar.spool.source import SpoolSource

    fill(tmp_path, range(10))
    other = SpoolSource(tmp_path, "good", lambda _partition: None)
    house.follow("good")
    other.close()
    wait_until(lambda: len(house.newest("good").taken) == 10)
