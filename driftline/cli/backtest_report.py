"""What a backtest found, for people and for programs: text, Markdown, HTML, JSON."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from dashboards.words import several
from detectors.statistics.reasons import percent
from driftline import names
from driftline.cli.backtest_incidents import Fired, Incident
from driftline.cli.backtesting import Backtest, Outcome, Part, Share
from driftline.durations import format_duration
from driftline.results import Verdict

#: Incidents, their alerts and windows that the readable forms list; JSON has all.
_LISTED = 40
_SEVERITIES = (names.SEVERITY_PAGE, names.SEVERITY_TICKET)


def as_text(found: Backtest) -> str:
    """For a terminal."""
    return as_markdown(found).replace("## ", "").replace("# ", "").replace("**", "").replace("`", "")


def as_markdown(found: Backtest) -> str:
    """For a ticket or a chat."""
    lines = [f"# Backtest of {found.name}", "", f"From {found.source}. {_changes(found)}", ""]
    for outcome in found.outcomes:
        lines += [f"## {outcome.title.capitalize()}", "", *_outcome(outcome), ""]
    lines += [f"- {caveat}" for caveat in found.caveats]
    return "\n".join(lines).rstrip() + "\n"


def as_html(found: Backtest) -> str:
    """One file, with no script and no address in it."""
    blocks: list[str] = []
    for line in as_markdown(found).splitlines():
        level = len(line) - len(line.lstrip("#"))
        text = escape(line.lstrip("# ").removeprefix("- ").strip()).replace("`", "")
        if level:
            blocks.append(f"<h{level}>{text}</h{level}>")
        elif line.startswith(("- ", "  - ")):
            blocks.append(f'<p class="{"item" if line.startswith("- ") else "inner"}">{_bold(text)}</p>')
        elif text:
            blocks.append(f"<p>{_bold(text)}</p>")
    title = f"<title>Backtest of {escape(found.name)}</title>"
    head = f"<!doctype html>\n<html lang=en><meta charset=utf-8>{title}{_STYLE}\n"
    return head + "\n".join(blocks) + "\n</html>\n"


def as_json(found: Backtest) -> str:
    """For other programs."""
    plan = found.plan
    data = {
        "monitor": found.name,
        "source": found.source,
        "changed_at_s": None if math.isinf(plan.quiet_until_s) else plan.quiet_until_s,
        "injected": [injection.told for injection in plan.injections],
        "outcomes": [_data(outcome) for outcome in found.outcomes],
        "caveats": list(found.caveats),
    }
    return json.dumps(data, indent=2) + "\n"


def _changes(found: Backtest) -> str:
    injected = "; ".join(injection.told for injection in found.plan.injections)
    if injected:
        return f"Put into it: {injected}."
    if found.plan.changed_at_s is not None:
        return f"Known to have changed at {moment(found.plan.changed_at_s)}."
    return "Nothing is known to have changed, so every drifted window counts as a false alarm."


def _outcome(outcome: Outcome) -> Iterator[str]:
    windows = outcome.windows
    counts = ", ".join(
        f"{count} {verdict.value.replace('_', ' ')}"
        for verdict in Verdict
        if (count := sum(window.verdict is verdict for window in windows))
    )
    span = f", {moment(windows[0].key.start_s)} to {moment(windows[-1].key.end_s)}" if windows else ""
    yield f"{len(windows)} windows of {format_duration(outcome.monitor.windows.size)}{span}: {counts}."
    yield ""
    yield f"**{_sent(outcome.incidents) or 'Nobody would have been told anything.'}**"
    yield ""
    for incident in outcome.incidents[:_LISTED]:
        yield from _incident(incident)
    if len(outcome.incidents) > _LISTED:
        yield f"- and {len(outcome.incidents) - _LISTED} more"
    yield from _accuracy(outcome)
    yield from _estimates(outcome)


def _sent(incidents: Sequence[Incident]) -> str:
    """How many pages and tickets, each of one incident; empty where there are none."""
    if not incidents:
        return ""
    alerts = several(sum(len(incident.alerts) for incident in incidents), "alert")
    each = ", one per incident" if len(incidents) > 1 else ""
    return f"{_counted(incidents)} would have been sent{each}, of {alerts}."


def _counted(incidents: Sequence[Incident]) -> str:
    severities = [incident.severity for incident in incidents]
    return " and ".join(several(severities.count(each), each) for each in _SEVERITIES if each in severities)


def _incident(incident: Incident) -> Iterator[str]:
    """A page with all of its alerts, and on what evidence."""
    began = f"{moment(incident.starts_at_s)} {incident.alerts[0].severity}"
    if incident.severity != incident.alerts[0].severity:
        began += f", {incident.severity} from {moment(incident.lead.alert.starts_at_s)}"
    delay = "" if incident.delay_s is None else f", {_long(incident.delay_s)} after the change"
    again = f", fired {incident.times} times" if incident.times > 1 else ""
    told = f"{began}{delay}, {_until(incident.ended_at_s)}{again}"
    yield f"- {told}: {incident.lead.alert.annotations['summary']}"
    if len(incident.alerts) > 1:
        yield from (_alert(fired) for fired in incident.alerts[:_LISTED])
    if len(incident.alerts) > _LISTED:
        yield f"  - and {len(incident.alerts) - _LISTED} alerts more"
    yield from (f"  - {reason}" for reason in incident.evidence)


def _alert(fired: Fired) -> str:
    labels = fired.alert.labels
    name = f"{fired.severity} ({labels[names.SLO]} over {labels[names.WINDOW]})"
    return f"  - {moment(fired.alert.starts_at_s)} {name}, {_until(fired.ended_at_s)}"


def _until(ended_at_s: float | None) -> str:
    return "still on at the end" if ended_at_s is None else f"until {moment(ended_at_s)}"


def _accuracy(outcome: Outcome) -> Iterator[str]:
    """Alarms of the sequential test of accuracy, with the latest time at which each would have been known."""
    spec, labels = outcome.monitor.detectors.accuracy, outcome.monitor.labels
    if spec.test is None:
        return
    fell = [window for window in outcome.windows if window.accuracy_fell is not None]
    told = f"the sequential test of accuracy would have alarmed {several(len(fell), 'time')}"
    yield f"- Accuracy: {told}; without a loss at most {spec.false_pages} is expected."
    for window in fell[:_LISTED]:
        known = moment(window.key.end_s + labels.maturity)
        reason = "" if window.accuracy_fell is None else window.accuracy_fell.reason
        yield f"  - window of {moment(window.key.start_s)}, known by {known}: {reason}"


def _estimates(outcome: Outcome) -> Iterator[str]:
    budget = outcome.monitor.detectors.false_alarm_rate
    if outcome.quiet.windows:
        sent = _counted(outcome.quiet_incidents)
        began = f"{sent} began in that time" if sent else "no page or ticket began in that time"
        told = f"{_share(outcome.quiet)} of the quiet windows drifted"
        yield f"- False alarms: {told}; {_beside(outcome.quiet, budget)}; {began}."
    if outcome.by_chance.windows:
        told = f"{_share(outcome.by_chance)} of windows drawn from the reference drifted"
        yield f"- By chance alone: {told}; {_beside(outcome.by_chance, budget)}."
    if outcome.found is not None:
        first = outcome.first_drifted_s
        after = "" if first is None else f"; the first was known {_long(first)} after it"
        yield f"- Power: {_share(outcome.found)} of the windows after the change drifted{after}."
        yield f"- Delay: {_delay(outcome)}."
    yield from _sequential(outcome)
    if outcome.before.right.windows or (outcome.after is not None and outcome.after.right.windows):
        yield f"- Accuracy: {_sides(outcome.before, outcome.after, lambda part: _right(part.right))}."
    moved = [each for each in outcome.segments if each.before.drifted.hits or (each.after and each.after.drifted.hits)]
    for segment in moved[:_LISTED]:
        yield f"- Segment {segment.name}: {_sides(segment.before, segment.after, _segment)}."
    if outcome.segments and not moved:
        yield f"- Segments: no window of any of {len(outcome.segments)} drifted."


def _sequential(outcome: Outcome) -> Iterator[str]:
    spec = outcome.monitor.detectors.online
    if not spec.tests:
        return
    expected = spec.pages * outcome.before.seconds / spec.period_s
    told = _sides(outcome.before, outcome.after, lambda part: f"{part.alarms} alarm{'s' * (part.alarms != 1)} began")
    yield f"- Over all windows (`{spec.tests[0]}`): {told}; at most {expected:.2g} are expected while nothing changes."


def _sides(before: Part, after: Part | None, tell: Callable[[Part], str]) -> str:
    """Both sides of the change, or all where none is known."""
    return tell(before) if after is None else f"{tell(before)} before the change, {tell(after)} after it"


def _right(share: Share) -> str:
    if not share.windows:
        return "no labels"
    interval = share.interval
    return (
        f"{percent(interval.value)} ({percent(interval.lower)} to {percent(interval.upper)}) of {share.windows} labels"
    )


def _segment(part: Part) -> str:
    drifted = f"{part.drifted.hits} of {part.drifted.windows} windows drifted"
    return f"{drifted}, right {_right(part.right)}" if part.right.windows else drifted


def _delay(outcome: Outcome) -> str:
    """To the first alert after the change, and to the first that wakes somebody."""
    after = [(incident, fired) for incident in outcome.incidents for fired in incident.alerts]
    after = sorted((each for each in after if each[1].delay_s is not None), key=lambda each: each[1].alert.starts_at_s)
    if not after:
        return "nobody was told after the change"
    incident, first = after[0]
    told = f"somebody was told {_after(first)}"
    if incident.delay_s is None:
        told += ", in an incident that was open before"
    woken = next((fired for _, fired in after if fired.severity == names.SEVERITY_PAGE), None)
    if woken is None:
        return f"{told}; nobody was paged"
    return told if woken == first else f"{told}, and paged {_after(woken)}"


def _after(fired: Fired) -> str:
    return f"{_long(fired.delay_s or 0.0)} after the change ({fired.severity}, {fired.alert.labels[names.SLO]})"


def _beside(share: Share, budget: float) -> str:
    told = f"the budget is {percent(budget)}"
    if share.interval.lower > budget:
        return f"{told}, which is exceeded"
    return f"{told}, which is kept" if share.interval.upper <= budget else f"{told}, which so few cannot tell apart"


def _share(share: Share) -> str:
    interval = share.interval
    ends = f"{percent(interval.lower)} to {percent(interval.upper)}"
    return f"{share.hits} of {share.windows} ({percent(interval.value)}, {ends})"


def _long(seconds: float) -> str:
    """A duration in whole minutes, or as it is below one."""
    return format_duration(seconds if seconds < 60.0 else round(seconds / 60.0) * 60.0)


def moment(time_s: float) -> str:
    """A time in UTC, to the minute."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M")


