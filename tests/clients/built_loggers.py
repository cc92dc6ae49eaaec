"""Knative's Kafka broker and ModelMesh, built from their sources and run without a Kubernetes.

Neither is in a package registry, so whoever runs them names checkouts: ``make loggers KNATIVE=DIR MODELMESH=DIR``
builds both and sets the variables below.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.clients.grpc_services import grpc_services
from tests.clients.kserve_agent import listens
from tests.clients.plain_server import line
from tests.logger_sidecar.finishing.predict_messages import message_types
from tests.parts.processes import PartProcess, free_ports, wait_until
from tests.parts.protobuf import field, varint

_START_TIMEOUT_S = 300.0
_INFER = "/inference.GRPCInferenceService/ModelInfer"


KNATIVE = "DRIFTLINE_KNATIVE_KAFKA"
MODELMESH = "DRIFTLINE_MODELMESH"


def built(variable: str, target: str = "make loggers") -> pytest.MarkDecorator:
    """The mark of a test that needs what a variable names, which ``target`` builds."""
    return pytest.mark.skipif(not os.environ.get(variable), reason=f"{variable} is not set: '{target}' runs this")


def _java() -> str:
    return str(Path(os.environ["JAVA_HOME"]) / "bin" / "java") if "JAVA_HOME" in os.environ else "java"


# --- Knative's Kafka broker -----------------------------------------------------------------------------------------
class KnativeBroker:
    """Receiver and dispatcher of one broker, which is told of by a file as its control plane would write it.

    ``url``: where events go. They are kept in ``topic``, and given to ``subscriber`` from there.
    """

    def __init__(self, directory: Path, bootstrap: str, topic: str, subscriber: str, content_mode: str) -> None:
        self._data_plane = Path(os.environ[KNATIVE]) / "data-plane"
        self._directory = directory
        self._port, self._tls_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self._port}/shop/default"
        (directory / "none").mkdir()
        (directory / "logging.xml").write_text("<configuration/>")
        for name, text in (("producer", "acks=all\n"), ("consumer", "auto.offset.reset=earliest\n"), ("http", "")):
            (directory / f"{name}.properties").write_text(text)
        reference = {"uuid": "1", "namespace": "shop", "name": "default"}
        trigger = {
            "uid": "2",
            "consumerGroup": f"knative-trigger-{topic}",
            "destination": subscriber,
            "discardReply": {},
            "vReplicas": 1,
            "reference": {"uuid": "2", "namespace": "shop", "name": "driftline"},
        }
        broker = {
            "uid": "1",
            "topics": [topic],
            "bootstrapServers": bootstrap,
            "ingress": {"path": "/shop/default", "contentMode": content_mode},
            "egresses": [trigger],
            "reference": reference,
        }
        (directory / "contract").write_text(json.dumps({"generation": 1, "resources": [broker]}))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Both processes, until the block ends."""
        with self._process("receiver") as receiver, self._process("dispatcher"):
            receiver.wait_ready(lambda: listens(self._port), _START_TIMEOUT_S)
            yield

    def _process(self, name: str) -> PartProcess:
        jar = self._data_plane / f"{name}-loom" / "target" / f"{name}-loom-1.0-SNAPSHOT.jar"
        main = f"dev.knative.eventing.kafka.broker.{name}loom.Main"
        logging = f"-Dlogback.configurationFile={self._directory}/logging.xml"
        command = [_java(), "-Xmx256m", "-XX:+UseSerialGC", logging, "-cp", str(jar), main]
        files = {
            "PRODUCER_CONFIG_FILE_PATH": "producer.properties",
            "CONSUMER_CONFIG_FILE_PATH": "consumer.properties",
            "WEBCLIENT_CONFIG_FILE_PATH": "http.properties",
            "HTTPSERVER_CONFIG_FILE_PATH": "http.properties",
            "DATA_PLANE_CONFIG_FILE_PATH": "contract",
            "CONFIG_OBSERVABILITY_PATH": "none",
            "CONFIG_FEATURES_PATH": "none",
        }
        environ = {
            **os.environ,
            **{variable: str(self._directory / file) for variable, file in files.items()},
            "INGRESS_PORT": str(self._port),
            "INGRESS_TLS_PORT": str(self._tls_port),
            "LIVENESS_PROBE_PATH": "/healthz",
            "READINESS_PROBE_PATH": "/readyz",
            "METRICS_PUBLISH_QUANTILES": "false",
            "METRICS_JVM_ENABLED": "false",
            "METRICS_HTTP_CLIENT_ENABLED": "false",
            "METRICS_HTTP_SERVER_ENABLED": "false",
            "EGRESSES_INITIAL_CAPACITY": "1",
            "SERVICE_NAMESPACE": "shop",
            "WAIT_STARTUP_SECONDS": "60",
            "KUBERNETES_MASTER": "http://127.0.0.1:1",  # there is none
            "NO_PROXY": "*",
        }
        return PartProcess(command, self._directory / f"{name}.log", cwd=self._directory, environ=environ)


