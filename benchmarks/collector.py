"""From a real broker to committed rows and counts: rows per core-second of the collector, its consumer included.

Ours is the command ``driftline collector`` as it is run: it reads CloudEvents from Kafka, one row of 50 columns per
request, counts every column on the bins of a reference, and commits rows, counts, totals and positions, on PostgreSQL
and on SQLite. A producer sends as fast as the broker takes it, so that batches are as they come under load. CPU is the
process's user and system time, all threads, from after a warm-up to the last committed row; no figure is given
unless every event is found in the store once, in the rows and in the counts of the windows.

``--compiled PYTHON`` adds the command of another environment, which has the compiled parts.

The obvious way (``collector_obvious.py``): one event at a time through a FastAPI handler, ``json``, and an insert by
SQLAlchemy's ORM. It counts nothing.

Then labels into ten million predictions (``collector_labels.py``), against a merge in pandas.
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka.admin import KafkaAdminClient, NewTopic

from benchmarks import collector_labels, collector_obvious
from benchmarks.builds import other_build
from benchmarks.collector_obvious import rss_mb
from benchmarks.collector_traffic import COLUMNS, event, write_monitor
from benchmarks.harness import INSTALLED, alternate, close, cpu_seconds, medians
from collector.store.store import Store
from driftline import names
from tests.parts.kafka import KafkaBroker
from tests.parts.postgres import PostgresServer
from tests.parts.processes import PartProcess

_PARTITIONS = 2
_WARM_UP = 12_000
_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Bench:
    """The parts that all rounds share."""

    directory: Path
    broker: KafkaBroker
    postgres: PostgresServer
    monitors: Path
    arguments: argparse.Namespace
    turns: "itertools.count[int]"

    def ours(self, backend: str, python: Path | None = None) -> dict[str, float]:
        """One run of the collector over a topic of its own; ``python``: of another environment."""
        turn = next(self.turns)
        topic, count = f"inference-{turn}", self.arguments.rows
        url = self._database(backend, turn)
        store = Store(url)
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        admin.create_topics([NewTopic(topic, _PARTITIONS, 1), NewTopic(f"labels-{turn}", 1, 1)])
        admin.close()
        command = [
            *self._program(turn, python),
            "collector",
            "--monitors",
            str(self.monitors),
            "--source",
            "kafka",
            "--port",
            "0",
        ]
        command += ["--data-dir", str(self.directory / "data"), "--bootstrap", self.broker.bootstrap]
        command += ["--database-url", url]
        with PartProcess(
            command, self.directory / f"collector-{turn}.log", environ=self._environ(turn, python)
        ) as process:
            self._produce(topic, 0, _WARM_UP).wait()
            self._wait(store, process, _WARM_UP)
            began_s = cpu_seconds([process.pid])
            producer = self._produce(topic, _WARM_UP, count)
            self._wait(store, process, _WARM_UP + count // 5)
            began_mb = rss_mb(process.pid)
            self._wait(store, process, _WARM_UP + count)
            spent_s, grown_mb = cpu_seconds([process.pid]) - began_s, rss_mb(process.pid) - began_mb
            producer.wait()
            process.stop()
        if self.arguments.profile:
            print((self.directory / f"profile-{turn}").read_text())
        require_all(store, _WARM_UP + count)
        store.close()
        return {"rows_per_core_second": count / spent_s, "us_per_row": spent_s / count * 1e6, "rss_growth_mb": grown_mb}

    def obvious(self, backend: str) -> dict[str, float]:
        """The obvious way on a database of its own."""
        url = self._database(backend, next(self.turns))
        return collector_obvious.measure(url, self.arguments.obvious_rows, self.directory)

    def _program(self, turn: int, python: Path | None) -> list[str]:
        if python is not None:
            # Not ``-m``, which would put this checkout before what is installed there.
            return [str(python), "-P", "-c", "from driftline.cli.app import main; main()"]
        if self.arguments.profile:
            return [sys.executable, "-m", "benchmarks.collector_profile", str(self.directory / f"profile-{turn}")]
        return [sys.executable, "-m", "driftline"]

    def _environ(self, turn: int, python: Path | None) -> dict[str, str]:
        return {
            **os.environ,
            **({} if python is None else INSTALLED),
            "DRIFTLINE_COLLECTOR_KAFKA_GROUP": f"bench-{turn}",
            "DRIFTLINE_COLLECTOR_KAFKA_TOPIC_INFERENCE": f"inference-{turn}",
            "DRIFTLINE_COLLECTOR_KAFKA_TOPIC_LABELS": f"labels-{turn}",
        }

    def _database(self, backend: str, turn: int) -> str:
        return self.postgres.new_database() if backend == "postgresql" else f"sqlite:///{self.directory}/{turn}.db"

    def _produce(self, topic: str, first: int, count: int) -> "subprocess.Popen[bytes]":
        arguments = [self.broker.bootstrap, topic, str(first), str(count)]
        return subprocess.Popen([sys.executable, "-m", "benchmarks.collector_traffic", *arguments])

    def _wait(self, store: Store, process: PartProcess, count: int) -> None:
        until = time.monotonic() + _TIMEOUT_S
        while (done := sum(store.positions().values())) < count:
            if not process.running() or time.monotonic() > until:
                raise RuntimeError(f"{done} of {count} records were committed:\n{process.output()[-3000:]}")
            time.sleep(0.05)


def require_all(store: Store, count: int) -> None:
    """Every event is there once: in the rows' summary and in the counters; and every row has all that is required."""
    (summary,) = store.streams()
    totals = store.totals()
    stored = [value for key, value in totals.items() if key.metric == names.COLLECTOR_EVENTS.name]
    passed = [value for key, value in totals.items() if key.metric == names.COLLECTOR_ROWS.name]
    if summary.rows != count or stored != [count] or passed != [count]:
        raise AssertionError(f"{count} events gave {summary.rows} rows, the counts {stored}, and valid rows {passed}")


