"""Seldon Core 2's model gateway and pipeline gateway, built from a checkout, with what they need around them.

``make seldon2 SELDON2=DIR`` builds both there and sets the variable below. They are peers in tests, under the Business
Source License, which allows use that is not production; nothing of them is kept here. Two services of this file stand
in for their scheduler, and for the model that Envoy would lead to; nothing does for the dataflow engine of pipelines, a
program for the JVM.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from tests.clients.built_loggers import infer_line, message_of
from tests.clients.grpc_services import grpc_services
from tests.clients.kserve_agent import listens
from tests.clients.seldon_executor import Served
from tests.parts.processes import PartProcess, free_ports

GATEWAYS = "DRIFTLINE_SELDON_GATEWAYS"
_START_TIMEOUT_S = 180.0


@contextlib.contextmanager
def gateways(directory: Path, bootstrap: str, prefix: str) -> Iterator[Served]:
    """The pipeline gateway, for the model ``line`` and the pipeline ``chain`` in ``shop``.

    ``prefix``: what the names of its topics begin with.
    """
    health, others, metrics, port, grpc_port = free_ports(5)
    (directory / "tracing.json").write_text(json.dumps({"disable": True}))
    clients = {"consumer": {"session.timeout.ms": 6000, "auto.offset.reset": "earliest"}, "producer": {"linger.ms": 0}}
    told = {"topicPrefix": prefix, "bootstrap.servers": bootstrap, **clients, "streams": {}}
    (directory / "kafka.json").write_text(json.dumps(told))
    with _services() as services:
        common = ["-kafka-config-path", "kafka.json", "-tracing-config-path", "tracing.json", "-namespace", "shop"]
        common += ["-scheduler-host", "127.0.0.1", "-scheduler-plaintxt-port", str(services)]
        common += ["-envoy-host", "127.0.0.1", "-envoy-port", str(services)]
        front = ["-http-port", str(port), "-grpc-port", str(grpc_port), "-metrics-port", str(metrics)]
        with (
            _process(directory, "modelgateway", [*common, "-health-probe-port", str(health)]) as models,
            _process(directory, "pipelinegateway", [*common, *front, "-health-probe-port", str(others)]) as pipelines,
        ):
            pipelines.wait_ready(lambda: listens(port) and listens(grpc_port), _START_TIMEOUT_S)
            models.wait_ready(lambda: "Model line added" in models.log.read_text(), _START_TIMEOUT_S)
            yield Served(port, grpc_port)


def _process(directory: Path, name: str, arguments: list[str]) -> PartProcess:
    environ = {**os.environ, "POD_NAME": name, "POD_IP": "127.0.0.1", "NO_PROXY": "*"}
    command = [str(Path(os.environ[GATEWAYS]) / name), *arguments]
    return PartProcess(command, directory / f"{name}.log", cwd=directory, environ=environ)


@contextlib.contextmanager
def _services() -> Iterator[int]:
    """The port of a scheduler that knows one model and one pipeline, and of the model."""
    scheduler = {
        "SubscribeModelStatus": grpc.unary_stream_rpc_method_handler(_models),
        "SubscribePipelineStatus": grpc.unary_stream_rpc_method_handler(_pipelines),
        "ModelStatusEvent": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b""),
        "PipelineStatusEvent": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b""),
    }
    model = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer_line)}
    services = {"seldon.mlops.scheduler.Scheduler": scheduler, "inference.GRPCInferenceService": model}
    with grpc_services(services) as port:
        yield port


def _models(_request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    """Name, its one version, when, and that it was made."""
    yield message_of({1: "line", 2: message_of({2: 1}), 5: 1, 6: 1})
    _until_it_leaves(context)


def _pipelines(_request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    """A pipeline of one step, which is ready."""
    pipeline = message_of({1: "chain", 2: "1", 3: 1, 4: message_of({1: "line"}), 5: message_of({1: "line.outputs"})})
    state = message_of({1: 1, 2: 3, 5: 1, 6: 3})
    yield message_of({1: "chain", 2: message_of({1: pipeline, 2: state}), 3: 1, 4: 1})
    _until_it_leaves(context)


def _until_it_leaves(context: Any) -> None:
    left = futures.Future[None]()
    if context.add_callback(lambda: left.set_result(None)):
        left.result()
