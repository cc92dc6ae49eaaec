"""Halves of the events of the collector's helpers, and a collector that pairs them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from collector.batches.loop import Collector
from collector.batches.subjects import SubjectHasher
from collector.sources.joining import Joiner
from collector.store.erased import ErasedBook
from collector.store.store import Store
from driftline import names
from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent
from driftline.halves import Half
from driftline.monitors import Monitor
from driftline.testing import ListSource
from tests.collector.helpers import Parts, batched, decode, event


def halves(number: int, **changes: Any) -> tuple[Half, Half]:
    """Request and answer of the helpers' event of that number, 250 ms apart."""
    whole: InferenceEvent = event(number)
    shared: dict[str, Any] = {
        "id": f"ce-{number}",
        "source": "http://localhost:9081/",
        "request_id": whole.request_id,
        "model": whole.model,
        "model_version": whole.model_version,
        **changes,
    }
    kinds = "org.kubeflow.serving.inference."
    request = Half(kind="request", type=f"{kinds}request", time_ns=whole.time_ns, payload=whole.request, **shared)
    response = Half(
        kind="response", type=f"{kinds}response", time_ns=whole.time_ns + 250_000_000, payload=whole.response, **shared
    )
    return request, response


def decode_any(event: InferenceEvent, monitor: Monitor) -> ColumnBatch:
    """The helpers' decoder, which finds the answers in the request; here a request alone has none."""
    if not event.answer_unknown:
        return decode(event, monitor)
    found = decode(msgspec.structs.replace(event, status_code=200), monitor)
    outputs = {monitor.prediction.column, monitor.prediction.score}
    numeric = {name: values for name, values in found.numeric.items() if name not in outputs}
    return ColumnBatch(found.rows, numeric, {n: values for n, values in found.text.items() if n not in outputs})


def pairing_collector(parts: Parts, source: Any, remember_s: float = 1e9) -> Collector:
    """A collector of ``parts`` as a fresh process would make it, with a joiner."""
    erased = ErasedBook(SubjectHasher().hash)
    return Collector(
        source,
        parts.store,
        batched(decode_any),
        parts.statistics,
        parts.monitors,
        parts.clock,
        parts.settings,
        parts.payloads,
        parts.metrics,
        Joiner(parts.store, parts.monitors, remember_s, erased),
        erased=erased,
    )


def list_collector(parts: Parts, items: Sequence[Any]) -> Collector:
    return pairing_collector(parts, ListSource(items, parts.store.position))


def outcomes(store: Store, metric: names.Metric = names.HALVES) -> Mapping[str, int]:
    """The counter by its outcome, over everything else."""
    found: dict[str, int] = {}
    place = metric.labels.index(names.OUTCOME)
    for (name, labels), value in store.totals().items():
        if name == metric.name:
            found[labels[place]] = found.get(labels[place], 0) + value
    return found


def require_balance(store: Store, waiting: int) -> None:
    """Received is what was paired, unpaired, known, refused or no inference, and what waits."""
    found = dict(outcomes(store))
    found.pop(names.OUTCOME_IGNORED, 0)
    received = found.pop(names.OUTCOME_RECEIVED, 0)
    assert received == sum(found.values()) + waiting, (received, found, waiting)
