"""Rows, labels and delays per window and segment, as whole numbers that writers add to."""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection, func, select

from collector.store import schema
from collector.store.bulk import Upsert, UpsertForm
from collector.store.transaction import WindowRef
from driftline.results import StreamKey, WindowLabels

ROWS = "rows"
LABELLED = "labelled"
#: Followed by the number of a class of delay, see ``driftline.maturity``.
DELAY = "delay/"
#: The same for those labels that say that their predictions were wrong.
WRONG_DELAY = "wrong_delay/"

#: Between the kind and the segment that it counts; what is of all rows has neither.
_OF_SEGMENT = "|"

#: (window of a segment, kind) -> count.
WindowCounts = Counter[tuple[WindowRef, str]]


_COUNTS = UpsertForm(
    schema.window_counts,
    ("stream_id", "start_s", "end_s", "partition", "kind", "value"),
    (("value", "window_counts.value + excluded.value"),),
)


def added_window_counts(counts: Mapping[str, Mapping[tuple[WindowRef, str], int]]) -> Upsert:
    """What partitions add to the counts of windows; also nothing, so that where batches end does not show."""
    return Upsert(
        _COUNTS,
        [
            (window.stream_id, window.start_s, window.end_s, partition, _spelt(kind, window.segment), count)
            for partition in sorted(counts)
            for (window, kind), count in sorted(counts[partition].items())
        ],
    )


def label_windows(
    connection: Connection, namespace: str, model: str, since_s: float, *, segments: bool = False
) -> list[WindowLabels]:
    """The windows of a model that end after ``since_s``, by stream and start; all rows first, then each segment."""
    counts, streams = schema.window_counts.c, schema.streams.c
    known = connection.execute(
        select(streams.id, streams.version, streams.variant).where(
            streams.namespace == namespace, streams.model == model
        )
    )
    keys = {number: StreamKey(namespace, model, version, variant) for number, version, variant in known}
    window = (counts.stream_id, counts.start_s, counts.end_s, counts.kind)
    statement = (
        select(*window, func.sum(counts.value))
        .where(counts.stream_id.in_(list(keys)), counts.end_s > since_s)
        .group_by(*window)
    )
    if not segments:
        statement = statement.where(counts.kind.not_like(f"%{_OF_SEGMENT}%"))
    found: dict[tuple[int, float, float, str], dict[str, int]] = {}
    for stream_id, start_s, end_s, spelt, value in connection.execute(statement):
        kind, _, segment = spelt.partition(_OF_SEGMENT)
        found.setdefault((stream_id, start_s, end_s, segment), {})[kind] = int(value)
    windows = []
    for (stream_id, start_s, end_s, segment), values in found.items():
        some = (values.get(ROWS, 0), values.get(LABELLED, 0), _delays(values, DELAY), segment)
        windows.append(WindowLabels(keys[stream_id], start_s, end_s, *some, _delays(values, WRONG_DELAY)))
    return sorted(windows, key=lambda each: (each.stream, each.start_s, each.segment))


def _spelt(kind: str, segment: str) -> str:
    return f"{kind}{_OF_SEGMENT}{segment}" if segment else kind


def _delays(values: Mapping[str, int], prefix: str) -> dict[int, int]:
    return {int(kind.removeprefix(prefix)): value for kind, value in values.items() if kind.startswith(prefix)}
