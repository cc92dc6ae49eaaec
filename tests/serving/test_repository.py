import importlib.util
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from driftline.errors import SettingsError
from driftline.settings import load
from driftline.testing import ManualClock
from serving.app import create_app
from serving.errors import ModelConfigError, ModelUnavailableError
from serving.model_config import read_config
from serving.repository import load_repository
from serving.settings import ServingSettings
from tests.serving.model_examples import write_regressor

CONFIG = {
    "platform": "sklearn_joblib",
    "artefact": "model.joblib",
    "inputs": [{"name": "a", "datatype": "FP64"}],
    "outputs": [{"name": "y", "datatype": "FP64"}],
}


def write(directory: Path, config: object, name: str = "broken") -> Path:
    path = directory / name / "1" / "model.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"platform": "onnx"}, ["platform", "onnx"]),
        ({"artefact": "../../etc/passwd"}, ["artefact", "../../etc/passwd"]),
        ({"inputs": []}, ["inputs is empty"]),
        ({"inputs": [{"name": "a", "datatype": "FLOAT"}]}, ["inputs[0].datatype", "FLOAT", "FP32"]),
        ({"categories": {"b": ["x"]}}, ["categories", "'b'"]),
        ({"varaint": "canary"}, ["varaint"]),
    ],
)
def test_a_wrong_model_json_is_refused_with_path_and_value(
    tmp_path: Path, change: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(ModelConfigError) as found:
        read_config(write(tmp_path, {**CONFIG, **change}))
    for word in ("model.json", *words):
        assert word in str(found.value)


def test_a_model_that_cannot_be_loaded_takes_nothing_else_down(tmp_path: Path) -> None:
    write_regressor(tmp_path)
    write(tmp_path, CONFIG)
    client = TestClient(create_app(load_repository(tmp_path), ManualClock()))
    assert client.post("/v1/models/line:predict", json={"instances": [[1, 1]]}).status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/models/broken/ready").status_code == 503
    answer = client.post("/v2/models/broken/infer", json={"inputs": []})
    assert answer.status_code == 503
    assert "model.joblib" in answer.json()["error"]
    states = {row["name"]: row["state"] for row in client.post("/v2/repository/index").json()}
    assert states == {"line": "READY", "broken": "UNAVAILABLE"}


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_only_torch_models_are_unavailable_and_say_why(tmp_path: Path) -> None:
    write_regressor(tmp_path)
    write(tmp_path, {**CONFIG, "platform": "pytorch_torchscript"}, "net")
    repository = load_repository(tmp_path)
    assert repository.model("line").version == "1"
    with pytest.raises(ModelUnavailableError, match="torch is not installed"):
        repository.model("net")


def test_settings_name_every_fault(tmp_path: Path) -> None:
    environ = {"DRIFTLINE_SERVING_PORT": "70000", "DRIFTLINE_SERVING_DEVICE": "gpu"}
    with pytest.raises(SettingsError) as found:
        load(ServingSettings, "SERVING", environ=environ, arguments={"models_dir": tmp_path / "none"})
    assert "70000" in str(found.value)
    assert "gpu" in str(found.value)
    assert "none" in str(found.value)
    assert load(ServingSettings, "SERVING", environ={}, arguments={"models_dir": tmp_path}).port == 8000
