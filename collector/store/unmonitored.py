"""Models that send, and that no monitor describes: told apart by name in what is counted, up to a bound.

Anybody can send any name, and metrics must stay bounded: the first ``maximum`` names are counted as themselves,
whatever comes after them as ``unknown``. What was counted once is known again after a restart, and to other collectors.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec
from sqlalchemy import Connection, select

from collector.store import schema
from collector.store.database import clean
from driftline import names
from driftline.monitors import Monitor

#: Stands for namespaces and models beyond the bound, and for those that nobody knows.
UNKNOWN = "unknown"
_NOBODY = (UNKNOWN, UNKNOWN)
_LONGEST_NAME = 100


class UnmonitoredModels:
    """Under which namespace and model something is counted that no monitor describes."""

    def __init__(
        self,
        maximum: int,
        monitored: Collection[tuple[str, str]],
        counted: Callable[[], Iterable[tuple[str, str]]] = tuple,
    ) -> None:
        """``counted``: asked once, at the first such model, for those that were counted before; may raise."""
        self._maximum = maximum
        self._monitored = monitored
        self._counted = counted
        self._known: set[tuple[str, str]] | None = None

    def named(self, namespace: str, model: str) -> tuple[str, str]:
        """Namespace and model as they are counted. Raises TransientError while the store cannot be asked."""
        if not model or model == UNKNOWN:
            return _NOBODY
        if self._known is None:
            self._known = set(self._counted()) - {_NOBODY}
        found = (clean(namespace)[:_LONGEST_NAME] or UNKNOWN, clean(model)[:_LONGEST_NAME])
        if found in self._monitored or found in self._known:
            return found
        if len(self._known - set(self._monitored)) >= self._maximum:
            return _NOBODY
        self._known.add(found)
        return found


def counted_models(connection: Connection) -> set[tuple[str, str]]:
    """Every namespace and model that events or labels were counted under."""
    table = schema.totals.c
    metrics = (names.COLLECTOR_EVENTS.name, names.LABELS.name)
    found = connection.execute(select(table.labels).where(table.metric.in_(metrics)).distinct())
    spelt = (msgspec.json.decode(labels, type=tuple[str, ...]) for (labels,) in found)
    return {(namespace, model) for namespace, model, *_ in spelt}


def unmonitored_models(
    maximum: int,
    monitors: Mapping[str, Monitor],
    read: Callable[[Callable[[Connection], set[tuple[str, str]]]], set[tuple[str, str]]],
) -> UnmonitoredModels:
    """The models that the monitors do not describe; ``read`` asks the store which it has counted so far."""
    monitored = {(monitor.namespace, monitor.model) for monitor in monitors.values()}
    return UnmonitoredModels(maximum, monitored, lambda: read(counted_models))
