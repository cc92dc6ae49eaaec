"""A drafted monitor as a file that a person keeps: every choice with its reason beside it.

What only the person can decide stands there as a comment that becomes part of the file when its mark is taken away.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from detectors.offline.fitness import Weakness
from detectors.offline.outline import Draft
from detectors.statistics.reasons import percent
from driftline.durations import format_duration
from driftline.monitors import ColumnSpec

_WIDTH = 118
_OBJECTIVES = {
    "availability": "answers that are no server errors; what do your users expect?",
    "latency": "answers within the threshold",
    "capture": "inferences that were logged, or left out on purpose",
    "data_quality": "rows within the ranges and lists above",
    "drift": "windows that are not drifted; with 0.9, three drifted days in thirty use up the budget",
    "correctness": "labelled answers that were right",
}
_PERSON = "  # driftline erase finds a person's rows by it"


def outline_text(draft: Draft, weaknesses: Sequence[Weakness] = ()) -> str:
    """The monitor as YAML that reads back to ``draft.monitor``, with comments; ``weaknesses`` of its reference, too."""
    inputs = (_columns(draft), _vectors(draft), _left_out(draft), _segments(draft))
    parts = (_head(draft), *inputs, _comparison(draft), _people(draft), _weak(weaknesses))
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(draft: Draft) -> Iterator[str]:
    monitor, because = draft.monitor, draft.because
    path = "" if monitor.reference is None else monitor.reference.path
    yield from _said(f"Drafted by 'driftline init' from {path}, {draft.rows:,} rows. It works as it is.")
    yield from _said("To make it yours, look at: owner, prediction, windows, what was left out, and the objectives.")
    yield "# All fields: docs/monitor.md, 'driftline schema'. Is the reference fit? 'driftline reference check'."
    yield _field("model", monitor.model) + "  # as in the request path"
    yield _field("namespace", monitor.namespace)
    yield _field("owner", monitor.owner) + "  # who is paged"
    yield ""
    yield from _said(because["task"])
    yield _field("task", monitor.task)
    yield from _said(because["prediction"])
    if "positive" in because:
        yield from _said(because["positive"])
    spec = monitor.prediction
    outputs: dict[str, Any] = {"column": spec.column}
    outputs |= {} if spec.score is None else {"score": spec.score}
    outputs |= {"positive": spec.positive} if monitor.task == "binary" else {}
    yield _field("prediction", outputs)
    if monitor.task == "ranking":
        yield from _said(because["ranking"])
        written = monitor.ranking.model_dump(mode="json", exclude_defaults=True)
        yield _field("ranking", {"query": monitor.ranking.query, "cutoff": monitor.ranking.cutoff} | written)


def _columns(draft: Draft) -> Iterator[str]:
    yield ""
    yield from _said("Inputs. Ranges go a tenth beyond what was seen; values outside count as bad data, not as drift.")
    yield "columns:" if draft.monitor.columns else "columns: []"
    for column in draft.monitor.columns:
        seen = draft.ranges[column.name]
        yield f"  - {_flow(_written(column))}" + (f"  # {seen}" if seen else "")
    for name, use in ((draft.key, "labels.key"), (draft.subject, "subject")):
        if name is not None:
            identity = {"name": name, "type": "categorical", "drift": False}
            yield f"  # - {_flow(identity)}  # for {use} below, if requests carry it"


def _vectors(draft: Draft) -> Iterator[str]:
    if not draft.monitor.vectors:
        return
    yield ""
    yield from _said("Vectors, each watched as a whole; 'from' says where one is, if it is no input of that name.")
    yield "vectors:"
    for vector in draft.monitor.vectors:
        yield f"  - {_flow({'name': vector.name, 'dimension': vector.dimension})}"


def _written(column: ColumnSpec) -> dict[str, Any]:
    fields = column.model_dump(mode="json", exclude_defaults=True)
    ends = {name: int(fields[name]) for name in ("minimum", "maximum") if float(fields.get(name, 0.5)).is_integer()}
    return fields | ends


def _left_out(draft: Draft) -> Iterator[str]:
    watched = {column.name for column in draft.monitor.columns} | {vector.name for vector in draft.monitor.vectors}
    left = {role.name: role.why for role in draft.inputs if role.name not in watched}
    left |= dict.fromkeys(draft.outputs, "a probability of one class, which is an output")
    texts = {role.name for role in draft.inputs if role.role == "text"}
    if not left:
        return
    yield "# Left out:"
    for name, why in left.items():
        yield from _said(f"  {_flow(name)}: {why}")
        if name in texts:
            counted = {"name": f"{name}_characters", "type": "numeric", "from": name, "as": "characters"}
            yield from _said(f"    to watch its length, add it to the file as {counted['name']}, and here:")
            yield f"#     - {_flow(counted)}"


def _segments(draft: Draft) -> Iterator[str]:
    if not draft.segments:
        return
    yield ""
    yield from _said(
        "Each value of these few-valued columns can be watched apart; all share one budget of false alarms."
    )
    yield f"# {_field('segments', list(draft.segments))}"


def _comparison(draft: Draft) -> Iterator[str]:
    monitor, because = draft.monitor, draft.because
    yield ""
    yield _field("reference", {} if monitor.reference is None else monitor.reference.model_dump(exclude_defaults=True))
    yield ""
    yield from _said(because["windows"])
    yield from _said(because["minimum_rows"])
    windows = monitor.windows
    size, lateness = format_duration(windows.size), format_duration(windows.lateness)
    yield _field("windows", {"size": size, "lateness": lateness, "minimum_rows": windows.minimum_rows})
    spec = monitor.detectors
    yield from _said(
        f"Of windows without drift {percent(spec.false_alarm_rate)} may be called drifted. Smaller changes than "
        f"minimum_effect are warnings, however sure they are: the largest difference of the distribution functions, or "
        f"of all shares together. Neighbouring rows that hang together count as one, as many as the reference shows "
        f"('auto'); of one that was shuffled nobody can tell: then write the number."
    )
    named = ("false_alarm_rate", "minimum_effect", "rows_together")
    yield _field("detectors", {name: getattr(spec, name) for name in named})
    if draft.times is not None:
        yield from _said(
            f"Try it on what has been: driftline backtest THIS_FILE --files ROWS --time {_flow(draft.times.column)}"
        )


def _people(draft: Draft) -> Iterator[str]:
    labels = draft.monitor.labels
    delay, maturity = format_duration(labels.expected_delay), format_duration(labels.maturity)
    yield ""
    yield from _said("Guesses: by expected_delay most labels have come, from maturity on accuracy counts as final.")
    yield "labels:"
    yield f"  expected_delay: {delay}"
    yield f"  maturity: {maturity}"
    if draft.key is not None:
        yield f"  # {_field('key', draft.key)}  # labels may name predictions by it"
    if draft.subject is not None:
        yield f"# {_field('subject', {'column': draft.subject})}{_PERSON}"
    yield ""
    yield "slos:"
    yield f"  period: {format_duration(draft.monitor.slos.period)}"
    yield "  objectives:"
    for slo in draft.monitor.slos.objectives:
        written = {"kind": slo.kind, **slo.model_dump(mode="json", exclude_defaults=True)}
        if slo.kind == "latency":
            written["threshold"] = format_duration(slo.threshold)
        yield f"    - {_flow(written)}  # {_OBJECTIVES[slo.kind]}"
    if "correctness" in draft.because:
        yield from _said(draft.because["correctness"], indent="    ")


def _weak(weaknesses: Sequence[Weakness]) -> Iterator[str]:
    if not weaknesses:
        return
    yield ""
    yield "# What 'driftline reference check' says of the reference:"
    for each in weaknesses:
        yield from _said(f"  {each.column or 'all columns'}: {each.what}. {each.advice[:1].upper()}{each.advice[1:]}.")


def _said(text: str, indent: str = "") -> list[str]:
    """Comment lines; what does not print, in a name say, cannot end the comment."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    mark = f"{indent}# {' ' * (len(plain) - len(plain.lstrip()))}"
    return textwrap.wrap(plain.strip(), _WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False)


def _field(name: str, value: object) -> str:
    return f"{name}: {_flow(value)}"


def _flow(value: object) -> str:
    """A value on one line, as YAML reads it back."""
    text = yaml.dump(
        [value], Dumper=_OneLine, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9
    )
    return str(text).strip()[1:-1]


class _OneLine(yaml.SafeDumper):
    """Writes texts with line ends in double quotes, where they are escaped."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_OneLine.add_representer(str, _text)
