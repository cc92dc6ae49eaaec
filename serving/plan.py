"""A monitor as the decoder goes by it: what is taken by name, what from a place, what is looked for in each half."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from driftline.monitors import Monitor
from driftline.payload_paths import EVERY, PayloadPath, parse_path
from serving.codecs.reading import Wanted

NUMERIC, CATEGORICAL, VECTOR = "numeric", "categorical", "vector"


@dataclass(frozen=True, slots=True)
class Target:
    """A column with a source or a feature of its own, or a vector. ``path`` None: the field of its name, in ``half``.

    ``dimension``: of a vector.
    """

    name: str
    kind: str
    feature: str | None
    half: str
    path: PayloadPath | None
    dimension: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a monitor asks of a payload.

    ``inputs``: columns that are fields or tensors of their own names, with their kinds. ``held``: tensors with several
    values per row, and the columns of these. ``targets``: columns with a source or a feature of their own, and vectors.
    ``finds_prediction``, ``finds_score``: whether they are outputs of their own names (or the only one).
    """

    inputs: dict[str, str]
    held: dict[str, tuple[str, ...]]
    kinds: dict[str, str]
    targets: tuple[Target, ...]
    request: Wanted
    response: Wanted
    prediction: str
    prediction_kind: str
    score: str | None
    finds_prediction: bool
    finds_score: bool


class _Same:
    """A monitor that is equal to itself only: to compare two of them takes longer than to make a plan."""

    __slots__ = ("monitor",)

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def __hash__(self) -> int:
        return id(self.monitor)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.monitor is self.monitor


def plan_of(monitor: Monitor) -> Plan:
    """The plan of a monitor; made once for each of the monitors that are in use."""
    return _plan(_Same(monitor))


@functools.lru_cache(maxsize=256)
def _plan(same: _Same) -> Plan:
    monitor = same.monitor
    kinds = {column.name: str(column.type) for column in monitor.columns}
    held = {name for names in monitor.tensors.values() for name in names}
    targets = tuple(_targets(monitor))
    own = {target.name for target in targets}
    inputs = {name: kind for name, kind in kinds.items() if name not in held and name not in own}
    prediction = monitor.prediction
    outputs = [name for name in (prediction.column, prediction.score) if name is not None and name not in own]
    paths = [(target.half, target.path) for target in targets]
    asked = [*inputs, *monitor.tensors, *_looked_for(targets, "request")]
    answered = [*outputs, *_looked_for(targets, "response")]
    return Plan(
        inputs=inputs,
        held=dict(monitor.tensors),
        kinds=kinds,
        targets=targets,
        request=Wanted(
            names=dict.fromkeys(asked),
            raw_datatype=monitor.raw_datatype,
            width=max(len(inputs), 1),
            paths=any(half == "request" and path is not None for half, path in paths),
        ),
        response=Wanted(
            names=dict.fromkeys(answered),
            width=max(len(outputs), 1),
            positive=prediction.positive,
            paths=any(half == "response" and path is not None for half, path in paths),
        ),
        prediction=prediction.column,
        prediction_kind=NUMERIC if monitor.predicts_numbers else CATEGORICAL,
        score=prediction.score,
        finds_prediction=prediction.column not in own,
        finds_score=prediction.score is not None and prediction.score not in own,
    )


def names_of(path: PayloadPath) -> Iterator[tuple[str, int]]:
    """The names that a tensor may have for a path to begin with it, longest first, and how many steps each takes."""
    steps = path.steps
    length = next((place for place, step in enumerate(steps) if isinstance(step, int) or step == EVERY), len(steps))
    for taken in range(length, 0, -1):
        yield ".".join(map(str, steps[:taken])), taken


def _targets(monitor: Monitor) -> Iterator[Target]:
    for column in monitor.columns:
        if column.source is not None or column.feature is not None:
            path = None if column.source is None else parse_path(column.source)
            yield Target(column.name, column.type, column.feature, "request" if path is None else path.half, path)
    for vector in monitor.vectors:
        path = None if vector.source is None else parse_path(vector.source)
        half = "request" if path is None else path.half
        yield Target(vector.name, VECTOR, None, half, path, vector.dimension)
    prediction = monitor.prediction
    kind = NUMERIC if monitor.predicts_numbers else CATEGORICAL
    if prediction.source is not None or prediction.feature is not None:
        path = None if prediction.source is None else parse_path(prediction.source, "response")
        half = "response" if path is None else path.half
        yield Target(prediction.column, kind, prediction.feature, half, path)
    if prediction.score is not None and prediction.score_from is not None:
        path = parse_path(prediction.score_from, "response")
        yield Target(prediction.score, NUMERIC, None, path.half, path)


def _looked_for(targets: Iterable[Target], half: str) -> Iterator[str]:
    for target in targets:
        if target.half == half:
            if target.path is None:
                yield target.name
            else:
                yield from (name for name, _ in names_of(target.path))
