import gzip
import json
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from driftline import names
from driftline.testing import ManualClock
from serving.app import create_app
from serving.model_config import ModelConfig, TensorSpec
from serving.repository import Model, Repository, load_repository
from serving.tensors import Tensor
from tests.serving.model_examples import write_classifier, write_regressor

REQUEST = {
    "id": "abc",
    "inputs": [
        {"name": "city", "shape": [3], "datatype": "BYTES", "data": ["Oslo", "Rome", "Atlantis"]},
        {"name": "income", "shape": [3, 1], "datatype": "FP64", "data": [[-2.0], [0.5], [3.0]]},
    ],
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models")
    write_classifier(found)
    write_classifier(found, "10", variant="canary")
    write_regressor(found)
    return found


@pytest.fixture
def client(directory: Path) -> TestClient:
    return TestClient(create_app(load_repository(directory), ManualClock(1234.0)))


def oracle(directory: Path) -> tuple[list[int], list[float]]:
    """Class and probability straight from scikit-learn, codes by hand."""
    estimator = write_classifier(directory)
    matrix = np.array([[0, -2.0], [2, 0.5], [np.nan, 3.0]])
    return estimator.predict(matrix).tolist(), estimator.predict_proba(matrix)[:, 1].tolist()


def test_json_infer_answers_what_the_estimator_predicts(client: TestClient, directory: Path, tmp_path: Path) -> None:
    answer = client.post("/v2/models/credit/versions/1/infer", json=REQUEST)
    classes, probabilities = oracle(tmp_path)
    assert answer.status_code == 200
    assert answer.json() == {
        "model_name": "credit",
        "model_version": "1",
        "id": "abc",
        "outputs": [
            {"name": "default", "shape": [3], "datatype": "INT64", "data": classes},
            {"name": "probability", "shape": [3], "datatype": "FP64", "data": probabilities},
        ],
    }
    assert answer.headers[names.HEADER_VARIANT] == "stable"


def test_the_newest_version_answers_when_none_is_named(client: TestClient) -> None:
    answer = client.post("/v2/models/credit/infer", json=REQUEST)
    assert answer.json()["model_version"] == "10"
    assert answer.headers[names.HEADER_VARIANT] == "canary"


def test_an_absent_id_stays_absent(client: TestClient) -> None:
    assert "id" not in client.post("/v2/models/credit/infer", json={"inputs": REQUEST["inputs"]}).json()


def test_raw_tensors_go_in_and_out_beside_json_ones(client: TestClient) -> None:
    cities = b"".join(struct.pack("<I", len(city)) + city for city in (b"Oslo", b"Rome"))
    head = {
        "inputs": [
            {"name": "city", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(cities)}},
            {"name": "income", "shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": 16}},
        ],
        "outputs": [{"name": "probability", "parameters": {"binary_data": True}}, {"name": "default"}],
    }
    text = json.dumps(head).encode()
    body = gzip.compress(text + cities + struct.pack("<2d", -2.0, 0.5))
    headers = {"Inference-Header-Content-Length": str(len(text)), "Content-Encoding": "gzip"}
    answer = client.post("/v2/models/credit/versions/1/infer", content=body, headers=headers)
    length = int(answer.headers["Inference-Header-Content-Length"])
    outputs = json.loads(answer.content[:length])["outputs"]
    as_json = client.post("/v2/models/credit/versions/1/infer", json=REQUEST).json()["outputs"]
    assert [output["name"] for output in outputs] == ["probability", "default"]
    assert outputs[0]["parameters"] == {"binary_data_size": 16}
    assert list(struct.unpack("<2d", answer.content[length:])) == as_json[1]["data"][:2]
    assert outputs[1]["data"] == as_json[0]["data"][:2]


def test_v1_predict_answers_rows_as_objects_or_values(client: TestClient) -> None:
    instances = [{"city": "Oslo", "income": -2.0}, {"city": "Rome", "income": 0.5}]
    answer = client.post("/v1/models/credit:predict", json={"instances": instances})
    assert [set(row) for row in answer.json()["predictions"]] == [{"default", "probability"}] * 2
    line = client.post("/v1/models/line:predict", json={"instances": [[1, 1], [0, 0]]})
    assert line.json()["predictions"] == pytest.approx([6.0, 1.0])


def test_one_matrix_is_taken_in_the_order_of_the_inputs(client: TestClient) -> None:
    matrix = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 1, 2, 0]}
    answer = client.post("/v2/models/line/infer", json={"inputs": [matrix]})
    assert answer.json()["outputs"][0]["data"] == pytest.approx([6.0, 5.0])


