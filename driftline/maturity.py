"""How complete a window's labels are: classes of delay, and the share of labels expected by an age.

Delays of labels still to come are unknown, and young windows have only short ones behind them, so that the delays seen
so far are shorter than delays are. The estimate takes this into account, as is usual for reports that come late
(Kalbfleisch and Lawless, 1989, "Inference based on retrospective ascertainment"; insurers call it chain ladder): the
share of delays below a class among those up to it is taken only from windows that are old enough to show both, and
the shares are multiplied from the longest delay down.

>>> old = LabelledWindow(age_s=3 * 86400.0, delays={class_of(3600.0): 50, class_of(2 * 86400.0): 50})
>>> young = LabelledWindow(age_s=7200.0, delays={class_of(3600.0): 40})
>>> DelayCurve.of([old, young]).expected_by(7200.0)
0.5
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, LabelState, OutcomeMaturity, WindowLabels

#: Delays beyond the one before (about 137 days) count as this class.
LAST_CLASS = 48
#: A segment of which fewer labels are known for long enough is taken to have the delays of all rows.
MINIMUM_LABELS = 200
_POINTS = 16


@dataclass(frozen=True, slots=True)
class LabelledWindow:
    """First labels of one window by class of their delay; ``age_s``: time since the window's end."""

    age_s: float
    delays: Mapping[int, int]


def class_of(delay_s: float) -> int:
    """The class of a delay: 0 up to a second, then two classes for every doubling.

    >>> [class_of(seconds) for seconds in (0.0, 1.0, 1.2, 2.0, 60.0, 1e12)]
    [0, 0, 1, 2, 12, 48]
    """
    if delay_s <= 1.0:
        return 0
    return min(math.ceil(2.0 * math.log2(delay_s) - 1e-9), LAST_CLASS)


def longest_s(number: int) -> float:
    """The longest delay of a class, in seconds.

    >>> longest_s(0), longest_s(2), longest_s(12)
    (1.0, 2.0, 64.0)
    """
    return float(2.0 ** (number / 2.0))


#: The longest delay of each class.
_ENDS_S = tuple(longest_s(number) for number in range(LAST_CLASS + 1))


def quantile_s(delays: Mapping[int, int], share: float) -> float | None:
    """The delay (the longest of its class) up to which at least ``share`` of ``delays`` lie; None without any.

    >>> quantile_s({0: 50, 12: 49, 20: 1}, 0.5), quantile_s({0: 50, 12: 49, 20: 1}, 0.95), quantile_s({}, 0.5)
    (1.0, 64.0, None)
    """
    total = sum(delays.values())
    seen = 0
    for number in sorted(delays):
        seen += delays[number]
        if total and seen >= share * total:
            return longest_s(number)
    return None


@dataclass(frozen=True, slots=True)
class DelayCurve:
    """``shares[class]``: the share of labels whose delay is of that class or below.

    ``oldest_s``: the age of the oldest window with labels; of longer delays nothing is known.
    """

    shares: tuple[float, ...]
    oldest_s: float

    @classmethod
    def of(cls, windows: Sequence[LabelledWindow]) -> "DelayCurve":
        """The curve that windows of any ages show together; ``oldest_s`` is 0 when none has a label."""
        below = [0] * (LAST_CLASS + 1)
        here = [0] * (LAST_CLASS + 1)
        by_age: dict[int, Counter[int]] = {}  # windows that are old enough to show the same classes
        for window in windows:
            by_age.setdefault(bisect_right(_ENDS_S, window.age_s), Counter()).update(window.delays)
        for shown, delays in by_age.items():
            seen = 0
            for number in range(shown):
                below[number] += seen
                here[number] += delays[number]
                seen += delays[number]
        shares = [1.0] * (LAST_CLASS + 1)
        for number in range(LAST_CLASS, 0, -1):
            total = below[number] + here[number]
            shares[number - 1] = shares[number] * (below[number] / total if total else 1.0)
        oldest_s = max((window.age_s for window in windows if any(window.delays.values())), default=0.0)
        return cls(tuple(shares), oldest_s)

    def delay_s(self, share: float) -> float:
        """The delay (the longest of its class) up to which at least ``share`` of all labels come, late ones included.

        >>> DelayCurve.of([LabelledWindow(1e9, {0: 50, 12: 50})]).delay_s(0.9)
        64.0
        """
        return next(_ENDS_S[number] for number, below in enumerate(self.shares) if below >= share - 1e-12)

    def expected_by(self, age_s: float) -> float:
        """Share of labels expected this long after their prediction, straight between the ends of the classes."""
        if age_s <= 0.0:
            return 0.0
        if age_s <= 1.0:
            return self.shares[0] * age_s
        place = min(2.0 * math.log2(age_s), float(LAST_CLASS))
        number = math.floor(place)
        if number >= LAST_CLASS:
            return self.shares[LAST_CLASS]
        return self.shares[number] + (self.shares[number + 1] - self.shares[number]) * (place - number)

    def expected_in_window(self, age_s: float, size_s: float) -> float:
        """The same for a window that ended ``age_s`` ago: its first prediction is older by ``size_s``, its last is not.

        Predictions are taken to be spread evenly over the window; before its end, over what is past of it.
        """
        youngest_s, oldest_s = max(age_s, 0.0), age_s + size_s
        step_s = (oldest_s - youngest_s) / _POINTS
        return sum(self.expected_by(youngest_s + (point + 0.5) * step_s) for point in range(_POINTS)) / _POINTS