# --- ModelMesh ------------------------------------------------------------------------------------------------------
class ModelMesh:
    """One pod of ModelMesh with a runtime that serves ``line``; its payloads go to ``consumer``."""

    def __init__(self, directory: Path, etcd: str, consumer: str) -> None:
        self._source = Path(os.environ[MODELMESH])
        self._directory = directory
        self._etcd = etcd
        self._consumer = consumer
        self._port, self._litelinks, self._kept, self._peers = free_ports(4)

    @contextmanager
    def running(self) -> Iterator[grpc.Channel]:
        """A channel to it, while all of it runs."""
        kept = f"http://127.0.0.1:{self._kept}"
        peers = f"http://127.0.0.1:{self._peers}"
        etcd = [self._etcd, "--data-dir", str(self._directory / "etcd"), "--listen-client-urls", kept]
        etcd += ["--advertise-client-urls", kept, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        etcd += ["--initial-cluster", f"default={peers}"]
        with grpc_services(_runtime()) as runtime_port, PartProcess(etcd, self._directory / "etcd.log") as store:
            store.wait_ready(lambda: listens(self._kept), _START_TIMEOUT_S)
            with self._process(kept, runtime_port) as mesh:
                mesh.wait_ready(lambda: listens(self._port), _START_TIMEOUT_S)
                with grpc.insecure_channel(f"127.0.0.1:{self._port}") as channel:
                    yield channel

    def _process(self, kept: str, runtime_port: int) -> PartProcess:
        jars = (self._source / "target" / "classpath.txt").read_text().strip().split(":")
        jars.sort(key=lambda jar: "litelinks-core" not in jar)  # it has to be the first
        opened = ["--add-opens=java.base/java.nio=ALL-UNNAMED", "-Dio.netty.tryReflectionSetAccessible=true"]
        threads = "-Dlitelinks.threadcontexts=log_mdc"
        command = [
            _java(),
            "-Xmx384m",
            "-XX:+UseSerialGC",
            *opened,
            threads,
            "-Dlitelinks.produce_pooled_bytebufs=true",
        ]
        command += ["-cp", ":".join([*jars[:1], str(self._source / "target" / "classes"), *jars[1:]])]
        command += ["com.ibm.watson.litelinks.server.LitelinksService", "-s"]
        command += ["com.ibm.watson.modelmesh.SidecarModelMesh", "-n", "modelmesh", "-p", str(self._litelinks)]
        environ = {
            **os.environ,
            "KV_STORE": f"etcd:{kept}",
            "LL_REGISTRY": f"etcd:{kept}",
            "LITELINKS_SERVER_REGISTRY": f"etcd:{kept}",
            "MM_SVC_GRPC_PORT": str(self._port),
            "INTERNAL_GRPC_PORT": str(runtime_port),
            "MM_PAYLOAD_PROCESSORS": self._consumer,
            "NO_PROXY": "*",
        }
        return PartProcess(command, self._directory / "mesh.log", cwd=self._directory, environ=environ)


def _runtime() -> dict[str, dict[str, grpc.RpcMethodHandler]]:
    """A model runtime by ModelMesh's contract: it loads anything, and its models are all ``line``."""
    ready = message_of({1: 1, 2: 1 << 30, 3: 1, 4: 60_000, 5: 1 << 20, 6: "1", 10: 1})
    answers = {
        "runtimeStatus": ready,
        "loadModel": message_of({1: 1 << 20}),
        "unloadModel": b"",
        "modelSize": message_of({1: 1}),
    }
    mesh = {name: grpc.unary_unary_rpc_method_handler(_always(answer)) for name, answer in answers.items()}
    infer = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer_line)}
    return {"mmesh.ModelRuntime": mesh, "inference.GRPCInferenceService": infer}


def _always(answer: bytes) -> Any:
    return lambda _request, _context: answer


def infer_line(request: bytes, context: grpc.ServicerContext) -> bytes:
    """The model ``line`` by the V2 protocol over gRPC: anything but two columns is an error."""
    types = message_types()
    asked = types["Request"]()
    asked.ParseFromString(request)
    columns = [tensor.contents.fp64_contents for tensor in asked.inputs]
    if len(columns) != 2:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "two columns are wanted")
    answer = types["Response"](model_name=asked.model_name, id=asked.id)
    rows = list(zip(*columns, strict=True))
    answer.outputs.add(name="y", datatype="FP64", shape=[len(rows)]).contents.fp64_contents.extend(
        line(*row) for row in rows
    )
    return bytes(answer.SerializeToString())


def register(channel: grpc.Channel, virtual: str, model: str) -> None:
    """Let ``virtual`` name the model ``model``, and wait until it is loaded."""
    set_model = channel.unary_unary("/mmesh.ModelMesh/setVModel")
    request = message_of({1: virtual, 2: model, 4: message_of({1: "any", 2: "nowhere"}), 6: 1, 8: 1})

    def registered() -> bool:
        try:
            set_model(request, timeout=60)
        except grpc.RpcError:
            return False
        return True

    wait_until(registered, _START_TIMEOUT_S, "the model is loaded", pause_s=1.0)


def infer(channel: grpc.Channel, virtual: str, columns: Mapping[str, Sequence[float]]) -> bytes:
    """Ask the model as a client does; raises grpc.RpcError."""
    request = message_types()["Request"](model_name="line")
    for name, values in columns.items():
        request.inputs.add(name=name, datatype="FP64", shape=[len(values)]).contents.fp64_contents.extend(values)
    metadata = [("mm-vmodel-id", virtual), ("x-tenant", "a")]
    return bytes(channel.unary_unary(_INFER)(request.SerializeToString(), timeout=60, metadata=metadata))


def message_of(fields: Mapping[int, int | str | bytes]) -> bytes:
    """A protobuf message with these fields."""
    parts = []
    for number, value in fields.items():
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        else:
            parts.append(field(number, value))
    return b"".join(parts)
