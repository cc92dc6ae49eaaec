"""A newcomer's first ten minutes with a model of their own, and what bad input gets."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from driftline.names import HEADER_REQUEST_ID
from serving.sklearn_model import save_sklearn_model
from tests.parts.http import get_json
from tests.parts.processes import running_for, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
INFER = "/v2/models/iris/infer"


@dataclass
class Installation:
    """``driftline up`` at work: its directories, its addresses, its process."""

    directory: Path
    addresses: dict[str, str]
    process: "subprocess.Popen[bytes]"

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return driftline(*arguments, cwd=self.directory)


def driftline(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "driftline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, cwd=cwd)


def post(url: str, body: bytes) -> tuple[int, bytes, str | None]:
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers[HEADER_REQUEST_ID]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers[HEADER_REQUEST_ID]


def infer_body(rows: pd.DataFrame) -> bytes:
    inputs = [
        {"name": name, "shape": [len(rows)], "datatype": "FP64", "data": rows[name].tolist()} for name in FEATURES
    ]
    return json.dumps({"inputs": inputs}).encode()


GOOD = infer_body(pd.DataFrame({name: [1.0] for name in FEATURES}))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("up")
    data = load_iris()
    rows = pd.DataFrame(data.data, columns=list(FEATURES))
    model = LogisticRegression(max_iter=1000).fit(data.data, data.target)
    save_sklearn_model(directory / "models", "iris", "1", model, inputs=[(name, "FP64") for name in FEATURES])
    rows.assign(prediction=model.predict(data.data), species=data.target).to_csv(directory / "train.csv", index=False)
    made = driftline(
        *("init", "--reference", "train.csv", "--model", "iris", "--target", "species"),
        *("--prediction", "prediction", "--out", "monitors/iris.yaml"),
        cwd=directory,
    )
    assert made.returncode == 0, made.stderr
    command = [sys.executable, "-m", "driftline", "up", "--models-dir", "models", "--monitors", "monitors"]
    with (directory / "up.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=subprocess.STDOUT)
    addresses = directory / ".driftline" / "addresses.json"
    try:
        wait_until(lambda: addresses.exists() or process.poll() is not None, 240, "addresses.json")
        assert process.poll() is None, (directory / "up.log").read_text()
        yield Installation(directory, json.loads(addresses.read_text()), process)
    finally:
        process.send_signal(signal.SIGINT)  # does nothing where the last test has killed it
        process.wait(240)


def test_answers_through_the_proxy_are_the_model_servers_and_carry_a_request_id(installation: Installation) -> None:
    rows = pd.read_csv(installation.directory / "train.csv")
    ids = []
    for start in range(0, 150, 10):
        body = infer_body(rows.iloc[start : start + 10])
        status, answer, request_id = post(installation.addresses["proxy"] + INFER, body)
        assert (status, answer) == post(installation.addresses["model"] + INFER, body)[:2]
        assert request_id
        ids.append(request_id)
    labels = [(request_id, row, 10 * at + row) for at, request_id in enumerate(ids) for row in range(10)]
    file = pd.DataFrame(
        [(request_id, row, rows["species"][index], "iris") for request_id, row, index in labels],
        columns=["request_id", "row", "value", "model"],
    )
    file.to_csv(installation.directory / "labels.csv", index=False)
    stored = f"{installation.addresses['collector']}/healthz"
    wait_until(lambda: bool(get_json(stored)), 120, "the collector's health")
    sent = installation.run("labels", "send", "labels.csv", "--url", installation.addresses["collector"])
    assert sent.returncode == 0, sent.stdout + sent.stderr
    told = sent.stdout.rpartition("150 rows: ")[2]
    outcomes = {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", told)}
    # Those that were faster than their predictions wait, and join when these come.
    assert set(outcomes) <= {"joined", "pending"}
    assert sum(outcomes.values()) == 150

    def all_labelled() -> bool:
        streams = get_json(f"{installation.addresses['web']}/api/v1/streams")
        return [(each["rows"], each["labelled_rows"]) for each in streams] == [(150, 150)]

    wait_until(all_labelled, 120, "150 rows with their labels")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"inputs": [', INFER),
        (b'{"inputs": []}', "/v2/models/nobody/infer"),
        (GOOD.replace(b"[1]", b"[3]", 1), INFER),
        (GOOD.replace(b"1.0", b"NaN", 1), INFER),
    ],
    ids=["malformed", "unknown-model", "wrong-shape", "not-a-number"],
)
def test_bad_input_is_answered_as_the_model_server_does_and_stops_nothing(
    installation: Installation, body: bytes, path: str
) -> None:
    direct = post(installation.addresses["model"] + path, body)
    assert post(installation.addresses["proxy"] + path, body)[:2] == direct[:2]
    assert direct[0] >= 400
    assert b"error" in direct[1]
    assert post(installation.addresses["proxy"] + INFER, GOOD)[0] == 200


def test_labels_that_cannot_be_read_are_named_and_the_others_taken(installation: Installation) -> None:
    labels = [
        {"request_id": "late-1", "value": "1", "model": "iris", "observed_at_s": 1.0},
        {"request_id": "", "value": "1", "model": "iris", "observed_at_s": 1.0},
        {"request_id": "late-2", "value": "1", "model": "nobody", "observed_at_s": 1.0},
    ]
    status, answer, _ = post(f"{installation.addresses['collector']}/v1/labels", json.dumps(labels).encode())
    assert status < 500
    assert b"request_id is empty" in answer
    assert b"nobody" in answer


def test_doctor_finds_the_chain_whole_and_names_a_link_that_is_not(installation: Installation) -> None:
    found = installation.run("doctor")
    assert re.search(r"monitors: 1 \(default/iris\)", found.stdout), found.stdout
    elsewhere = installation.run("doctor", "--address", "detectors=http://127.0.0.1:1")
    assert elsewhere.returncode == 1
    assert "BROKEN   detectors" in elsewhere.stdout
    assert "what to do: start 'driftline detectors'" in elsewhere.stdout


def test_a_broken_monitor_is_refused_with_every_fault(installation: Installation) -> None:
    (installation.directory / "broken").mkdir()
    (installation.directory / "broken" / "iris.yaml").write_text("model: iris\ntask: multiklass\ncolums: []\n")
    refused = installation.run("up", "--monitors", "broken", "--models-dir", "models")
    assert refused.returncode == 2
    assert "multiklass" in refused.stderr
    assert "did you mean 'columns'" in refused.stderr


def test_the_report_is_one_file(installation: Installation) -> None:
    made = installation.run("report", "default/iris", "--out", "report.html")
    assert made.returncode == 0, made.stderr
    assert "iris" in (installation.directory / "report.html").read_text()


def test_parts_end_with_their_supervisor(installation: Installation) -> None:
    """The last test: it ends the installation."""
    assert len(running_for(installation.directory)) >= 5
    installation.process.kill()
    installation.process.wait()
    wait_until(lambda: running_for(installation.directory) == [], 120, "the orphaned parts to end")