def delay_curves(monitor: Monitor, windows: Sequence[WindowLabels], now_s: float) -> dict[str, DelayCurve]:
    """The delays of all rows and of each segment in ``windows``, where they are known: by segment.

    A segment has a curve of its own once its windows older than ``labels.maturity`` have :data:`MINIMUM_LABELS`;
    before, that of all rows. Without any window of that age nothing is known of long delays, and no curve is given.
    """
    mature_s = monitor.labels.maturity
    seen: dict[str, list[LabelledWindow]] = {ALL_ROWS: []}
    for window in windows:
        seen.setdefault(window.segment, []).append(LabelledWindow(now_s - window.end_s, window.delays))
    whole = DelayCurve.of(seen[ALL_ROWS])
    curves = {}
    for segment, each in seen.items():
        known = sum(sum(window.delays.values()) for window in each if window.age_s >= mature_s)
        curve = whole if segment == ALL_ROWS or known < MINIMUM_LABELS else DelayCurve.of(each)
        if curve.oldest_s >= mature_s:
            curves[segment] = curve
    return curves


def label_states(monitor: Monitor, windows: Sequence[WindowLabels], now_s: float) -> list[LabelState]:
    """How complete each window's labels are, by the delays that all ``windows`` of its segment show together.

    A window is mature by age (``labels.maturity``), or earlier once ``labels.mature_share`` of its expected labels
    have come, or should have by the delays seen so far (:func:`delay_curves`). Where it is known how soon
    labels come that say "right" and that say "wrong", as many of either should have come.
    """
    spec = monitor.labels
    curves = delay_curves(monitor, windows, now_s)
    outcomes = _outcome_curves(monitor, windows, now_s)
    states = []
    for window in windows:
        age_s = now_s - window.end_s
        expected = window.rows * spec.expected_share
        coverage = min(1.0, window.labelled / expected) if expected else 0.0
        maturity = 1.0 if age_s >= spec.maturity else None
        if maturity is None and window.segment in curves:
            maturity = curves[window.segment].expected_in_window(age_s, window.end_s - window.start_s)
        enough = coverage >= spec.mature_share or (maturity is not None and maturity >= spec.mature_share)
        by_outcome = None
        if outcomes is not None and 0.0 <= age_s < spec.maturity:
            by_outcome = outcomes.at(age_s, window.end_s - window.start_s)
            enough = enough and min(by_outcome.right, by_outcome.wrong) >= spec.mature_share
        states.append(LabelState(window, expected, coverage, maturity, enough and age_s >= 0.0, by_outcome))
    return states


@dataclass(frozen=True, slots=True)
class _OutcomeCurves:
    """Delays of labels that say "right" and of those that say "wrong", and how many of each they are known from."""

    right: DelayCurve
    wrong: DelayCurve
    rights: int
    wrongs: int

    def at(self, age_s: float, size_s: float) -> OutcomeMaturity:
        right, wrong = (curve.expected_in_window(age_s, size_s) for curve in (self.right, self.wrong))
        return OutcomeMaturity(right, wrong, self.rights, self.wrongs)


def _outcome_curves(monitor: Monitor, windows: Sequence[WindowLabels], now_s: float) -> _OutcomeCurves | None:
    """None while windows older than ``labels.maturity`` have fewer than :data:`MINIMUM_LABELS` of either."""
    whole = [window for window in windows if window.segment == ALL_ROWS]
    old = [window for window in whole if now_s - window.end_s >= monitor.labels.maturity]
    wrongs = sum(sum(window.wrong_delays.values()) for window in old)
    rights = sum(sum(window.delays.values()) for window in old) - wrongs
    if min(rights, wrongs) < MINIMUM_LABELS:
        return None
    right, wrong = [], []
    for window in whole:
        age_s = now_s - window.end_s
        wrong.append(LabelledWindow(age_s, window.wrong_delays))
        right.append(LabelledWindow(age_s, Counter(window.delays) - Counter(window.wrong_delays)))
    return _OutcomeCurves(DelayCurve.of(right), DelayCurve.of(wrong), rights, wrongs)


def history_s(monitor: Monitor) -> float:
    """How far back windows are worth looking at for delays."""
    return 4.0 * monitor.labels.maturity + 2.0 * monitor.windows.size
