"""The demo against real parts: Kafka, PostgreSQL, Prometheus and Alertmanager instead of the embedded ones.

``python -m tests.parts.demo_full`` is ``make demo-full``; the test of the full path uses the same class.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import yaml

from driftline.cli.conductor import follow
from driftline.clock import clock_speed
from driftline.names import PAGE_DESK_PATH
from tests.parts.alertmanager import Alertmanager
from tests.parts.kafka import KafkaBroker
from tests.parts.missing import MissingPartError
from tests.parts.postgres import PostgresServer
from tests.parts.processes import free_ports, wait_until
from tests.parts.prometheus import Prometheus

#: Real seconds of one story day: long enough that the alert windows hold many scrapes.
DAY_S = 8.0
SCRAPE_INTERVAL_S = 0.25
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 30.0


class FullDemo:
    """``driftline demo`` with every real part around it; ``arguments`` are further options of the command."""

    def __init__(self, directory: Path, arguments: tuple[str, ...] = (), output: int | None = None) -> None:
        self.directory = directory
        self.data = directory / "demo"
        self.web_port = free_ports(1)[0]
        (directory / "kafka").mkdir()
        self.kafka = KafkaBroker(directory / "kafka")
        self.kafka.start()
        self.postgres = PostgresServer()
        self.database_url = self.postgres.new_database()
        self.process = self._start_demo(arguments, output)
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
        self.prometheus.stop()
        self.alertmanager.stop()
        self.kafka.stop()
        self.postgres.stop()

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the demo ended with {self.process.returncode}")
        return (self.data / "addresses.json").exists()

    def _start_demo(self, arguments: tuple[str, ...], output: int | None) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "driftline", "demo", "--data-dir", str(self.data), "--day-seconds", str(DAY_S)]
        command += ["--kafka", self.kafka.bootstrap, "--database-url", self.database_url, "--external-alerting"]
        command += ["--web-port", str(self.web_port), *arguments]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=dict(os.environ))

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
            demo = FullDemo(Path(directory), tuple(sys.argv[1:]))
        except MissingPartError as error:
            print(f"demo-full {error}", file=sys.stderr)
            return 2
        with demo:
            print(f"      Prometheus {demo.prometheus.url}   Alertmanager {demo.alertmanager.url}")
            try:
                return demo.process.wait()
            except KeyboardInterrupt:
                return 0


if __name__ == "__main__":
    sys.exit(main())
