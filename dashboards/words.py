"""Numbers, times and verdicts in plain words."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from dashboards.history import History, Measure, WindowView
from dashboards.incidents import severity_of
from driftline.maturity import quantile_s
from driftline.names import SEVERITY_PAGE, SEVERITY_TICKET
from driftline.results import HEAVY_TAILS, Alert, LabelState, Page, StreamKey, Verdict

VERDICT_WORDS = {
    Verdict.OK: "ok",
    Verdict.WARNING: "warning",
    Verdict.DRIFTED: "drifted",
    Verdict.NOT_ENOUGH_EVIDENCE: "not enough evidence",
}
#: Measures that are shown as percentages.
_SHARES = frozenset(
    (
        "accuracy",
        "auc",
        "balanced_accuracy",
        "f1",
        "hit_rate",
        "label_shift",
        "nothing_relevant_rate",
        "precision",
        "recall",
    )
)
_CHANGES_OF_SHARES = "accuracy_change_"
_NAMES_OF_PEOPLE = frozenset({"brier"})
_CAPITALS = frozenset({"auc", "mae", "rmse", "mape", "f1", "r2", "ndcg", "mrr", "map"})


def count(number: float) -> str:
    """A whole number with thin groups: ``12 345``."""
    return f"{round(number):,}".replace(",", "\u202f")


def share(value: float | None, digits: int = 1) -> str:
    """A share as a percentage: ``85.3 %``; a dash when there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value * 100:.{digits}f}\u202f%"


def number(value: float | None, digits: int = 3) -> str:
    """A number with as many digits as help; a dash when there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and abs(value) < 10**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}" if abs(value) < 1000 else count(value)


def effect(value: float | None) -> str:
    """An effect size, from 0 (nothing moved) to 1 (all did), to a hundredth.

    >>> effect(0.876), effect(0.0068), effect(None)
    ('0.88', '0.01', '–')
    """
    return "–" if value is None else f"{value:.2f}"


def headline(summary: str) -> tuple[str, str]:
    """A page's sentence as a heading, which says what is wrong, and the rest of it.

    >>> headline("m: 9 % of answers were server errors; firing since 1 Dec 00:00 UTC.")
    ('m: 9 % of answers were server errors', 'Firing since 1 Dec 00:00 UTC.')
    """
    what, _, rest = summary.partition("; ")
    return what, rest[:1].upper() + rest[1:]


def follow_ups(page: Page) -> str:
    """How many alerts joined a page's first: ``1 follow-up``."""
    return several(len(page.follow_ups), "follow-up")


def several(number: int, what: str) -> str:
    """So many of something, in the number that it takes.

    >>> several(1, "page"), several(2, "page")
    ('1 page', '2 pages')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def metric_name(name: str) -> str:
    """``accuracy`` as people write it; AUC, MAE and the like in capitals."""
    return name.upper() if name.partition("@")[0] in _CAPITALS else name.replace("_", " ").capitalize()


def metric_label(name: str) -> str:
    """The same as the heading of a figure: ``accuracy``, and ``AUC`` as it is.

    >>> metric_label("accuracy_change_label"), metric_label("ndcg@10"), metric_label("brier")
    ('accuracy change label', 'NDCG@10', 'Brier')
    """
    told = metric_name(name)
    return told if told.isupper() or name in _NAMES_OF_PEOPLE else told.lower()


def metric_value(name: str, value: float | None) -> str:
    """A metric in its natural unit: shares as percentages, changes of a share as percentage points.

    >>> metric_value("accuracy", 0.603), metric_value("accuracy_change_label", -0.104), metric_value("rmse", 4.2)
    ('60.3\u202f%', '-10.4 points', '4.200')
    """
    if name.startswith(_CHANGES_OF_SHARES) and value is not None and math.isfinite(value):
        return f"{value * 100:+.1f} points"
    return share(value) if is_share(name) else number(value)


def is_share(name: str) -> bool:
    """Whether the metric lies between 0 and 1 and is told as a percentage."""
    return name.removeprefix("estimated_").removeprefix("corrected_").partition("[")[0].partition("@")[0] in _SHARES


def measure(found: Measure) -> str:
    """A measure with its interval and coverage: ``84.1 % (82.0 to 86.0 %)``."""
    text = metric_value(found.name, found.value)
    if found.interval is not None:
        low, high = metric_value(found.name, found.interval.lower), metric_value(found.name, found.interval.upper)
        return f"{text} ({low} to {high})"
    return f"{text} (no interval)"


def date(seconds: float) -> str:
    """``2013-12-05`` in UTC, with the hour where it is not midnight."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%d" if moment.hour == moment.minute == moment.second == 0 else "%Y-%m-%d %H:%M")


def moment(seconds: float) -> str:
    """``5 Dec 2013, 14:03 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%-d %b %Y, %H:%M UTC")


def days(start_s: float, end_s: float) -> str:
    """What a row of windows spans; the day on which it ends is its last one: ``2013-11-23 to 2013-11-30``."""
    at_midnight = end_s % 86400 == 0 and end_s - start_s > 86400
    return f"{date(start_s)} to {date(end_s - 86400 if at_midnight else end_s)}"


def span(start_s: float, end_s: float) -> str:
    """A window: its day, or its start and end."""
    if end_s - start_s == 86400 and start_s % 86400 == 0:
        return datetime.fromtimestamp(start_s, UTC).strftime("%a %-d %b %Y")
    return f"{date(start_s)} to {date(end_s)}"


def age(seconds: float) -> str:
    """``3 minutes``, ``2 days``; below two seconds ``a moment``."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        amount = int(seconds // size)
        if amount >= 2 or (amount == 1 and unit != "second"):
            return f"{amount} {unit}{'s' if amount != 1 else ''}"
    return "a moment"


