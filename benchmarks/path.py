"""From the spool to committed rows and counts: events per CPU-second, against the obvious way, in one run.

Ours: the real spool, decoder, window statistics with a reference and outlier scores, and the store on SQLite; 14
columns as named tensors of the Open Inference Protocol, one row per request, one segment column with four values.
The obvious way: one event at a time, ``json`` to a dictionary per row, each value's bin found and counted in Python,
the row and the counts written through the same store in a transaction of their own.
"""

import argparse
import bisect
import cProfile
import itertools
import json
import pstats
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prometheus_client import CollectorRegistry

from benchmarks.harness import alternate, close, medians
from collector.batches.loop import Collector
from collector.batches.payloads import PayloadWriter
from collector.operating.metrics import CollectorMetrics
from collector.settings import CollectorSettings
from collector.store.bulk import upsert_together
from collector.store.predictions import PredictionColumns
from collector.store.store import Store
from collector.store.transaction import StateKey, WindowRef, WindowState, changed_states
from detectors.baselines.reference import Reference, build_reference
from detectors.evaluating.engine import StatisticsEngine
from driftline.events import InferenceEvent, Payload, encode_frame
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, StreamKey
from logger_sidecar.spool.frames import pack_pieces
from logger_sidecar.spool.segment_writer import SegmentWriter
from logger_sidecar.spool.source import SpoolSource
from serving.decode_many import decode_many

_NUMERIC = tuple(f"number{index}" for index in range(10))
_TEXT = tuple(f"kind{index}" for index in range(4))
_VALUES = ("AA", "UA", "DL", "B6")
_START_NS = 1_700_000_000_000_000_000
_NOW_S = 1_700_100_000.0

MONITOR = Monitor.model_validate(
    {
        "model": "bench",
        "task": "binary",
        "columns": [
            *({"name": name, "type": "numeric", "required": True} for name in _NUMERIC),
            *({"name": name, "type": "categorical", "allowed": list(_VALUES)} for name in _TEXT),
        ],
        "prediction": {"column": "late", "score": "score"},
        "segments": [_TEXT[0]],
        "windows": {"size": "1h"},
        "reference": {"path": "none.csv"},
    }
)


