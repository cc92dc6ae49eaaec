"""Loggers of others, the real programs, send to the collector what passes them: it is stored once, and right."""

import base64
import gzip
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from collector.sources.files import FilesSource, open_place
from collector.store.migrate import migrate
from collector.store.store import Store
from tests.clients.collecting import INTERPRETER, Receiving, Row, Stored, stored
from tests.clients.go_programs import program_of
from tests.clients.grpc_services import grpc_services
from tests.clients.kserve_agent import kserve_agent, listens
from tests.clients.plain_server import PlainServer, binary_request, line
from tests.logger_sidecar.finishing.predict_messages import message_types
from tests.parts.azurite import access_token, azurite_server
from tests.parts.http import answers
from tests.parts.missing import MissingPartError
from tests.parts.processes import PartProcess, free_ports, wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow]

Need = Callable[[str, Callable[[], Any]], Any]
ROWS = [(1.0, 2.0), (-0.5, 1e6)]
V1 = json.dumps({"instances": ROWS}).encode()
V2 = json.dumps(
    {
        "inputs": [
            {"name": name, "shape": [2], "datatype": "FP64", "data": list(column)}
            for name, column in zip("ab", zip(*ROWS, strict=True), strict=True)
        ]
    }
).encode()


#: An answer, and the request that it answers.
HALVES = (("response", json.dumps({"predictions": [line(*row) for row in ROWS]}).encode()), ("request", V1))


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    """A collector that takes events."""
    with Receiving(tmp_path) as found:
        yield found


@pytest.fixture
def server() -> Iterator[PlainServer]:
    """The model server behind the logger."""
    with PlainServer() as found:
        yield found


