"""The demo against real parts: Kafka, PostgreSQL, Prometheus and Alertmanager instead of the embedded ones.

``python -m tests.parts.demo_full`` is ``make demo-full``; the test of the full path uses the same class.
"""

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from driftline.cli.conductor import follow
from driftline.clock import clock_speed
from driftline.names import PAGE_DESK_PATH, TOPIC_INFERENCE, TOPIC_LABELS
from tests.parts.alertmanager import Alertmanager
from tests.parts.kafka import KafkaBroker
from tests.parts.missing import MissingPartError
from tests.parts.postgres import PostgresServer
from tests.parts.processes import free_ports, wait_until
from tests.parts.prometheus import Prometheus

#: Real seconds of one story day: long enough that the alert windows hold many scrapes.
DAY_S = 8.0
SCRAPE_INTERVAL_S = 0.25
_START_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 120.0


class FullDemo:
    """``driftline demo`` with every real part around it.

    ``bootstrap``: a running Kafka, where the demo uses topics of its own. ``database_url``: an empty database.
    ``arguments``: further options of the command. ``output``: where its words go, None for the terminal.
    """

    def __init__(
        self,
        directory: Path,
        bootstrap: str,
        database_url: str,
        arguments: tuple[str, ...] = (),
        output: int | None = None,
    ) -> None:
        self.directory = directory
        self.data = directory / "demo"
        self.web_port = free_ports(1)[0]
        command = ["--kafka", bootstrap, "--database-url", database_url, *arguments]
        self.process = self._start_demo(command, output)
        wait_until(self._is_up, _START_TIMEOUT_S, "the demo's addresses")
        self.addresses: dict[str, Any] = json.loads((self.data / "addresses.json").read_text())
        self.alertmanager, self.prometheus = self._start_alerting()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything, the demo first."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.prometheus.stop()
        self.alertmanager.stop()

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the demo ended with {self.process.returncode}")
        return (self.data / "addresses.json").exists()

    def _start_demo(self, arguments: Sequence[str], output: int | None) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "driftline", "demo", "--data-dir", str(self.data), "--day-seconds", str(DAY_S)]
        command += ["--external-alerting", "--web-port", str(self.web_port), *arguments]
        mark = uuid.uuid4().hex[:8]
        topics = {
            "DRIFTLINE_SHIPPER_TOPIC": f"{TOPIC_INFERENCE}.{mark}",
            "DRIFTLINE_COLLECTOR_KAFKA_TOPIC_INFERENCE": f"{TOPIC_INFERENCE}.{mark}",
            "DRIFTLINE_COLLECTOR_KAFKA_TOPIC_LABELS": f"{TOPIC_LABELS}.{mark}",
            "DRIFTLINE_COLLECTOR_KAFKA_GROUP": f"demo-{mark}",
        }
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **topics})

    def _start_alerting(self) -> tuple[Alertmanager, Prometheus]:
        speed = clock_speed(follow(self.addresses["clock"]))
        generated = self.directory / "generated"
        command = [sys.executable, "-m", "driftline", "alerts", "build", "--monitors", str(self.data / "monitors")]
        command += ["--out", str(generated), "--page-url", f"{self.addresses['web']}{PAGE_DESK_PATH}"]
        command += ["--external-url", self.addresses["web"], "--clock-speed", str(speed)]
        command += ["--scrape-interval-s", str(SCRAPE_INTERVAL_S)]
        subprocess.run(command, check=True, capture_output=True)
        for name in ("alertmanager", "prometheus"):
            (self.directory / name).mkdir()
        alertmanager = Alertmanager(self.directory / "alertmanager", (generated / "alertmanager.yaml").read_text())
        interval = f"{SCRAPE_INTERVAL_S * 1000:.0f}ms"
        scraped = ("model", "proxy_admin", "shipper", "collector", "detectors", "web")
        targets = [self.addresses[part].removeprefix("http://") for part in scraped]
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "scrape_configs": [{"job_name": "driftline", "static_configs": [{"targets": targets}]}],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.address]}]}]},
        }
        rules = {"driftline-rules.yaml": yaml.safe_load((generated / "driftline-rules.yaml").read_text())}
        return alertmanager, Prometheus(self.directory / "prometheus", config, rules)


def main() -> int:
    """Run the full demo in the terminal until Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="driftline-full-") as directory:
        try:
            return _run(Path(directory))
        except MissingPartError as error:
            print(f"demo-full {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 0


def _run(directory: Path) -> int:
    (directory / "kafka").mkdir()
    print("starting Kafka, PostgreSQL, Prometheus and Alertmanager around the demo ...")
    with ExitStack() as parts:
        broker = KafkaBroker(directory / "kafka")
        broker.start()
        parts.callback(broker.stop)
        postgres = PostgresServer()
        parts.callback(postgres.stop)
        arguments = tuple(sys.argv[1:])
        demo = parts.enter_context(FullDemo(directory, broker.bootstrap, postgres.new_database(), arguments))
        print(f"      Prometheus {demo.prometheus.url}   Alertmanager {demo.alertmanager.url}")
        return demo.process.wait()


if __name__ == "__main__":
    sys.exit(main())
