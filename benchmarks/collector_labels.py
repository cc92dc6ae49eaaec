"""Labels into ten million predictions on PostgreSQL: what ten thousand of them cost, and a pandas merge beside it.

The predictions are spread over thirty days, a partition each. Each round takes ten thousand labels of predictions that
have none yet through the whole way of ``POST /v1/labels`` behind HTTP: checked, joined, judged, counted into windows,
stored and committed with fsync. They are picked at random over all thirty days, which is the worst order there is (each
hourly window changes), over one day, or as neighbours (``arriving``), as labels of one hour are. Work is CPU time: the
collector's, and beside it that of the server's process. No figure is given unless every label joined and the windows'
counts say so.

The obvious way merges the labels with the window's predictions in pandas; both are in memory already, and ids are
integers, which pandas is best at. Nothing is stored.
"""

import argparse
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, Engine, text

from benchmarks.harness import alternate, close, medians
from collector.labels.desk import LabelDesk
from collector.labels.effects import JOINED
from collector.operating.metrics import CollectorMetrics
from collector.store.database import connect
from collector.store.partitions import DAY_S, day_number, partition_name
from collector.store.store import Store
from detectors.evaluating.engine import StatisticsEngine
from driftline.events import Label
from driftline.monitors import Monitor
from driftline.results import StreamKey
from tests.parts.postgres import PostgresServer

_FIRST_S = 20_400 * DAY_S
_LABELS = 10_000
_DAYS = 30
#: One request id in so many tells no day.
_UNTOLD = 10
_SAFE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
# Filling takes most of the time: tables that are made in the same transaction need no log where nobody replicates.
_FILL = ("wal_level=minimal", "max_wal_senders=0", "maintenance_work_mem=512MB")
# Room for the store (2.6 GB): a quarter of 24 GiB, as PostgreSQL's manual advises.
_SERVER = ("shared_buffers=6GB", "max_wal_size=8GB", *_SAFE, *_FILL)
MONITOR = Monitor.model_validate(
    {
        "model": "bench",
        "task": "binary",
        "columns": [{"name": "number", "type": "numeric"}],
        "prediction": {"column": "late", "score": "score"},
        "windows": {"size": "1h"},
    }
)