@pytest.fixture(scope="session")
def agent(need: Need) -> Path:
    """KServe's agent."""
    return Path(need("KServe's agent", lambda: program_of("kserve")))


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> int:
    """Ask as a client does, with ``_`` for ``-`` in headers; the status."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def asked(request_id: str) -> list[Row]:
    """The rows that a request of ROWS leaves."""
    return [(request_id, place, a, b, line(a, b)) for place, (a, b) in enumerate(ROWS)]


def without_ids(rows: Any) -> list[Any]:
    return sorted(row[1:] for row in rows)


def told_by_the_sdk(mode: str, kind: str, body: bytes) -> dict[str, Any]:
    """An event as ``go/cloudevents`` is told of it."""
    return {
        "mode": mode,
        "id": f"{mode}-{kind}",
        "type": f"org.kubeflow.serving.inference.{kind}",
        "source": "/go",
        "time": "2026-11-21T10:00:00.5+01:00",
        "extensions": {
            "requestid": f"{mode} ü 50%",
            "inferenceservicename": "line",
            "namespace": "shop",
            "metadata": '{"X-Tenant": ["a b, 50%", "ü"]}',
        },
        "contenttype": "application/json",
        "data": base64.b64encode(body).decode(),
    }


# --- the SDK for Go -----------------------------------------------------------------------------------------------
def test_the_sdk_for_go_sends_every_mode(need: Need, receiving: Receiving) -> None:
    program = need("CloudEvents' SDK for Go", lambda: program_of("cloudevents"))
    modes = ("binary", "structured", "batch")
    told = [told_by_the_sdk(mode, *half) for mode in modes for half in HALVES]
    lines = "\n".join(map(json.dumps, told))
    done = subprocess.run(
        [program, receiving.url], input=lines, capture_output=True, text=True, timeout=180, check=True
    )
    assert [answer[:4] for answer in done.stdout.splitlines()] == ["202:"] * 5, done.stdout
    receiving.wait_for(6)
    found = receiving.store()
    assert found.letters == []
    assert found.rows == sorted(row for mode in modes for row in asked(f"{mode} ü 50%"))
    assert found.halves == {"received": 6, "paired": 6}


def test_the_sdk_that_seldons_executor_has_sends_what_it_sends(need: Need, receiving: Receiving) -> None:
    program = need("version 1 of CloudEvents' SDK for Go", lambda: program_of("cloudevents1"))
    answer = {"data": {"names": ["y"], "ndarray": [[line(*row)] for row in ROWS]}, "meta": {"puid": "puid-1"}}
    told = []
    for kind, document in (("request", {"data": {"names": ["a", "b"], "ndarray": ROWS}}), ("response", answer)):
        named = {"inferenceservicename": "line", "namespace": "shop", "endpoint": "default", "protocol": "seldon"}
        told.append(
            {
                "id": f"fresh-{kind}",
                "type": f"io.seldon.serving.inference.{kind}",
                "source": "http://:8000/",
                "extensions": {**named, "modelid": "classifier", "requestid": "puid-1"},
                "contenttype": "application/json",
                "data": base64.b64encode(json.dumps(document).encode()).decode(),
            }
        )
    lines = "\n".join(map(json.dumps, told))
    subprocess.run([program, receiving.url], input=lines, text=True, timeout=180, check=True)
    receiving.wait_for(2)
    found = receiving.store()
    assert (found.rows, found.letters) == (asked("puid-1"), [])


# --- ModelMesh's payload processor --------------------------------------------------------------------------------
def test_the_client_of_java_sends_payloads_as_modelmesh_does(need: Need, receiving: Receiving) -> None:
    java = need("Java's compiler", find_java)
    types = message_types()
    request, answer = types["Request"](model_name="line"), types["Response"](model_name="line")
    for name, column in zip("ab", zip(*ROWS, strict=True), strict=True):
        request.inputs.add(name=name, datatype="FP64", shape=[2]).contents.fp64_contents.extend(column)
    answers_of_rows = [line(*row) for row in ROWS]
    answer.outputs.add(name="y", datatype="FP64", shape=[2]).contents.fp64_contents.extend(answers_of_rows)
    told = []
    for kind, message, status in (("request", request, ""), ("response", answer, "OK")):
        data = base64.b64encode(message.SerializeToString()).decode()
        names = {"id": "17", "modelid": "line__isvc-3642375d03", "vModelId": "line", "kind": kind, "status": status}
        told.append(json.dumps({**names, "data": data, "metadata": {"x-tenant": "a"}}))
    program = Path(__file__).with_name("java") / "Post.java"
    url = f"{receiving.url}consumer/kserve/v2/shop"
    done = subprocess.run(
        [java, program, url], input="\n".join(told), capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.split() == ["200", "200"]
    receiving.wait_for(2)
    found = receiving.store()
    assert (found.rows, found.letters) == (asked("127.0.0.1/17"), [])


def find_java() -> str:
    found = shutil.which("java")
    if found is None or shutil.which("javac") is None:
        raise MissingPartError("Java's compiler", "apt-get install default-jdk-headless")
    return found


# --- Knative's broker ---------------------------------------------------------------------------------------------
def test_knatives_broker_hands_on_what_kserves_agent_and_others_send(
    need: Need, agent: Path, receiving: Receiving, server: PlainServer, tmp_path: Path
) -> None:
    program = need("Knative's broker", lambda: program_of("knative"))
    sdk = need("CloudEvents' SDK for Go", lambda: program_of("cloudevents"))
    [port] = free_ports(1)
    with PartProcess([str(program), str(port), receiving.url], tmp_path / "broker.log") as broker:
        broker.wait_ready(lambda: listens(port), 120)
        address = f"http://127.0.0.1:{port}/shop/default"
        with kserve_agent(agent, tmp_path, server.port, ["--log-url", address, "--log-mode", "all"]) as agent_port:
            assert ask(agent_port, "/v2/models/line/infer", gzip.compress(V2), content_encoding="gzip") == 200
            assert ask(agent_port, "/v1/models/line:predict", V1, ce_id="chosen") == 200
            receiving.wait_for(4)
        lines = "\n".join(json.dumps(told_by_the_sdk("structured", *half)) for half in HALVES)
        done = subprocess.run([sdk, address], input=lines, capture_output=True, text=True, timeout=180, check=True)
        assert [answer[:4] for answer in done.stdout.splitlines()] == ["202:"] * 2, done.stdout
        receiving.wait_for(6)
    found = receiving.store()
    assert found.letters == []
    assert {row[0] for row in found.rows} > {"chosen", "structured ü 50%"}
    assert without_ids(found.rows) == without_ids(asked("") * 3)
    assert found.halves == {"received": 6, "paired": 6}


# --- KServe's agent -----------------------------------------------------------------------------------------------
def test_kserves_agent_logs_what_passes_it(
    agent: Path, receiving: Receiving, server: PlainServer, tmp_path: Path
) -> None:
    arguments = ["--log-url", receiving.url, "--log-mode", "all", "--metadata-headers", "X-Tenant"]
    with kserve_agent(agent, tmp_path, server.port, arguments) as port:
        predict, infer = "/v1/models/line:predict", "/v2/models/line/infer"
        assert ask(port, predict, V1, ce_id="chosen", x_tenant='a "b", 50%', content_type="text/plain") == 200
        assert ask(port, predict, V1) == 200  # the content type is then a form's
        assert ask(port, infer, V2, content_type="application/json") == 200
        assert ask(port, infer, gzip.compress(V2), content_encoding="gzip") == 200
        body, headers = binary_request(ROWS)
        assert ask(port, infer, body, **headers) == 200
        assert ask(port, "/v2/models/line") == 200
        assert ask(port, "/fail", V1) == 500
        receiving.wait_for(5 * 2 + 2 + 1)
    found = receiving.store()
    assert found.letters == []
    assert [row for row in found.rows if row[0] == "chosen"] == asked("chosen")
    assert without_ids(found.rows) == without_ids(asked("") * 5)
    fresh = {row[0] for row in found.rows} - {"chosen"}
    assert len(fresh) == 4
    assert all(str(uuid.UUID(request_id)) == request_id for request_id in fresh)
    assert found.halves == {"received": 13, "paired": 10, "not_inference": 2}  # the one that failed waits for its time


def test_kserves_agent_logs_calls_of_grpc(agent: Path, receiving: Receiving, tmp_path: Path) -> None:
    types = message_types()
    request, answered = types["Request"](model_name="line"), types["Response"](model_name="line")
    for name, column in zip("ab", zip(*ROWS, strict=True), strict=True):
        request.inputs.add(name=name, datatype="FP64", shape=[2]).contents.fp64_contents.extend(column)
    answers_of_rows = [line(*row) for row in ROWS]
    answered.outputs.add(name="y", datatype="FP64", shape=[2]).contents.fp64_contents.extend(answers_of_rows)
    answer = answered.SerializeToString()
    infer = {"ModelInfer": grpc.unary_unary_rpc_method_handler(lambda _, __: answer)}
    with (
        grpc_services({"inference.GRPCInferenceService": infer}) as behind_port,
        kserve_agent(agent, tmp_path, behind_port, ["--log-url", receiving.url]) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        assert call(request.SerializeToString(), timeout=60, metadata=[("ce-id", "called")]) == answer
        receiving.wait_for(2)
    found = receiving.store()
    assert (found.rows, found.letters) == (asked("called"), [])


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_kserves_agent_keeps_batches_in_a_bucket(
    form: str, agent: Path, s3_program: Path, server: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with PartProcess([str(s3_program), "-H", "127.0.0.1", "-p", str(port)], tmp_path / "s3.log") as store_process:
        store_process.wait_ready(lambda: answers(f"{endpoint}/moto-api/"), 120)
        put(f"{endpoint}/logs")
        keeps_batches(agent, server, tmp_path, "s3://logs/prefix", form, S3_USER_VIRTUAL_BUCKET="false", **environ)


def test_kserves_agent_keeps_batches_in_a_container_of_azure(
    agent: Path, azurite_program: Path, server: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = certificates(tmp_path)  # the agent gives its token to nobody who could be anybody
    with azurite_server(azurite_program, tmp_path, tls) as azurite:
        azurite.make_container("logs")
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[2]))
        for name, value in azurite.environ.items():
            monkeypatch.setenv(name, value)
        environ = {"AZURE_SERVICE_URL": azurite.endpoint, "AZURE_ACCESS_TOKEN": access_token()}
        environ["AZURE_ACCESS_EXPIRES_ON_SECONDS"] = str(int(time.time()) + 3600)
        keeps_batches(agent, server, tmp_path, "abfs://logs/prefix", "json", **environ)


def certificates(directory: Path) -> tuple[Path, Path, Path]:
    """A server's certificate, its key, and that of the authority which issued it."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key, root = (directory / name for name in ("server.pem", "server.key", "root.pem"))
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(root)
    return certificate, key, root


