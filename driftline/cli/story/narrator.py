"""Says in plain words what the parts of the demo find, a line per day of the story."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from collector.store.store import Store
from dashboards.report import build_report, render_html
from driftline.cli.story.flights import DECEMBER
from driftline.cli.story.replay import Replay
from driftline.clock import Clock
from driftline.monitors import Monitor
from driftline.names import SEVERITY, SEVERITY_PAGE
from driftline.results import ALL_ROWS, WHOLE_WINDOW, Page, Result, StreamKey, Verdict

SHOWN_COLUMNS = 4


@dataclass
class Narrator:
    """Looks into the store now and then; ``look`` prints each closed window once, and each page when it comes, and when
    a ticket of it becomes a page.
    """

    store: Store
    monitor: Monitor
    replay: Replay
    web_url: str
    say: Callable[[str], None]
    drifted_in_autumn: int = 0
    _told: set[float] = field(default_factory=set)
    _pages: dict[str, Page] = field(default_factory=dict)
    _told_pages: set[tuple[str, str]] = field(default_factory=set)
    _in_december: bool = False

    def introduce(self) -> None:
        """Where to look."""
        self.say(f"      open {self.web_url} to watch")
        self.say("[3/4] autumn: held-out flights in random order; labels follow when a flight has landed")

    def look(self) -> None:
        """Print what is new."""
        for stream in self.store.streams():
            self._tell_windows(stream.stream)
        for page in self.store.pages(100):
            self._pages[page.id] = page
            self._tell_page(page)

    def woken(self) -> bool:
        """Whether a page of severity ``page`` was delivered."""
        return any(page.alert.labels.get(SEVERITY) == SEVERITY_PAGE for page in self._pages.values())

    def write_report(self, path: Path, clock: Clock) -> Path:
        """Write the drift report of the whole story."""
        summaries = self.store.streams()
        if summaries:
            summary = summaries[0]
            data = build_report(
                self.store, self.monitor, summary.stream, summary.first_event_s, summary.last_event_s, clock
            )
            path.write_text(render_html(data), encoding="utf-8")
            self.say(f"      drift report: {path}")
        return path

    def _tell_windows(self, stream: StreamKey) -> None:
        since_s = max(self._told, default=0.0)
        results = [
            result
            for result in self.store.results(stream, since_s, float("inf"))
            if result.window.segment == ALL_ROWS and result.window.start_s not in self._told
        ]
        for start_s in sorted({result.window.start_s for result in results}):
            self._told.add(start_s)
            self._tell_window(start_s, [result for result in results if result.window.start_s == start_s])

    def _tell_window(self, start_s: float, results: Sequence[Result]) -> None:
        day = datetime.fromtimestamp(start_s, UTC)
        if day >= DECEMBER and not self._in_december:
            self._in_december = True
            self.say("[4/4] December comes, with its weather")
        whole = next((each for each in results if each.kind == "drift" and each.column == WHOLE_WINDOW), None)
        drifted = sorted(_drifted(results), key=_effect, reverse=True)
        if day < DECEMBER and whole is not None and whole.verdict is Verdict.DRIFTED:
            self.drifted_in_autumn += 1
        rows = whole.sample_size if whole is not None else 0
        verdict = whole.verdict.value.replace("_", " ") if whole is not None else "no verdict"
        moved = ", ".join(each.column for each in drifted[:SHOWN_COLUMNS])
        self.say(
            f"      {day:%a %b %d}  {rows:4d} flights  {_accuracy(results)}  {verdict}{': ' if moved else ''}{moved}"
        )

    def _tell_page(self, page: Page) -> None:
        severity = page.alert.labels.get(SEVERITY, "")
        if (page.id, severity) in self._told_pages:
            return
        self._told_pages.add((page.id, severity))
        kind = "PAGE" if severity == SEVERITY_PAGE else "ticket"
        self.say(f"  >>  {kind} delivered: {page.summary}")
        self.say(f"      evidence and runbook: {self.web_url}/pages/{page.id}")


def _drifted(results: Sequence[Result]) -> list[Result]:
    """One result per drifted column."""
    found = {
        result.column: result
        for result in results
        if result.kind == "drift" and result.column != WHOLE_WINDOW and result.verdict is Verdict.DRIFTED
    }
    return list(found.values())


def _effect(result: Result) -> float:
    return result.effect.value if result.effect is not None else 0.0


def _accuracy(results: Sequence[Result]) -> str:
    accuracy = next((each for each in results if each.kind == "performance" and each.detector == "accuracy"), None)
    if accuracy is None or accuracy.effect is None:
        return "accuracy: no labels yet"
    interval = accuracy.effect
    return (
        f"accuracy {interval.value:.2f} [{interval.lower:.2f}, {interval.upper:.2f}], "
        f"labels {(accuracy.coverage or 0.0) * 100:3.0f} %"
    )
