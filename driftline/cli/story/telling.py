"""Tells the story: replays the days, says what the parts find, and ends with the page."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

import pandas as pd

from driftline.cli import wiring
from driftline.cli.conductor import Conductor
from driftline.cli.processes import Group
from driftline.cli.story import flights
from driftline.cli.story.narrator import Narrator
from driftline.cli.story.prepare import Prepared
from driftline.cli.story.replay import Replay
from driftline.cli.up import Machine
from driftline.names import SEVERITY, SEVERITY_PAGE
from driftline.results import Page

DAY_S = 86400.0
AUTUMN_DAYS = 8
FLIGHTS_PER_DAY = 950
LOOK_EVERY_S = 0.5
#: Story days after the last flight in which labels and pages may still come.
EPILOGUE_DAYS = 2
#: How the parts are paced (real seconds), so that a sped-up day is still many looks long.
PACE = {
    "DRIFTLINE_COLLECTOR_COMMIT_INTERVAL_S": "0.1",
    "DRIFTLINE_DETECTORS_INTERVAL_S": "0.4",
    "DRIFTLINE_ALERTS_INTERVAL_S": "0.1",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the story ended."""

    pages: tuple[Page, ...]
    drifted_in_autumn: int
    report: Path

    @property
    def paged_only_in_december(self) -> bool:
        """Whether a page came, and none before December."""
        alerts = [alert for page in self.pages for alert in page.alerts]
        starts = [alert.starts_at_s for alert in alerts if alert.labels.get(SEVERITY) == SEVERITY_PAGE]
        return bool(starts) and min(starts) >= flights.DECEMBER.timestamp()


def story_clock(path: Path, day_s: float) -> Conductor:
    """A clock on which one day takes at least ``day_s`` real seconds; it stands at the first autumn day's midnight."""
    return Conductor(path, flights.DECEMBER.timestamp() - AUTUMN_DAYS * DAY_S, DAY_S / day_s)


def tell(
    machine: Machine,
    prepared: Prepared,
    clock: Conductor,
    group: Group,
    say: Callable[[str], None],
    until_page: bool,
) -> Outcome:
    """Replay autumn and December, narrating; with ``until_page`` end at the first page of severity ``page``."""
    monitor = prepared.monitor
    replay = Replay(
        machine.url(machine.ports.proxy), machine.url(machine.ports.collector), monitor.model, monitor.namespace, clock
    )
    store = wiring.open_store(machine.store_url)
    narrator = Narrator(store, monitor, replay, machine.url(machine.ports.web), say)
    narrator.introduce()
    stop = threading.Event()
    threads = [
        threading.Thread(target=_replay_days, args=(replay, _days(prepared.data), stop), daemon=True),
        threading.Thread(target=replay.send_labels, args=(stop,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    last_s = flights.DECEMBER.timestamp() + (31 + EPILOGUE_DAYS) * DAY_S
    try:
        while clock() < last_s and not (until_page and narrator.woken()):
            group.supervise()
            narrator.look()
            stop.wait(LOOK_EVERY_S)
    except KeyboardInterrupt:
        say("stopping")
        raise
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=5)
    report = narrator.write_report(machine.data_dir / "drift-report.html", clock)
    return Outcome(tuple(store.pages(100)), narrator.drifted_in_autumn, report)


def _days(data: flights.Flights) -> Iterator[tuple[datetime, pd.DataFrame]]:
    return chain(flights.autumn_days(data.held_out, AUTUMN_DAYS, FLIGHTS_PER_DAY), flights.december_days(data.december))


def _replay_days(replay: Replay, days: Iterator[tuple[datetime, pd.DataFrame]], stop: threading.Event) -> None:
    for start, rows in days:
        if stop.is_set():
            return
        replay.run_day(flights.slots(start, rows), stop.is_set)
    replay.clock.allow(float("inf"))