def keeps_batches(agent: Path, server: PlainServer, directory: Path, address: str, form: str, **environ: str) -> None:
    """Three inferences through the agent into a store; all of them are read from there."""
    database = f"sqlite:///{directory}/store.db"
    migrate(database)
    store = Store(database, prepare=False)
    found: list[Stored] = []
    arguments = ["--log-url", address, "--log-store-path", "here", "--log-store-format", form]
    arguments += ["--log-batch-size", "4", "--log-batch-interval", "1s", "--metadata-headers", "X-Tenant"]
    with kserve_agent(agent, directory, server.port, arguments, **environ) as port:
        for number in range(3):  # six records: a batch that is full, and one whose time is over, or more of these
            assert ask(port, "/v1/models/line:predict", V1, ce_id=f"id-{number}", x_tenant="a") == 200
        place = open_place(address, 0.0)

        def all_is_there() -> bool:
            found.append(stored(store, database, FilesSource(place, store.position, INTERPRETER), directory))
            return found[-1].halves.get("paired") == 6

        wait_until(all_is_there, 120, "six records")
    store.close()
    assert len(place.list()) >= 2
    paths = sorted(file.path for file in place.list())
    assert (found[-1].rows, found[-1].letters) == (
        sorted(row for number in range(3) for row in asked(f"id-{number}")),
        [],
    )
    assert found[-1].halves == {"received": 6, "paired": 6}
    assert {path.rpartition("/")[0] for path in paths} == {"shop/line/predictor/here"}
    assert all(path.endswith(f".{form}") for path in paths)


def put(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, b"", method="PUT"), timeout=60).close()
