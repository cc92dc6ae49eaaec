"""Real sidecar, broker and collector: the balance closes to zero, with sampling, drops and undecodables."""

import json
import os
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from driftline.cli.app import app
from driftline.names import HEADER_REQUEST_ID
from tests.house import ROOT
from tests.parts.http import answers
from tests.parts.processes import PartProcess, free_ports, wait_until
from tests.parts.prometheus import Prometheus

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.timeout(900)]

MONITOR = {
    "model": "balance",
    "task": "regression",
    "columns": [{"name": "distance", "type": "numeric"}],
    "prediction": {"column": "minutes"},
    "windows": {"size": "1h"},
}
#: More than all small events together, so that the recorder may be late; one large event is more than that.
_BUFFER_BYTES = 1 << 19
GOOD = {"inputs": [{"name": "distance", "shape": [1], "datatype": "FP64", "data": [7.0]}]}
ANSWER = {
    "model_name": "balance",
    "model_version": "1",
    "outputs": [{"name": "minutes", "shape": [1], "datatype": "FP64", "data": [3.0]}],
}


class Upstream(BaseHTTPRequestHandler):
    """A model server that answers whatever it is asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""


@pytest.fixture
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(60)


def start(
    stack: ExitStack, directory: Path, name: str, command: list[str], environ: Mapping[str, str], url: str
) -> None:
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    process = PartProcess([sys.executable, "-m", "driftline", *command], directory / f"{name}.log", environ=whole)
    stack.enter_context(process)
    process.wait_ready(lambda: answers(url), 120)


def balance(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["completeness", "--json", *arguments], catch_exceptions=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def closed_balance(*arguments: str) -> dict[str, Any]:
    """The first one that closes: parts are asked one after the other, so that the next might not again."""
    found: list[dict[str, Any]] = []

    def closes() -> bool:
        found.append(balance(*arguments))
        return bool(found[-1]["closes"])

    wait_until(closes, 240, "the balance closes", pause_s=0.5)
    return found[-1]


def test_the_balance_closes_with_sampling_drops_and_undecodables(tmp_path: Path, kafka: str, upstream: str) -> None:
    proxy, admin, shipper, collector = free_ports(4)
    mark = uuid.uuid4().hex[:8]
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "balance.yaml").write_text(json.dumps(MONITOR))
    sidecar = {
        "DRIFTLINE_SIDECAR_SAMPLE_RATE": "0.7",
        "DRIFTLINE_SIDECAR_BUFFER_BYTES": str(_BUFFER_BYTES),
        "DRIFTLINE_SHIPPER_TOPIC": f"events-{mark}",
        "DRIFTLINE_SHIPPER_ADMIN_PORT": str(shipper),
    }
    reader = {
        "DRIFTLINE_COLLECTOR_KAFKA_TOPIC_INFERENCE": f"events-{mark}",
        "DRIFTLINE_COLLECTOR_KAFKA_TOPIC_LABELS": f"labels-{mark}",
        "DRIFTLINE_COLLECTOR_KAFKA_GROUP": mark,
        "DRIFTLINE_COLLECTOR_RECEIVE_EVENTS": "false",
        "DRIFTLINE_COLLECTOR_UPLOAD_DIR": str(tmp_path / "uploads"),
    }
    proxying = ["sidecar", "--upstream", upstream, "--host", "127.0.0.1", "--port", str(proxy)]
    proxying += ["--admin-port", str(admin), "--spool-dir", str(tmp_path / "spool"), "--sinks", "kafka"]
    reading = ["collector", "--monitors", str(tmp_path / "monitors"), "--source", "kafka", "--bootstrap", kafka]
    reading += ["--database-url", f"sqlite:///{tmp_path}/store.db", "--port", str(collector)]
    targets = [f"127.0.0.1:{port}" for port in (admin, shipper, collector)]
    with ExitStack() as stack:
        start(
            stack, tmp_path, "sidecar", [*proxying, "--bootstrap", kafka], sidecar, f"http://127.0.0.1:{admin}/healthz"
        )
        start(stack, tmp_path, "collector", reading, reader, f"http://127.0.0.1:{collector}/healthz")
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "driftline", "static_configs": [{"targets": targets}]}],
        }
        prometheus = stack.enter_context(Prometheus(tmp_path, config))
        send(f"http://127.0.0.1:{proxy}/v2/models/balance/infer", 400)
        scraped = [part for target in targets for part in ("--scrape", f"http://{target}/metrics")]
        found = closed_balance(*scraped)
        model = found["models"]["default/balance"]
        assert model["requests"] == 400
        assert model["sampled_out"] > 0
        assert sum(model["dropped"].values()) > 0
        assert sum(model["undecodable"].values()) > 0
        assert model["stored"] > 0
        terms = model["stored"] + sum(model["undecodable"].values())
        assert terms == model["logged"] == 400 - model["sampled_out"] - sum(model["dropped"].values())
        assert (found["missing"], found["unexplained"], found["lost"]) == (0, 0, {})
        assert found["explanation"] == ["everything that was logged has arrived"]
        # Prometheus has the same parts in view; how much its increases are, it estimates.
        wait_until(
            lambda: "default/balance" in balance("--prometheus", prometheus.url, "--over", "5m")["models"], 120, "seen"
        )


def send(url: str, count: int) -> None:
    """Good, broken and large requests at once, each answered with 200; their ids say which are sampled."""

    def one(number: int) -> None:
        body = b"{broken" if number % 5 == 0 else json.dumps(GOOD).encode()
        body += b" " * (_BUFFER_BYTES if number % 20 == 1 else 0)
        request = urllib.request.Request(
            url, body, {"content-type": "application/json", HEADER_REQUEST_ID: f"request-{number}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(count)))
