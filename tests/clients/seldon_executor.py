"""Seldon Core 1's executor, built from a checkout, in front of models that stand where its containers would.

Its Go module is in no proxy, so whoever runs it names a checkout: ``make seldon SELDON=DIR`` builds it there and sets
the variable below. It is a peer in tests, and nothing of it is kept here: 1.17.1 is the last under the Apache License,
1.18 is under the Business Source License, which allows use that is not production. The Go sources are the same.
"""

import base64
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tests.clients.grpc_services import grpc_services
from tests.clients.kserve_agent import listens
from tests.clients.plain_server import line
from tests.parts import pinned_environments
from tests.parts.processes import PartProcess, free_ports
from tests.serving.table_messages import message_types

EXECUTOR = "DRIFTLINE_SELDON_EXECUTOR"
_PROGRAMS = Path(__file__).with_name("programs")
_START_TIMEOUT_S = 180.0
TYPES = message_types()


@dataclass(frozen=True, slots=True)
class Served:
    """Where something answers. ``grpc_port``: 0 where it speaks none."""

    port: int
    grpc_port: int


@contextlib.contextmanager
def executor(
    directory: Path, protocol: str, graph: Mapping[str, Any], *arguments: str, **environ: str
) -> Iterator[Served]:
    """An executor of the SeldonDeployment ``line`` in ``shop`` with the one predictor ``default``."""
    port, grpc_port = free_ports(2)
    command = [os.environ[EXECUTOR], "--sdep", "line", "--namespace", "shop", "--predictor", "default"]
    command += ["--http_port", str(port), "--grpc_port", str(grpc_port), "--protocol", protocol, *arguments]
    predictor = {"name": "default", "replicas": 1, "graph": dict(graph)}
    told = base64.b64encode(json.dumps(predictor).encode()).decode()
    surroundings = {**os.environ, "ENGINE_PREDICTOR": told, "NO_PROXY": "*", **environ}
    with PartProcess(command, directory / "executor.log", cwd=directory, environ=surroundings) as process:
        process.wait_ready(lambda: listens(port) and listens(grpc_port), _START_TIMEOUT_S)
        yield Served(port, grpc_port)


def node(model: Served, log_url: str, name: str = "classifier", **more: Any) -> dict[str, Any]:
    """A node of a graph that logs requests and answers."""
    endpoint = {"service_host": "127.0.0.1", "service_port": model.port}
    endpoint |= {"httpPort": model.port, "grpcPort": model.grpc_port}
    return {"name": name, "type": "MODEL", "endpoint": endpoint, "logger": {"mode": "all", "url": log_url}, **more}


@contextlib.contextmanager
def seldon_model(directory: Path) -> Iterator[Served]:
    """The model ``line`` behind Seldon's own wrapper for Python, 1.17.1."""
    pins = _PROGRAMS / "seldon.txt"
    program = pinned_environments.python_of(pins, "clients", "make seldon").with_name("seldon-core-microservice")
    port, grpc_port, metrics_port = free_ports(3)
    command = [str(program), "seldon_line.Line", "--service-type", "MODEL", "--http-port", str(port)]
    command += ["--grpc-port", str(grpc_port), "--metrics-port", str(metrics_port)]
    surroundings = {**os.environ, "PYTHONPATH": str(_PROGRAMS), "NO_PROXY": "*"}
    with PartProcess(command, directory / "seldon.log", cwd=directory, environ=surroundings) as process:
        process.wait_ready(lambda: listens(port) and listens(grpc_port), _START_TIMEOUT_S)
        yield Served(port, grpc_port)


@contextlib.contextmanager
def tensorflow_model(port: int) -> Iterator[Served]:
    """The model ``line`` as TensorFlow Serving answers Predict over gRPC; over HTTP ``port`` has to."""
    handler = grpc.unary_unary_rpc_method_handler(
        _predict, TYPES["PredictRequest"].FromString, TYPES["PredictResponse"].SerializeToString
    )
    with grpc_services({"tensorflow.serving.PredictionService": {"Predict": handler}}) as grpc_port:
        yield Served(port, grpc_port)


def _predict(request: Any, context: grpc.ServicerContext) -> Any:
    if set(request.inputs) != {"a", "b"}:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "two columns are wanted")
    rows = zip(request.inputs["a"].double_val, request.inputs["b"].double_val, strict=True)
    answer = TYPES["PredictResponse"]()
    answer.outputs["y"].CopyFrom(doubles([line(*row) for row in rows]))
    return answer


def doubles(values: list[float]) -> Any:
    """A tensor of TensorFlow's."""
    made = TYPES["TensorProto"](dtype=2, double_val=values)
    made.tensor_shape.dim.add(size=len(values))
    return made


def call(served: Served, method: str, request: Any, answer: str = "SeldonMessage", puid: str = "") -> tuple[Any, str]:
    """A call over gRPC: the answer and the id that it came with; raises grpc.RpcError."""
    metadata = [("seldon-puid", puid)] if puid else []
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        # What is served is a protobuf message either way; the classes differ by test.
        one = channel.unary_unary(method, type(request).SerializeToString, TYPES[answer].FromString)
        found, state = one.with_call(request, timeout=60, metadata=metadata)
    return found, dict(state.initial_metadata()).get("seldon-puid", "")
