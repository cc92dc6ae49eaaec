"""Real model servers, each with the model ``line``: y = 2 a + 3 b + 1, inputs ``a`` and ``b``, one value per row."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients.environments import library_path, python_of
from tests.parts.http import answers
from tests.parts.processes import PartProcess, free_ports
from tests.serving.model_examples import write_regressor

_PROGRAMS = Path(__file__).with_name("programs")
_OURS = "from driftline.cli.app import main; main()"
_START_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Server:
    """A model server that is ready. ``grpc_port``: 0 where it speaks none."""

    name: str
    port: int
    grpc_port: int


@contextlib.contextmanager
def our_server(directory: Path) -> Iterator[Server]:
    """driftline's own."""
    write_regressor(directory / "models")
    (port,) = free_ports(1)
    command = [sys.executable, "-c", _OURS, "serve", "--models-dir", str(directory / "models")]
    with _started("driftline", [*command, "--host", "127.0.0.1", "--port", str(port)], directory, port, 0, {}) as one:
        yield one


@contextlib.contextmanager
def mlserver(directory: Path) -> Iterator[Server]:
    """MLServer, one process."""
    python = python_of("mlserver")
    port, grpc_port, metrics_port = free_ports(3)
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    (directory / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
    model = {"name": "line", "implementation": "mlserver_model.Line"}
    (directory / "model-settings.json").write_text(json.dumps(model))
    command = [str(python.with_name("mlserver")), "start", str(directory)]
    with _started("mlserver", command, directory, port, grpc_port, {"PYTHONPATH": str(_PROGRAMS)}) as one:
        yield one


@contextlib.contextmanager
def kserve(directory: Path) -> Iterator[Server]:
    """KServe's Python server."""
    port, grpc_port = free_ports(2)
    command = [str(python_of("kserve")), str(_PROGRAMS / "kserve_server.py"), str(port), str(grpc_port)]
    with _started("kserve", command, directory, port, grpc_port, {}) as one:
        yield one


@contextlib.contextmanager
def triton(directory: Path) -> Iterator[Server]:
    """NVIDIA's Triton on CPU, as nvidia-pytriton brings it."""
    ports = free_ports(3)
    command = [str(python_of("pytriton")), str(_PROGRAMS / "triton_server.py"), *map(str, ports)]
    # The model runs in Triton's Python stub, which must find the very library that this interpreter is.
    environ = {"LD_LIBRARY_PATH": library_path(), "PYTRITON_HOME": str(directory / "home")}
    with _started("triton", command, directory, ports[0], ports[1], environ) as one:
        yield one


@contextlib.contextmanager
def _started(
    name: str, command: Sequence[str], directory: Path, port: int, grpc_port: int, environ: Mapping[str, str]
) -> Iterator[Server]:
    with PartProcess(command, directory / f"{name}.log", cwd=directory, environ={**os.environ, **environ}) as process:
        process.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/v2/models/line/ready"), _START_TIMEOUT_S)
        yield Server(name, port, grpc_port)


SERVERS = {"driftline": our_server, "mlserver": mlserver, "kserve": kserve, "triton": triton}
