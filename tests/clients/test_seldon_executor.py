"""Seldon Core 1's executor, the real program, logs what passes it: ``make seldon`` runs this.

Behind it stand Seldon's own wrapper for Python, MLServer, and a server of TensorFlow's protocol.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from tests.clients.built_loggers import built
from tests.clients.collecting import Receiving, Row
from tests.clients.plain_server import PlainServer, line
from tests.clients.seldon_executor import (
    EXECUTOR,
    TYPES,
    Served,
    call,
    doubles,
    executor,
    node,
    seldon_model,
    tensorflow_model,
)
from tests.clients.servers import Server
from tests.clients.test_built_loggers import read_topic
from tests.clients.test_producers import ROWS, V1, V2, ask, asked
from tests.logger_sidecar.finishing.predict_messages import message_types

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.built, built(EXECUTOR, "make seldon")]

Need = Callable[[str, Callable[[], Any]], Any]
PREDICT, FEEDBACK = "/api/v1.0/predictions", "/api/v1.0/feedback"
SELDON_PREDICT = "/seldon.protos.Seldon/Predict"
V2_TYPES = message_types()
#: One of the two columns that the model wants.
V2_ONE = [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1.0]}]
ONE = {"data": {"names": ["a"], "ndarray": [[1.0]]}}


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    """A collector that takes events."""
    with Receiving(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def seldon(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Seldon's wrapper with the model."""
    with need("Seldon's wrapper for Python", lambda: seldon_model(tmp_path_factory.mktemp("seldon"))) as found:
        yield found


def message(*, as_tensor: bool) -> Any:
    """ROWS as one of Seldon's messages."""
    made = TYPES["SeldonMessage"]()
    made.data.names.extend("ab")
    if as_tensor:
        made.data.tensor.shape.extend([len(ROWS), 2])
        made.data.tensor.values.extend(value for row in ROWS for value in row)
    else:
        made.data.ndarray.extend(list(row) for row in ROWS)
    return made


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def headers(puid: str) -> dict[str, str]:
    return {"content_type": "application/json", "seldon_puid": puid}


def all_of(*request_ids: str) -> list[Row]:
    return sorted(row for request_id in request_ids for row in asked(request_id))


def test_seldons_own_protocol_over_rest(seldon: Served, receiving: Receiving, tmp_path: Path) -> None:
    rows = [list(row) for row in ROWS]
    flat = {"shape": [2, 2], "values": [value for row in rows for value in row]}
    bodies = [{"names": ["a", "b"], "ndarray": rows}, {"names": ["a", "b"], "tensor": flat}, {"ndarray": rows}]
    with executor(tmp_path, "seldon", node(seldon, receiving.url)) as served:
        for place, data in enumerate(bodies):
            assert ask(served.port, PREDICT, encoded({"data": data}), **headers(f"rest-{place}")) == 200
        assert ask(served.port, PREDICT, encoded({"jsonData": rows}), **headers("json")) == 200
        assert ask(served.port, PREDICT, encoded(ONE), **headers("failed")) == 500
        skipped = {**headers("skipped"), "seldon_skip_logging": "true"}
        assert ask(served.port, PREDICT, encoded({"data": bodies[0]}), **skipped) == 200
        receiving.wait_for(4 * 2 + 1)
    found = receiving.store()
    assert found.letters == []
    assert found.rows == all_of("json", "rest-0", "rest-1", "rest-2")
    assert found.halves == {"received": 9, "paired": 8}  # the executor logs no answer of one that failed


def test_feedback_becomes_labels_and_a_reward_of_0_is_one(seldon: Served, receiving: Receiving, tmp_path: Path) -> None:
    one = encoded({"data": {"names": ["a", "b"], "ndarray": [[1.0, 2.0]]}})
    told = {"reward-0": {"reward": 0}, "reward-1": {"reward": 1.5}, "truth": {"truth": {"data": {"ndarray": [[7.0]]}}}}
    with executor(tmp_path, "seldon", node(seldon, receiving.url)) as served:
        for puid, feedback in told.items():
            assert ask(served.port, PREDICT, one, **headers(puid)) == 200
            assert ask(served.port, FEEDBACK, encoded(feedback), **headers(puid)) == 200
        receiving.wait_for(3 * 3)
    found = receiving.store()
    assert found.letters == []
    assert found.labels == {("reward-0", 0): 0.0, ("reward-1", 0): 1.5, ("truth", 0): 7.0}
    assert found.halves == {"received": 6, "paired": 6}