def test_health_metadata_and_index_follow_the_protocol(client: TestClient) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert "binary_tensor_data" in client.get("/v2").json()["extensions"]
    assert client.get("/v2/models/credit/ready").json() == {"name": "credit", "ready": True}
    metadata = client.get("/v2/models/credit").json()
    assert metadata["versions"] == ["1", "10"]
    assert metadata["inputs"][0] == {"name": "city", "datatype": "BYTES", "shape": [-1]}
    index = client.post("/v2/repository/index").json()
    assert [(row["name"], row["version"], row["state"]) for row in index] == [
        ("credit", "1", "READY"),
        ("credit", "10", "READY"),
        ("line", "1", "READY"),
    ]
    assert client.get("/v1/models").json() == {"models": ["credit", "line"]}


@pytest.mark.parametrize(
    ("path", "content", "status", "words"),
    [
        ("/v2/models/nobody/infer", REQUEST, 404, ["'nobody'", "credit"]),
        ("/v2/models/credit/versions/7/infer", REQUEST, 404, ["'7'", "10"]),
        ("/v1/models/nobody:predict", {"instances": [1]}, 404, ["'nobody'"]),
        ("/v2/models/credit/infer", b"{", 400, ["JSON"]),
        ("/v2/models/credit/infer", {"inputs": REQUEST["inputs"][:1]}, 400, ["'income'"]),  # type: ignore[index]
        ("/v2/models/credit/infer", {"inputs": [{"name": "city"}]}, 400, ["shape"]),
        ("/v2/models/credit/infer", {**REQUEST, "outputs": [{"name": "nothing"}]}, 400, ["'nothing'", "default"]),
        ("/v1/models/line:predict", {"instances": [[1, "many"]]}, 400, ["'b'", "'many'"]),
        ("/v1/models/line:predict", {"rows": []}, 400, ["instances"]),
        ("/v1/models/line:predict", {"instances": []}, 400, ["'a'"]),
    ],
)
def test_bad_input_is_answered_with_field_and_value(
    client: TestClient, path: str, content: Any, status: int, words: list[str]
) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    answer = client.post(path, content=body)
    assert answer.status_code == status
    for word in words:
        assert word in answer.json()["error"]


def test_a_body_beyond_the_limit_is_answered_413(directory: Path) -> None:
    client = TestClient(create_app(load_repository(directory), ManualClock(), max_body_bytes=10))
    assert client.post("/v2/models/credit/infer", content=b"x" * 11).status_code == 413
    packed = client.post("/v2/models/credit/infer", content=gzip.compress(b"x" * 11))
    assert packed.status_code == 413


class FailingRuntime:
    """A model that fails."""

    def predict(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        raise ZeroDivisionError("by zero")


def test_a_failing_model_is_answered_500_and_counted() -> None:
    config = ModelConfig("sklearn_joblib", "x", (TensorSpec("a", "FP64"),), (TensorSpec("y", "FP64"),))
    repository = Repository([Model("bad", "1", config, FailingRuntime())])
    client = TestClient(create_app(repository, ManualClock(5.0)))
    tensor = {"name": "a", "shape": [1], "datatype": "FP64", "data": [1]}
    answer = client.post("/v2/models/bad/infer", json={"inputs": [tensor]})
    assert answer.status_code == 500
    assert "bad" in answer.json()["error"]
    assert samples(client)["driftline_serving_requests_total", ("1", "500")] == 1


def test_requests_are_counted_by_code_and_names_from_outside_never_become_labels(client: TestClient) -> None:
    client.post("/v2/models/credit/infer", json=REQUEST)
    client.post("/v2/models/credit/infer", content=b"{")
    client.post("/v2/models/anything/infer", content=b"{")
    found = samples(client)
    assert found["driftline_serving_requests_total", ("10", "200")] == 1
    assert found["driftline_serving_requests_total", ("10", "400")] == 1
    assert found["driftline_serving_requests_total", ("", "404")] == 1
    assert found["driftline_serving_last_request_timestamp_seconds", ("10", "")] == 1234.0
    assert "anything" not in client.get("/metrics").text


def samples(client: TestClient) -> dict[tuple[str, tuple[str, str]], float]:
    return {
        (sample.name, (sample.labels.get("version", ""), sample.labels.get("code", ""))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_predictions_may_run_on_a_pool(directory: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        client = TestClient(create_app(load_repository(directory), ManualClock(), pool))
        assert client.post("/v2/models/credit/infer", json=REQUEST).status_code == 200