class LabelBench:
    """A store with predictions over thirty days, and the desk that labels go through."""

    def __init__(self, url: str, predictions: int) -> None:
        self._predictions = predictions
        self._store = Store(url)
        self._engine: Engine = connect(url)
        self._random = np.random.default_rng(5)
        stream = StreamKey("default", MONITOR.model, "1", "stable")
        stream_id = self._store.stream_ids([stream])[stream]
        for day in range(_DAYS):
            with self._engine.begin() as connection:
                _fill_day(connection, stream_id, day, predictions // _DAYS)
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM (ANALYZE) predictions"))
        metrics = CollectorMetrics(CollectorRegistry())
        self._desk = LabelDesk(self._store, StatisticsEngine({}), {MONITOR.name: MONITOR}, self._now, metrics)
        self._joined = 0

    def close(self) -> None:
        """Let go of every connection."""
        self._store.close()
        self._engine.dispose()

    def labels(self, days: float, *, told: bool = True) -> dict[str, float]:
        """Ten thousand labels of predictions of so many days, whose ids tell their days or do not, each the first."""
        labels = self._pick(days, told)
        with _server_cpu(self._engine) as server:
            wall, cpu = time.perf_counter(), time.process_time()
            receipt = self._desk.submit(labels)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        self._joined += len(labels)
        counted = sum(window.labelled for window in self._store.label_windows("default", MONITOR.model, 0.0))
        if receipt.outcomes != {JOINED: _LABELS} or counted != self._joined:
            raise SystemExit(f"{receipt.outcomes} are not {_LABELS} joined labels, or {counted} not {self._joined}")
        return {"collector_ms": cpu * 1e3, "server_ms": server[0] * 1e3, "wall_ms": wall * 1e3}

    def merge(self) -> dict[str, float]:
        """The same in pandas: the predictions as a frame with integer ids, and ten thousand labels of them."""
        count = self._predictions
        window = pd.DataFrame({"id": self._random.permutation(count), "prediction": self._random.integers(0, 2, count)})
        picked = self._random.choice(count, _LABELS, replace=False)
        labels = pd.DataFrame({"id": picked, "label": self._random.integers(0, 2, _LABELS)})
        wall, cpu = time.perf_counter(), time.process_time()
        joined = window.merge(labels, on="id")
        right = int((joined["prediction"] == joined["label"]).sum())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if len(joined) != _LABELS or not 0 < right < _LABELS:
            raise SystemExit("the merge lost labels")
        return {"collector_ms": cpu * 1e3, "wall_ms": wall * 1e3}

    def _pick(self, days: float, told: bool) -> list[Label]:
        """Predictions without a label, out of ``days`` that begin anywhere: all of them alike likely."""
        start_s = _FIRST_S + float(self._random.uniform(0.0, _DAYS - days)) * DAY_S
        expected = self._predictions * days / _DAYS * (1 - 1 / _UNTOLD if told else 1 / _UNTOLD)
        statement = text(
            "SELECT p.request_key::text, p.time_s, p.prediction FROM predictions p TABLESAMPLE BERNOULLI (:share) "
            "REPEATABLE (:seed) WHERE p.time_s >= :start AND p.time_s < :end "
            "AND (substr(p.request_key::text, 15, 1) = '7') = :told AND NOT EXISTS (SELECT FROM labels l WHERE "
            "l.event_key = p.event_key AND l.row = p.row AND l.time_s = p.time_s AND l.time_s >= :start "
            "AND l.time_s < :end)"
        )
        share = min(100.0, 130.0 * (_LABELS + self._joined) / expected)
        values = {"share": share, "seed": self._joined, "start": start_s, "end": start_s + days * DAY_S, "told": told}
        with self._engine.connect() as connection:
            rows = connection.execute(statement, values).all()
        chosen = self._random.permutation(len(rows))[:_LABELS].tolist()
        if len(chosen) < _LABELS:
            raise SystemExit(f"only {len(chosen)} of {len(rows)} predictions have no label")
        right = self._random.random(_LABELS) < 0.8
        return [
            Label(
                request_id=rows[place][0],
                value=int(rows[place][2]) if right[number] else 1 - int(rows[place][2]),
                observed_at_s=rows[place][1] + DAY_S,
                model=MONITOR.model,
            )
            for number, place in enumerate(chosen)
        ]

    @staticmethod
    def _now() -> float:
        return _FIRST_S + 60 * DAY_S


def _fill_day(connection: Connection, stream_id: int, day: int, rows: int) -> None:
    """One partition, filled before it gets its indexes, as a restore would; made on the server."""
    start_s = _FIRST_S + day * DAY_S
    number = day_number(start_s)
    for table in ("predictions", "prediction_columns", "labels"):
        connection.execute(text(f"CREATE TABLE {partition_name(table, number)} (LIKE {table} INCLUDING DEFAULTS)"))
    uuid = "(lpad(to_hex((t * 1000)::bigint), 12, '0') || '7' || substr({0}, 1, 3) || 'a' || substr({0}, 4, 15))::uuid"
    untold = "overlay(md5(t::text) placing '4' from 13)::uuid"
    request = f"CASE g % {_UNTOLD} WHEN 0 THEN {untold} ELSE {uuid.format('reverse(m)')} END"
    connection.execute(
        text(
            f"INSERT INTO {partition_name('predictions', number)} (event_key, row, time_s, stream_id, request_key, "
            "window_start_s, window_end_s, segments, prediction, score, valid) "
            f"SELECT {uuid.format('m')}, 0, t, :stream, {request}, "
            "floor(t / 3600) * 3600, floor(t / 3600) * 3600 + 3600, '[]', (g % 2)::text, (g % 1000) / 1000.0, 1 "
            "FROM (SELECT g, md5(g::text) AS m, :start + g * CAST(:step AS float8) AS t "
            "FROM generate_series(0, :rows - 1) g OFFSET 0) made"
        ),
        {"stream": stream_id, "start": start_s, "step": DAY_S / rows, "rows": rows},
    )
    for table in ("predictions", "prediction_columns", "labels"):
        span = f"FROM ({start_s!r}) TO ({start_s + DAY_S!r})"
        connection.execute(
            text(f"ALTER TABLE {table} ATTACH PARTITION {partition_name(table, number)} FOR VALUES {span}")
        )


@contextmanager
def _server_cpu(engine: Engine) -> Iterator[list[float]]:
    """Seconds of CPU that all of the server's session processes used meanwhile; known when the block has ended."""
    with engine.connect() as connection:
        statement = text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        before = _cpu_of([pid for (pid,) in connection.execute(statement)])
        spent = [0.0]
        yield spent
        after = _cpu_of([pid for (pid,) in connection.execute(statement)])
    spent[0] = sum(value - before.get(pid, 0.0) for pid, value in after.items())


def _cpu_of(pids: list[int]) -> dict[int, float]:
    return {pid: int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9 for pid in pids}


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ours and the obvious way's figures; fills a server of its own first."""
    predictions = 400_000 if arguments.quick else 10_000_000
    rounds = 1 if arguments.quick else 7
    server = PostgresServer(_SERVER)
    try:
        print(f"filling a store with {predictions:,} predictions", flush=True)
        bench = LabelBench(server.new_database(), predictions)
        # As the collector does: whatever the picking left behind is not looked at again.
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        contenders = {
            "labels of thirty days": lambda: bench.labels(_DAYS),
            "labels of one day": lambda: bench.labels(1.0),
            "labels arriving": lambda: bench.labels(max(1.0 / 24.0, 2.5 * _LABELS * _DAYS / predictions)),
            "labels whose ids tell no day": lambda: bench.labels(_DAYS, told=False),
            "labels by pandas merge": bench.merge,
        }
        values = alternate(contenders, rounds)
        bench.close()
    finally:
        server.stop()
    found = medians(values)
    thirty = found["labels of thirty days"]
    ours: dict[str, Any] = {
        "labels_10k_into_10m_ms": thirty["collector_ms"],
        "labels_10k_into_10m_server_ms": thirty["server_ms"],
        "labels_one_day": found["labels of one day"],
        "labels_arriving": found["labels arriving"],
        "labels_ids_without_day": found["labels whose ids tell no day"],
        "predictions": predictions,
    }
    return ours, {"labels_10k_into_10m_ms": found["labels by pandas merge"]["collector_ms"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs; not for figures")
    close("collector_labels", *run(parser.parse_args()))