def main() -> None:
    """Measure both sides and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs; not for figures")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--obvious-rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=("postgresql", "sqlite"), help="ours alone, on one database")
    parser.add_argument(
        "--compiled", type=other_build, metavar="PYTHON", help="of an environment with the compiled parts"
    )
    parser.add_argument("--profile", action="store_true", help="where the consumer's time goes, by function")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.obvious_rows, arguments.rounds = 20_000, 200, 1
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as scratch:
        found = medians(_measure(Path(scratch), arguments))
    if arguments.only is None:
        _close(found, *collector_labels.run(arguments))


def _measure(scratch: Path, arguments: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    (scratch / "kafka").mkdir()
    broker = KafkaBroker(scratch / "kafka")
    broker.start()
    postgres = PostgresServer()
    try:
        bench = Bench(scratch, broker, postgres, write_monitor(scratch / "monitors"), arguments, itertools.count())
        if arguments.only:
            return alternate(_ours(bench, arguments.only, arguments.compiled), arguments.rounds)
        contenders = {
            **_ours(bench, "postgresql", arguments.compiled),
            **_ours(bench, "sqlite", arguments.compiled),
            "obvious postgresql": lambda: bench.obvious("postgresql"),
            "obvious sqlite": lambda: bench.obvious("sqlite"),
        }
        return alternate(contenders, arguments.rounds)
    finally:
        postgres.stop()
        broker.stop()


def _ours(bench: Bench, backend: str, compiled: Path | None) -> dict[str, Callable[[], dict[str, float]]]:
    contenders = {f"ours {backend}": lambda: bench.ours(backend)}
    if compiled is not None:
        contenders[f"compiled {backend}"] = lambda: bench.ours(backend, compiled)
    return contenders


def _close(found: Mapping[str, Mapping[str, float]], labels: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
    body_bytes = len(event(0, random.Random(0)).request.body)
    ours, obvious = found["ours postgresql"], found["obvious postgresql"]
    figures: dict[str, Any] = {
        **ours,
        "rows_per_core_second_sqlite": found["ours sqlite"]["rows_per_core_second"],
        "rss_growth_mb_sqlite": found["ours sqlite"]["rss_growth_mb"],
        "request_body_bytes": body_bytes,
        "columns": COLUMNS,
        "times_the_obvious_way": ours["rows_per_core_second"] / obvious["rows_per_core_second"],
        **labels,
    }
    figures |= {name.replace(" ", "_"): measured for name, measured in found.items() if name.startswith("compiled")}
    against = {
        **obvious,
        "rows_per_core_second_sqlite": found["obvious sqlite"]["rows_per_core_second"],
        "rss_growth_mb_sqlite": found["obvious sqlite"]["rss_growth_mb"],
        **merged,
    }
    close("collector", figures, against)


if __name__ == "__main__":
    main()
