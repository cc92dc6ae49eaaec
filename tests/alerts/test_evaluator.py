"""What the embedded evaluation tells, when, and how often."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from alerts.evaluator import Evaluator, Sample
from alerts.slo import Objective
from driftline.errors import UnavailableError
from driftline.results import Alert
from driftline.testing import ManualClock
from tests.alerts.examples import objective

STEP_S = 60.0
LABELS = {"version": "1"}


@dataclass
class Counters:
    """A model server whose counters a test moves: 100 requests a step, some bad."""

    good: float = 0.0
    bad: float = 0.0
    gone: bool = False

    def scrape(self) -> Iterable[Sample]:
        if self.gone:
            return []
        return [
            Sample("bad_total", LABELS, self.bad),
            Sample("all_total", LABELS, self.good + self.bad),
            Sample("unrelated_total", LABELS, 1.0),
        ]


@dataclass
class Desk:
    """Takes alerts, or is out for a while."""

    told: list[Alert] = field(default_factory=list)
    out: bool = False

    def deliver(self, alerts: Sequence[Alert]) -> None:
        if self.out:
            raise UnavailableError("page desk", "out")
        self.told += alerts

    def stories(self) -> list[str]:
        return [f"{alert.status} {alert.labels['severity']} {alert.labels['window']}" for alert in self.told]


class Story:
    """An evaluator with its parts, told in minutes."""

    def __init__(self, *objectives: Objective, repeat_s: float = 4 * 3600.0) -> None:
        self.clock = ManualClock(1_000_000.0)
        self.counters, self.desk = Counters(), Desk()
        chosen = objectives or (objective(0.99),)
        self.evaluator = Evaluator(chosen, self.counters.scrape, self.desk.deliver, self.clock, repeat_s=repeat_s)

    def minutes(self, count: int, bad_share: float) -> None:
        for _ in range(count):
            self.counters.bad += 100 * bad_share
            self.counters.good += 100 * (1 - bad_share)
            self.evaluator.step()
            self.clock.advance(STEP_S)


def test_a_fast_burn_is_told_once_and_its_end_too() -> None:
    story = Story()
    story.minutes(120, 0.0)
    assert story.desk.told == []
    story.minutes(20, 1.0)
    pages = [alert for alert in story.desk.told if alert.labels["window"] == "1h"]
    assert [alert.status for alert in pages] == ["firing"]
    story.minutes(30, 0.0)
    ends = [alert for alert in story.desk.told if alert.labels["window"] == "1h"]
    assert [alert.status for alert in ends] == ["firing", "resolved"]
    assert ends[1].starts_at_s == ends[0].starts_at_s
    assert ends[1].ends_at_s is not None
    assert ends[1].ends_at_s > ends[1].starts_at_s
    assert ends[1].fingerprint == ends[0].fingerprint


def test_it_fires_when_the_arithmetic_says_so() -> None:
    story = Story()
    story.minutes(120, 0.0)
    began_s = story.clock()
    story.minutes(20, 1.0)
    page = next(alert for alert in story.desk.told if alert.labels["window"] == "1h")
    # 14.4 * 1 % * 1 h / 100 % = 8.64 min of full outage; then the proof needs a little more, and scrapes a minute.
    assert 8 * 60 <= page.starts_at_s - began_s <= 11 * 60


def test_a_ticket_is_silent_while_a_page_of_its_objective_fires_and_speaks_when_that_is_over() -> None:
    story = Story()
    story.minutes(24 * 60, 0.0)
    story.minutes(60, 1.0)
    assert {alert.labels["severity"] for alert in story.evaluator.firing()} == {"page", "ticket"}
    assert {alert.labels["severity"] for alert in story.desk.told} == {"page"}
    story.minutes(150, 0.0)
    assert {alert.labels["severity"] for alert in story.evaluator.firing()} == {"ticket"}
    assert "firing ticket 1d" in story.desk.stories()


def test_an_alert_outlasts_a_quiet_spell_in_the_middle_of_an_incident() -> None:
    story = Story()
    story.minutes(120, 0.0)
    story.minutes(20, 1.0)
    story.minutes(18, 0.0)  # the short window of five minutes is clean for longer than it is long
    story.minutes(20, 1.0)
    assert story.desk.stories().count("firing page 1h") == 1
    assert "resolved page 1h" not in story.desk.stories()


def test_a_firing_alert_is_told_again_after_the_repeat_time() -> None:
    story = Story(objective(0.99, severity="ticket"), repeat_s=3600.0)
    story.minutes(30, 0.5)
    first = len([one for one in story.desk.stories() if one == "firing ticket 1h"])
    story.minutes(45, 0.5)
    assert first == 1
    assert len([one for one in story.desk.stories() if one == "firing ticket 1h"]) == 2


def test_what_the_desk_did_not_take_is_offered_again() -> None:
    story = Story()
    story.desk.out = True
    story.minutes(30, 1.0)
    assert story.desk.told == []
    story.desk.out = False
    story.minutes(1, 1.0)
    assert "firing page 1h" in story.desk.stories()
    story.desk.out = True
    story.minutes(30, 0.0)
    story.desk.out = False
    story.minutes(1, 0.0)
    assert "resolved page 1h" in story.desk.stories()


def test_an_alert_nobody_was_told_of_is_not_resolved_either() -> None:
    story = Story()
    story.minutes(120, 0.0)
    story.desk.out = True
    story.minutes(20, 1.0)
    story.minutes(30, 0.0)
    story.desk.out = False
    story.minutes(1, 0.0)
    assert not [one for one in story.desk.stories() if one.endswith("page 1h")]


def test_a_target_that_is_gone_resolves_its_alerts_as_its_samples_leave_the_window() -> None:
    story = Story()
    story.minutes(30, 1.0)
    assert story.evaluator.firing()
    story.counters.gone = True
    story.minutes(26 * 60, 1.0)  # six hours of the longest short window, and three times as long kept
    assert [alert.labels["window"] for alert in story.evaluator.firing()] == []


def test_series_that_went_away_are_forgotten() -> None:
    story = Story()
    story.minutes(5, 0.0)
    assert any(story.evaluator._series.values())
    story.counters.gone = True
    story.clock.advance(4 * 86400.0)
    story.minutes(1, 0.0)
    assert not any(story.evaluator._series.values())


def test_two_objectives_on_one_counter_decide_apart() -> None:
    strict = objective(0.99)
    loose = replace(objective(0.5), kind="correctness")
    story = Story(strict, loose)
    story.minutes(120, 0.3)
    assert {alert.labels["slo"] for alert in story.evaluator.firing()} == {"availability"}


def test_the_sentence_carries_the_number() -> None:
    story = Story()
    story.minutes(60, 0.25)
    page = next(alert for alert in story.evaluator.firing() if alert.labels["severity"] == "page")
    assert page.annotations["summary"] == (
        "m: 25 % of answers were server errors over the last 1h (objective: at most 1 %)"
    )
