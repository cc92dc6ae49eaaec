"""Labels into ten million predictions on PostgreSQL: what ten thousand of them cost, and a pandas merge beside it.

The predictions are spread over thirty days, a partition each, and in a second table over one. Each round takes ten
thousand labels of predictions that have none yet, picked at random over all of them, which is the worst order there is
(``arriving`` picks neighbours, as labels of one hour are), through the whole way of ``POST /v1/labels`` behind HTTP:
checked, joined, judged, counted into windows, stored and committed with fsync. Work is CPU time: the collector's, and
that of the server's process. No figure is given unless every label joined and every window's counts say so.

The obvious way merges the labels with the window's predictions in pandas; both are in memory already, and ids are
integers, which pandas is best at. Nothing is stored.
"""

import argparse
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
from detectors.engine import StatisticsEngine
from driftline.events import Label
from driftline.monitors import Monitor
from driftline.results import StreamKey
from tests.parts.postgres import PostgresServer

_FIRST_S = 20_400 * DAY_S
_LABELS = 10_000
_SERVER = ("shared_buffers=2GB", "max_wal_size=8GB", "fsync=on", "synchronous_commit=on", "full_page_writes=on")
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
    """A store with predictions over so many days, and the desk that labels go through."""

    def __init__(self, url: str, predictions: int, days: int) -> None:
        self.days = days
        self._store = Store(url)
        self._engine: Engine = connect(url)
        self._random = np.random.default_rng(days)
        stream = StreamKey("default", MONITOR.model, "1", "stable")
        stream_id = self._store.stream_ids([stream])[stream]
        with self._engine.begin() as connection:
            for day in range(days):
                _fill_day(connection, stream_id, day, predictions // days)
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE predictions"))
            self._ids = connection.execute(
                text("SELECT request_key::text, time_s, prediction FROM predictions ORDER BY time_s")
            ).all()
        metrics = CollectorMetrics(CollectorRegistry())
        self._desk = LabelDesk(self._store, StatisticsEngine({}), {MONITOR.name: MONITOR}, self._now, metrics)
        self._labelled: set[int] = set()

    def close(self) -> None:
        """Let go of every connection."""
        self._store.close()
        self._engine.dispose()

    def labels(self, *, arriving: bool) -> dict[str, float]:
        """Ten thousand labels, each the first of its prediction."""
        labels = self._pick(arriving=arriving)
        with _server_cpu(self._engine) as server:
            wall, cpu = time.perf_counter(), time.process_time()
            receipt = self._desk.submit(labels)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if receipt.outcomes != {JOINED: len(labels)}:
            raise SystemExit(f"{receipt.outcomes} are not {len(labels)} joined labels")
        spent = {"collector_ms": cpu * 1e3, "server_ms": server[0] * 1e3, "wall_ms": wall * 1e3}
        return {**spent, "work_ms": spent["collector_ms"] + spent["server_ms"]}

    def merge(self) -> dict[str, float]:
        """The same in pandas: the predictions as a frame with integer ids, and ten thousand labels of them."""
        count = len(self._ids)
        window = pd.DataFrame({"id": self._random.permutation(count), "prediction": self._random.integers(0, 2, count)})
        picked = self._random.choice(count, _LABELS, replace=False)
        labels = pd.DataFrame({"id": picked, "label": self._random.integers(0, 2, _LABELS)})
        wall, cpu = time.perf_counter(), time.process_time()
        joined = window.merge(labels, on="id")
        right = int((joined["prediction"] == joined["label"]).sum())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if len(joined) != _LABELS or not 0 < right < _LABELS:
            raise SystemExit("the merge lost labels")
        return {"work_ms": cpu * 1e3, "wall_ms": wall * 1e3}

    def _pick(self, *, arriving: bool) -> list[Label]:
        count = len(self._ids)
        if arriving:
            start = int(self._random.integers(0, count - 2 * _LABELS))
            order = range(start, count)
        else:
            order = self._random.choice(count, 2 * _LABELS, replace=False).tolist()
        fresh = [place for place in order if place not in self._labelled][:_LABELS]
        self._labelled.update(fresh)
        rows = [self._ids[place] for place in fresh]
        return [
            Label(request_id=key, value=int(prediction), observed_at_s=time_s + DAY_S, model=MONITOR.model)
            for key, time_s, prediction in rows
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
    uuid = (
        "(lpad(to_hex((t * 1000)::bigint), 12, '0') || '7' || substr(md5('{0}' || g), 1, 3) || 'a' || "
        "substr(md5('{0}' || g), 4, 15))::uuid"
    )
    connection.execute(
        text(
            f"INSERT INTO {partition_name('predictions', number)} (event_key, row, time_s, stream_id, request_key, "
            "window_start_s, window_end_s, segments, prediction, score, valid, traceparent) "
            f"SELECT {uuid.format('e')}, 0, t, :stream, {uuid.format('r')}, "
            "floor(t / 3600) * 3600, floor(t / 3600) * 3600 + 3600, '[]', (g % 2)::text, (g % 1000) / 1000.0, 1, "
            "'00-' || md5(g::text) || '-0123456789abcdef-01' "
            "FROM (SELECT g, :start + g * CAST(:step AS float8) AS t FROM generate_series(0, :rows - 1) g) made"
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
        statement = text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        before = _cpu_of([pid for (pid,) in connection.execute(statement)])
        spent = [0.0]
        yield spent
        after = _cpu_of([pid for (pid,) in connection.execute(statement)])
    spent[0] = sum(value - before.get(pid, 0.0) for pid, value in after.items())


def _cpu_of(pids: list[int]) -> dict[int, float]:
    return {pid: int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9 for pid in pids}


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ours and the obvious way's figures; fills a server of its own first."""
    predictions = 200_000 if arguments.quick else 10_000_000
    rounds = 2 if arguments.quick else 7
    server = PostgresServer(_SERVER)
    try:
        print(f"filling two stores with {predictions:,} predictions", flush=True)
        thirty, one = (LabelBench(server.new_database(), predictions, days) for days in (30, 1))
        values = alternate(
            {
                "thirty days": lambda: thirty.labels(arriving=False),
                "one day": lambda: one.labels(arriving=False),
                "thirty days, arriving": lambda: thirty.labels(arriving=True),
                "pandas merge": thirty.merge,
            },
            rounds,
        )
        thirty.close()
        one.close()
    finally:
        server.stop()
    found = medians(values)
    ours = {name: figures for name, figures in found.items() if name != "pandas merge"}
    return {"labels_10k_into_10m_ms": found["thirty days"]["work_ms"], **ours}, {
        "labels_10k_into_10m_ms": found["pandas merge"]["work_ms"],
        "pandas merge": found["pandas merge"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs; not for figures")
    close("collector_labels", *run(parser.parse_args()))