def stream_name(stream: StreamKey) -> str:
    """``default/flights v1 (canary)``; version and variant only where they say something."""
    version = f" {stream.version}" if stream.version else ""
    variant = f" ({stream.variant})" if stream.variant != "stable" else ""
    return f"{stream.namespace}/{stream.model}{version}{variant}"


def listed(names: list[str], limit: int = 3) -> str:
    """``a, b and c``, ``a, b, c and 4 more``."""
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def window_sentence(window: WindowView) -> str:
    """What the window means, in a sentence."""
    when = span(window.key.start_s, window.key.end_s)
    drifted = [finding.column for finding in window.drifted]
    if window.verdict is Verdict.DRIFTED and drifted:
        columns = "column" if len(drifted) == 1 else "columns"
        return f"{len(drifted)} {columns} drifted on {when}: {listed(drifted)}."
    if window.verdict is Verdict.WARNING:
        return f"Some columns moved on {when}, less than the margin that matters."
    if window.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        return f"Too little evidence on {when}: {window.lacking or f'{count(window.rows)} rows'}."
    return f"Nothing that matters moved on {when}."


def newest_sentence(history: History) -> str:
    """What the newest window means; of one with too few rows, what the last one meant that had enough."""
    newest, judged = history.newest, history.newest_judged
    if newest is None:
        return "No window has closed yet."
    if judged is None or judged is newest:
        return window_sentence(newest)
    return f"{window_sentence(newest)} Before: {window_sentence(judged)}"


def history_sentence(history: History) -> str:
    """What all windows together mean, in a sentence."""
    if not history.windows:
        return "No window has been evaluated yet."
    if len(history.windows) == 1:
        return _one_window(history.windows[0])
    drifted = [window for window in history.windows if window.verdict is Verdict.DRIFTED]
    first, last = history.windows[0].key.start_s, history.windows[-1].key.end_s
    period = f"from {days(first, last)}"
    judged = [window for window in history.windows if window.verdict is not Verdict.NOT_ENOUGH_EVIDENCE]
    if not judged:
        why = history.windows[-1].lacking
        return f"Not enough evidence to judge any of {len(history.windows)} windows {period}{': ' if why else ''}{why}."
    if not drifted:
        return f"None of {len(history.windows)} windows {period} drifted."
    return f"{len(drifted)} of {len(history.windows)} windows {period} drifted; {_how_it_stands(history)}."


def _how_it_stands(history: History) -> str:
    since = history.drifted_since_s()
    if since is not None:
        return f"the drift has lasted since {date(since)}"
    if history.newest is not history.newest_judged:
        return "the newest window is not enough to say whether it goes on"
    return "the newest window is not among them"


def _one_window(window: WindowView) -> str:
    one = window.rows == 1
    rows = "one row" if one else f"{count(window.rows)} rows"
    when = f"The {rows} of {span(window.key.start_s, window.key.end_s)}"
    if window.verdict is Verdict.DRIFTED:
        return f"{when} drifted in {len(window.drifted)} of {len(window.columns)} columns."
    if window.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        return f"{when} cannot be judged{': ' if window.lacking else ''}{window.lacking}."
    return f"{when} {'has' if one else 'have'} not drifted."


def open_incidents(pages: Sequence[Page]) -> str:
    """What is open, by what it asks for: ``1 open page, 2 open tickets``; an alert of another severity is an alert."""
    severities = [severity_of(page) for page in pages]
    counts = {kind: severities.count(kind) for kind in (SEVERITY_PAGE, SEVERITY_TICKET)}
    counts["alert"] = len(severities) - sum(counts.values())
    return ", ".join(several(number, f"open {kind}") for kind, number in counts.items() if number)


def alert_name(alert: Alert) -> str:
    """The alert's own name."""
    return alert.labels.get("alertname", "alert")


def coverage(found: Measure) -> str:
    """How much of the window the measure stands on, and whether its interval is to be trusted less."""
    doubt = f"; {HEAVY_TAILS}" if found.result.heavy_tails else ""
    if found.coverage is None:
        return f"{count(found.labelled)} labels{doubt}"
    return f"{share(found.coverage, 0)} of the window labelled{doubt}"


def labels_in_short(state: LabelState) -> str:
    """``92 % in, final``, ``46 % in, 62 % due``."""
    if state.mature:
        return f"{share(state.coverage, 0)} in, final"
    due = "" if state.maturity is None else f", {share(state.maturity, 0)} due"
    return f"{share(state.coverage, 0)} in{due}"


def label_delays(state: LabelState) -> str:
    """How long labels took: ``half within 40 min, nineteen of twenty within 3 h``; empty without any."""
    half, most = (quantile_s(state.window.delays, share) for share in (0.5, 0.95))
    return "" if half is None or most is None else f"half within {age(half)}, nineteen of twenty within {age(most)}"


def label_state(state: LabelState) -> str:
    """Whether accuracy is final, in a few words."""
    if state.mature:
        return "of the expected labels are in; accuracy is final"
    if state.maturity is None:
        return "of the expected labels are in; accuracy is provisional"
    return f"of the expected labels are in, {share(state.maturity, 0)} should be by now; accuracy is provisional"