def test_seldons_own_protocol_over_grpc(seldon: Served, receiving: Receiving, tmp_path: Path) -> None:
    with executor(tmp_path, "seldon", node(seldon, receiving.url)) as served:
        answers = [call(served, SELDON_PREDICT, message(as_tensor=kind), puid=f"grpc-{kind}") for kind in (True, False)]
        made = call(served, SELDON_PREDICT, message(as_tensor=True))[1]
        with pytest.raises(grpc.RpcError, match="two columns"):
            call(served, SELDON_PREDICT, json_format.ParseDict(ONE, TYPES["SeldonMessage"]()))
        # It makes an id of its own for feedback over gRPC, loses it, and logs nothing.
        call(served, "/seldon.protos.Seldon/SendFeedback", TYPES["Feedback"](reward=0.0), puid="grpc-True")
        receiving.wait_for(3 * 2 + 1)
    assert list(answers[0][0].data.tensor.values) == [line(*row) for row in ROWS]
    assert str(uuid.UUID(made)) == made
    found = receiving.store()
    assert (found.rows, found.letters) == (all_of("grpc-True", "grpc-False", made), [])
    assert (found.halves, found.labels) == ({"received": 7, "paired": 6}, {})


def test_the_v2_protocol_in_front_of_mlserver(
    servers: Callable[[str], Server], receiving: Receiving, tmp_path: Path
) -> None:
    behind = servers("mlserver")
    request = V2_TYPES["Request"](model_name="line")
    for name, column in zip("ab", zip(*ROWS, strict=True), strict=True):
        request.inputs.add(name=name, datatype="FP64", shape=[2]).contents.fp64_contents.extend(column)
    for protocol in ("v2", "kfserving"):
        graph = node(Served(behind.port, behind.grpc_port), receiving.url, "line")
        with executor(tmp_path, protocol, graph) as served:
            assert ask(served.port, "/v2/models/line/infer", V2, **headers(f"{protocol}-rest")) == 200
            assert ask(served.port, "/v2/models/line/infer", encoded({"inputs": V2_ONE}), **headers("failed")) >= 400
            infer(served, request, f"{protocol}-grpc")
    receiving.wait_for(2 * 5)
    found = receiving.store()
    assert found.letters == []
    assert found.rows == all_of("kfserving-grpc", "kfserving-rest", "v2-grpc", "v2-rest")
    assert found.halves == {"received": 10, "paired": 8}


def infer(served: Served, request: Any, puid: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        one = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        one(request.SerializeToString(), timeout=60, metadata=[("seldon-puid", puid)])


def test_tensorflows_protocol(receiving: Receiving, tmp_path: Path) -> None:
    request = TYPES["PredictRequest"]()
    request.model_spec.name = "line"
    for name, column in zip("ab", zip(*ROWS, strict=True), strict=True):
        request.inputs[name].CopyFrom(doubles(list(column)))
    predict = "/tensorflow.serving.PredictionService/Predict"
    with (
        PlainServer() as server,
        tensorflow_model(server.port) as model,
        executor(tmp_path, "tensorflow", node(model, receiving.url, "line")) as served,
    ):
        assert ask(served.port, "/v1/models/line:predict", V1, **headers("rest")) == 200
        answer = call(served, predict, request, "PredictResponse", "grpc")[0]
        assert list(answer.outputs["y"].double_val) == [line(*row) for row in ROWS]
        with pytest.raises(grpc.RpcError, match="two columns"):
            call(served, predict, TYPES["PredictRequest"](), "PredictResponse")
        assert ask(served.port, FEEDBACK, encoded({"reward": 0}), **headers("rest")) == 200
        receiving.wait_for(2 * 2 + 1 + 1)
    found = receiving.store()
    assert (found.rows, found.letters) == (all_of("rest", "grpc"), [])
    assert (found.halves, found.labels) == ({"received": 5, "paired": 4}, {("rest", 0): 0.0})


def test_over_kafka(kafka: str, seldon: Served, tmp_path: Path) -> None:
    topic = f"seldon-{uuid.uuid4().hex}"
    to_kafka = ["--log_kafka_broker", kafka, "--log_kafka_topic", topic]
    ids = [f"kafka-{number}" for number in range(20)]
    with executor(tmp_path, "seldon", node(seldon, "http://unused"), *to_kafka) as served:
        body = encoded({"data": {"names": ["a", "b"], "ndarray": [list(row) for row in ROWS]}})
        for puid in ids:
            assert ask(served.port, PREDICT, body, **headers(puid)) == 200
        call(served, SELDON_PREDICT, message(as_tensor=True), puid="grpc")
        assert (
            ask(served.port, FEEDBACK, encoded({"truth": {"data": {"ndarray": [[0.0], [1.0]]}}}), **headers(ids[0]))
            == 200
        )
        found = read_topic(kafka, topic, 2 * 21 + 1, tmp_path)
    assert (found.rows, found.letters) == (all_of("grpc", *ids), [])
    assert found.halves == {"received": 42, "paired": 42}
    assert found.labels == {(ids[0], 0): 0.0, (ids[0], 1): 1.0}