def _bold(text: str) -> str:
    return f"<strong>{text.strip('*')}</strong>" if text.startswith("**") else text


_STYLE = (
    "<style>body{font:16px/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    ".item{margin:.3rem 0 .3rem 1rem}.inner{margin:0 0 0 2.5rem;color:#555}</style>"
)


def _data(outcome: Outcome) -> dict[str, Any]:
    return {
        "title": outcome.title,
        "windows": [
            {
                "stream": [key.stream.version, key.stream.variant],
                "start_s": key.start_s,
                "end_s": key.end_s,
                "rows": window.rows,
                "verdict": window.verdict.value,
                "drifted": {
                    result.column: {"effect": result.effect.value if result.effect else None, "reason": result.reason}
                    for result in window.drifted
                },
                "judged": window.judged,
                "correct": window.correct,
                "accuracy_fell": None if window.accuracy_fell is None else window.accuracy_fell.reason,
            }
            for window in outcome.windows
            for key in (window.key,)
        ],
        "incidents": [_incident_data(incident) for incident in outcome.incidents],
        "false_alarm_budget": outcome.monitor.detectors.false_alarm_rate,
        "quiet": _share_data(outcome.quiet),
        "by_chance": _share_data(outcome.by_chance),
        "found": None if outcome.found is None else _share_data(outcome.found),
        "first_drifted_s": outcome.first_drifted_s,
        "incidents_while_quiet": {
            severity: sum(incident.severity == severity for incident in outcome.quiet_incidents)
            for severity in _SEVERITIES
        },
        "before": _part_data(outcome.before),
        "after": None if outcome.after is None else _part_data(outcome.after),
        "segments": {
            each.name: {
                "before": _part_data(each.before),
                "after": None if each.after is None else _part_data(each.after),
            }
            for each in outcome.segments
        },
    }


def _incident_data(incident: Incident) -> dict[str, Any]:
    return {
        "severity": incident.severity,
        "starts_at_s": incident.starts_at_s,
        "ended_at_s": incident.ended_at_s,
        "delay_s": incident.delay_s,
        "times": incident.times,
        "summary": incident.lead.alert.annotations["summary"],
        "alerts": [
            {
                "severity": fired.severity,
                "objective": fired.alert.labels[names.SLO],
                "window": fired.alert.labels[names.WINDOW],
                "starts_at_s": fired.alert.starts_at_s,
                "ended_at_s": fired.ended_at_s,
                "delay_s": fired.delay_s,
                "summary": fired.alert.annotations["summary"],
                "evidence": list(fired.evidence),
            }
            for fired in incident.alerts
        ],
    }


def _part_data(part: Part) -> dict[str, Any]:
    return {
        "drifted": part.drifted.hits,
        "windows": part.drifted.windows,
        "correct": part.right.hits,
        "judged": part.right.windows,
        "sequential_alarms": part.alarms,
        "seconds": part.seconds,
    }


def _share_data(share: Share) -> dict[str, float]:
    interval = share.interval
    return {
        "drifted": share.hits,
        "windows": share.windows,
        "share": interval.value,
        "lower": interval.lower,
        "upper": interval.upper,
    }


FORMS: Mapping[str, Callable[[Backtest], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "html": as_html,
    "json": as_json,
}
