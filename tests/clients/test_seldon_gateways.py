"""Seldon Core 2's gateways, the real programs, and what their topics hold: ``make seldon2`` runs this."""

import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from tests.clients.built_loggers import built
from tests.clients.seldon_executor import Served
from tests.clients.seldon_gateways import GATEWAYS, gateways
from tests.clients.test_built_loggers import read_topic
from tests.clients.test_producers import ROWS, V2, ask, asked
from tests.logger_sidecar.finishing.predict_messages import message_types

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.built, built(GATEWAYS, "make seldon2")]

INFER = "/v2/models/line/infer"


def request() -> bytes:
    made = message_types()["Request"](model_name="line")
    for name, column in zip("ab", zip(*ROWS, strict=True), strict=True):
        made.inputs.add(name=name, datatype="FP64", shape=[2]).contents.fp64_contents.extend(column)
    return bytes(made.SerializeToString())


def call(served: Served, resource: str, body: bytes, request_id: str, timeout_s: float) -> Any:
    """A call over gRPC, as a client of Seldon Core 2 makes it: the id that its answer comes with."""
    metadata = [("seldon-model", resource), ("x-request-id", request_id)]
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        one = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        _, state = one.with_call(body, timeout=timeout_s, metadata=metadata)
    return dict(state.initial_metadata())["x-request-id"]


def test_what_the_gateways_write_is_stored_once(kafka: str, tmp_path: Path) -> None:
    prefix = f"s{uuid.uuid4().hex}"
    (tmp_path / "seldon").mkdir()
    make_topic(kafka, f"{prefix}.shop.pipeline.chain.outputs")
    with gateways(tmp_path / "seldon", kafka, prefix) as served:
        for number in range(5):
            told = {"seldon_model": "line.model", "x_request_id": f"rest-{number}", "content_type": "application/json"}
            assert ask(served.port, INFER, V2, **told) == 200
        # The caller hears the key of the message, which ends in the id.
        assert call(served, "line.model", request(), "grpc", 60).endswith(".line.grpc")
        # Nobody reads of a model's errors: its caller waits in vain, as does that of a pipeline without its engine.
        for resource, body, request_id in (
            ("line.model", bad_request(), "failed"),
            ("chain.pipeline", request(), "asked"),
        ):
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                call(served, resource, body, request_id, 15)
        found = read_topic(kafka, f"{prefix}.shop.*", 2 * 7 + 1, tmp_path)
    ids = ["grpc", *(f"rest-{number}" for number in range(5))]
    assert found.rows == [row for request_id in ids for row in asked(request_id)]
    assert found.halves == {"received": 15, "paired": 14, "refused": 1}
    assert [reason for reason, _ in found.letters] == ["unknown_model"]


def make_topic(kafka: str, name: str) -> None:
    """What the dataflow engine does; its gateway makes the topics of models."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        admin.close()


def bad_request() -> bytes:
    made = message_types()["Request"](model_name="line")
    made.inputs.add(name="a", datatype="FP64", shape=[1]).contents.fp64_contents.append(1.0)
    return bytes(made.SerializeToString())