def main() -> None:
    """Measure both sides and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--obvious-events", type=int, default=1_500)
    parser.add_argument("--quick", action="store_true", help="A few seconds, to see that it runs; not for figures.")
    parser.add_argument("--profile", action="store_true", help="Say where our time goes instead.")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.events, arguments.obvious_events = 3000, 100
    reference = build_reference(_reference_frame(), MONITOR)
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as directory:
        spool = Path(directory) / "spool"
        body_bytes = _fill(spool, arguments.events)
        if arguments.profile:
            _profile(lambda: _ours(Path(directory), spool, reference, "profiled"))
            return
        rounds = medians(_measure(Path(directory), spool, reference, arguments))
    ours, obvious = rounds["ours"], rounds["obvious"]["events_per_cpu_second"]
    figures = {
        **ours,
        "events_per_cpu_second_with_parquet": rounds["parquet"]["events_per_cpu_second"],
        "request_body_bytes": body_bytes,
        "columns": len(MONITOR.columns),
    }
    against = {"one_event_at_a_time_per_cpu_second": obvious, "times_slower": ours["events_per_cpu_second"] / obvious}
    close("path", figures, against)


def _measure(
    directory: Path, spool: Path, reference: Reference, arguments: argparse.Namespace
) -> dict[str, dict[str, list[float]]]:
    turns = itertools.count()

    def figure(events_per_cpu_second: float) -> dict[str, float]:
        return {"events_per_cpu_second": events_per_cpu_second}

    contenders = {
        "ours": lambda: figure(_ours(directory, spool, reference, f"ours{next(turns)}")),
        "parquet": lambda: figure(_ours(directory, spool, reference, f"parquet{next(turns)}", payloads=True)),
        "obvious": lambda: figure(_obvious(directory, spool, f"obvious{next(turns)}", arguments.obvious_events)),
    }
    return alternate(contenders, 1 if arguments.quick else 3)


def _ours(directory: Path, spool: Path, reference: Reference, name: str, *, payloads: bool = False) -> float:
    store = Store(f"sqlite:///{directory}/{name}.db")
    source = SpoolSource(spool, name, store.position)
    collector = Collector(
        source,
        store,
        decode_many,
        StatisticsEngine({MONITOR.name: reference}),
        {MONITOR.name: MONITOR},
        lambda: _NOW_S,
        CollectorSettings(commit_interval_s=0.01),
        PayloadWriter(directory / name) if payloads else None,
        CollectorMetrics(CollectorRegistry()),
    )
    started = time.process_time()
    handled = 0
    while count := collector.run_once():
        handled += count
    spent_s = time.process_time() - started
    _require_all(store, handled)
    source.close()
    store.close()
    return handled / spent_s


def _obvious(directory: Path, spool: Path, name: str, events: int) -> float:
    store = Store(f"sqlite:///{directory}/{name}.db")
    source = SpoolSource(spool, name, store.position)
    records = source.poll(events, 1.0)
    frame = _reference_frame()
    edges = {name: sorted(frame[name].quantile(np.linspace(0, 1, 257)[1:-1])) for name in _NUMERIC}
    stream = StreamKey("default", MONITOR.model, "1", "stable")
    stream_id = store.stream_ids([stream])[stream]
    started = time.process_time()
    for record in records:
        if isinstance(record.content, InferenceEvent):
            _obvious_event(store, stream_id, record.content, edges)
    spent_s = time.process_time() - started
    source.close()
    store.close()
    return len(records) / spent_s


def _obvious_event(store: Store, stream_id: int, event: InferenceEvent, edges: Mapping[str, list[float]]) -> None:
    tensors = json.loads(event.request.body)["inputs"] + json.loads(event.response.body)["outputs"]
    row = {tensor["name"]: tensor["data"][0] for tensor in tensors}
    start_s = event.time_s // MONITOR.windows.size * MONITOR.windows.size
    end_s = start_s + MONITOR.windows.size
    with store.transaction() as transaction:
        if transaction.known_events([(event.id, event.time_s)]):
            return
        segment = f"{_TEXT[0]}={row[_TEXT[0]]}"
        keys = [StateKey("obvious", WindowRef(stream_id, name, start_s, end_s)) for name in (ALL_ROWS, segment)]
        found = transaction.window_states(keys)
        changed = {}
        for key in keys:
            old = found.get(key)
            counts: dict[str, int] = json.loads(old.state) if old else {}
            for name, value in row.items():
                place = bisect.bisect(edges[name], value) if name in edges else value
                counts[f"{name}:{place}"] = counts.get(f"{name}:{place}", 0) + 1
            changed[key] = WindowState(json.dumps(counts).encode(), (old.change if old else 0) + 1)
        upsert_together(transaction.connection, [changed_states(changed)])
        values = (event.id, 0, stream_id, event.request_id, event.time_s, start_s, end_s, json.dumps([segment]))
        every = (*values, str(row["late"]), row["score"], None, 1, None, json.dumps(row).encode())
        transaction.insert_predictions(PredictionColumns(*([value] for value in every)))


def _fill(spool: Path, events: int) -> int:
    spool.mkdir()
    pick = random.Random(7)
    writer = SegmentWriter(spool, 64 << 20, 0)
    length = 0
    for first in range(0, events, 1000):
        made = [_event(number, pick) for number in range(first, min(first + 1000, events))]
        writer.write([pack_pieces(encode_frame(event)) for event in made])
        length = len(made[0].request.body)
    writer.close()
    return length


def _event(number: int, pick: random.Random) -> InferenceEvent:
    inputs = [_tensor(name, "FP64", round(pick.gauss(0, 1), 4)) for name in _NUMERIC]
    inputs += [_tensor(name, "BYTES", pick.choice(_VALUES)) for name in _TEXT]
    score = round(pick.random(), 4)
    outputs = [_tensor("late", "INT64", int(score > 0.5)), _tensor("score", "FP64", score)]
    answer = {"model_name": MONITOR.model, "outputs": outputs}
    content_type = "application/json"
    return InferenceEvent(
        id=f"0197{number:028x}",
        source="/default/bench/pod",
        model=MONITOR.model,
        model_version="1",
        time_ns=_START_NS + number * 50_000_000,
        request_id=f"request-{number:012d}",
        protocol="v2",
        status_code=200,
        request=Payload(content_type=content_type, body=json.dumps({"inputs": inputs}).encode()),
        response=Payload(content_type=content_type, body=json.dumps(answer).encode()),
    )


def _tensor(name: str, datatype: str, value: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": datatype, "data": [value]}


def _reference_frame() -> pd.DataFrame:
    random_state = np.random.default_rng(3)
    rows = 20_000
    columns: dict[str, Any] = {name: random_state.normal(size=rows) for name in _NUMERIC}
    columns |= {name: random_state.choice(_VALUES, rows) for name in _TEXT}
    score = random_state.random(rows)
    return pd.DataFrame({**columns, "late": (score > 0.5).astype(int).astype(str), "score": score})


def _require_all(store: Store, handled: int) -> None:
    (summary,) = store.streams()
    if summary.rows != handled:
        raise AssertionError(f"{handled} events gave {summary.rows} rows")


def _profile(work: Callable[[], object]) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(work)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
