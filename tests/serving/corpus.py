"""Payloads of every codec, as clients and servers write them, for the fuzz tests to damage."""

import gzip
import json
import struct
from typing import Any, NamedTuple

import zstandard

from driftline.events import Payload
from tests.logger_sidecar.finishing.predict_messages import message_types
from tests.serving import table_messages
from tests.serving.payload_examples import V2_REQUEST, V2_RESPONSE

_TYPES = message_types()
_TABLES = table_messages.message_types()


class Seed(NamedTuple):
    """One half of an inference. ``length``: of the JSON before raw tensors, where its header is kept."""

    name: str
    body: bytes
    length: int | None = None
    content_type: str | None = None

    def payload(self, body: bytes | None = None) -> Payload:
        """As an event has it; with another body where one is given."""
        headers = {} if self.length is None else {"inference-header-content-length": str(self.length)}
        return Payload(body=self.body if body is None else body, headers=headers, content_type=self.content_type)


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _texts(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _frame(message: Any) -> bytes:
    body = message.SerializeToString(deterministic=True)
    return b"\0" + struct.pack(">I", len(body)) + bytes(body)


_RAWS = (
    ("age", "FP32", struct.pack("<2f", 31.5, 4)),
    ("income", "INT64", struct.pack("<2q", -5, 7)),
    ("city", "BYTES", _texts(b"Paris", b"Rom\xe8")),
)
_HEAD = _json(
    {
        "inputs": [
            {"name": name, "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(raw)}}
            for name, datatype, raw in _RAWS
        ]
    }
)
_BINARY = _HEAD + b"".join(raw for _, _, raw in _RAWS)
_ROWS = [{"age": 31, "income": 1000.5, "city": "Paris"}, {"age": None, "income": 2e5, "city": "Rome"}]


def _grpc(*, raw: bool) -> Any:
    message = _TYPES["Request"](model_name="credit", model_version="1", id="r1")
    for name, datatype, data in _RAWS:
        tensor = message.inputs.add(name=name, datatype=datatype, shape=[2])
        if raw:
            message.raw_input_contents.append(data)
        elif name == "age":
            tensor.contents.fp32_contents.extend([31.5, 4])
        elif name == "income":
            tensor.contents.int64_contents.extend([-5, 7])
        else:
            tensor.contents.bytes_contents.extend([b"Paris", b"Rom\xe8"])
    return message


def _grpc_answer() -> Any:
    message = _TYPES["Response"](model_name="credit")
    message.outputs.add(name="default", datatype="INT64", shape=[2]).contents.int64_contents.extend([0, 1])
    message.outputs.add(name="probability", datatype="FP64", shape=[2, 1]).contents.fp64_contents.extend([0.25, 0.75])
    return message


def _seldon(*values: float) -> Any:
    message = _TABLES["SeldonMessage"]()
    message.meta.puid = "r1"
    message.data.names.extend(["age", "income"])
    message.data.tensor.shape.extend([len(values) // 2, 2])
    message.data.tensor.values.extend(values)
    return message


def _seldon_rows(*rows: list[Any], names: tuple[str, ...]) -> Any:
    message = _TABLES["SeldonMessage"]()
    message.data.names.extend(names)
    message.data.ndarray.extend(rows)
    return message


def _tf_tensors(kind: str, field: str) -> Any:
    message = _TABLES[kind]()
    message.model_spec.name = "credit"
    for name, dtype, kept_in, values in (
        ("default" if field == "outputs" else "age", 9, "int64_val", [0, 1]),
        ("probability" if field == "outputs" else "income", 2, "double_val", [0.25]),  # the last one again
    ):
        tensor = _TABLES["TensorProto"](dtype=dtype, **{kept_in: values})
        tensor.tensor_shape.dim.add(size=2)
        getattr(message, field)[name].CopyFrom(tensor)
    return message


_CHAT = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "temperature": 1}
_TURNS = [{"role": role, "content": role[:2]} for role in ("system", "user", "assistant", "user")]
_CHAT_ANSWER = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": {"total_tokens": 3}}
_EMBEDDINGS = {"object": "list", "data": [{"index": 0, "embedding": [0.5, 1]}, {"index": 1, "embedding": "AAAAAA=="}]}
_OUTPUT = [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]
_CHUNKS = [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]} for text in "ab"]
_STEPS = [
    {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"},
    {"type": "response.completed", "response": {"object": "response", "status": "completed", "output": _OUTPUT}},
]
_VECTOR_HEAD = _json(
    {"inputs": [{"name": "e", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}]}
)
_ANSWER_HEAD = _json(
    {"outputs": [{"name": "default", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}}]}
)

REQUESTS = (
    Seed("v2", _json(V2_REQUEST)),
    Seed("v2", _json({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [[1, 2, 3], [4, 5, 6]]}]})),
    Seed("v2_binary", _BINARY, len(_HEAD)),
    Seed("v2_binary", _BINARY),
    Seed("v2_grpc", _frame(_grpc(raw=True))),
    Seed("v2_grpc", _frame(_grpc(raw=False))),
    Seed("v2_grpc", _grpc(raw=True).SerializeToString()),
    Seed("seldon", _frame(_seldon(1, 2, 3, 4))),
    Seed("seldon", _seldon_rows([31, 5, "Paris"], [4, 7, None], names=("age", "income", "city")).SerializeToString()),
    Seed("tf", _frame(_tf_tensors("PredictRequest", "inputs"))),
    Seed("tf", _tf_tensors("PredictRequest", "inputs").SerializeToString(deterministic=True)),
    Seed("v1", _json({"instances": _ROWS})),
    Seed("v1", _json({"instances": [[31, 1000.5, "Paris"], [None, 2e5, "Rome"]]})),
    Seed("v1", _json({"inputs": {"age": [[1], [2]], "city": ["a", "b"]}})),
    Seed("seldon", _json({"data": {"names": ["age", "income", "city"], "ndarray": [[1, 2, "a"], [3, 4, "b"]]}})),
    Seed("seldon", _json({"data": {"names": ["age", "income"], "tensor": {"shape": [2, 2], "values": [1, 2, 3, 4]}}})),
    Seed("mlflow", _json({"dataframe_split": {"columns": ["age", "city"], "data": [[1, "a"], [2, "b"]]}})),
    Seed("mlflow", _json({"dataframe_records": _ROWS})),
    Seed("csv", b'age,income,city\n31,1000.5,"Pa""ris"\n,2e5,Rome\n', content_type="text/csv"),
    Seed("json_lines", b"\n".join(map(_json, _ROWS))),
    Seed("tf", _json({"examples": _ROWS, "context": {"city": "Oslo"}})),
    Seed("chat", _json(_CHAT)),
    Seed("completion", _json({"model": "m", "prompt": ["a", "b"]})),
    Seed("embedding", _json({"model": "m", "input": ["a", "b"]})),
    Seed("generate", _json({"text_input": "Hi", "parameters": {"stream": False}})),
    Seed("body", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0"),
    Seed("seldon", _json({"strData": "Hi"})),
    Seed("seldon", _json({"jsonData": {"age": 31, "city": "Paris"}})),
    Seed("seldon", _json({"binData": "AQI=", "meta": {"puid": "r1"}})),
    Seed("sagemaker", _json({"instances": [{"features": [31, 2, 3]}, {"features": [4, 5, 6]}]})),
    Seed("tf", _json({"inputs": {"age": [1, 2], "city": [{"b64": "UGFyaXM="}, {"b64": "Um9tZQ=="}]}})),
    Seed("generate", _json([{"text_input": "Hi"}, {"text_input": "Ho"}])),
    Seed("raw", struct.pack("<6f", 1, 2, 3, 4, 5, 6), 0),
    Seed("vector", _json({"inputs": [{"name": "e", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}]})),
    Seed("vector", _json({"instances": [{"age": 1, "e": [1, 2, 3]}, {"age": 2, "e": None}]})),
    Seed("vector", _VECTOR_HEAD + struct.pack("<6f", 1, 2, 3, 4, 5, 6), len(_VECTOR_HEAD)),
    Seed("chat", _json({"model": "m", "messages": _TURNS, "tools": [{"type": "function"}]})),
    Seed("responses", _json({"model": "m", "input": _TURNS[1:], "instructions": "Be brief"})),
    Seed("embedding", _json({"model": "m", "input": ["a", "b"], "instructions": "Be brief"})),
    Seed("csv", b"age,city\n1,\n2,b\n", content_type="text/csv"),
    Seed("csv", b"31,1000.5,Paris\r\n4,,\r\n", content_type="text/csv"),
    Seed("mlflow", _json({"columns": ["city", "id", "age"], "data": [["a", 7, 1], ["b", 8, 2]]})),
    Seed("gzip", gzip.compress(_json(V2_REQUEST), mtime=0)),
    Seed("zstd", zstandard.compress(_json({"instances": _ROWS}))),
)
RESPONSES = (
    Seed("v2", _json(V2_RESPONSE)),
    Seed("v2", _json({"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 0.9, 0.5, 0.5]}]})),
    Seed("v2_grpc", _frame(_grpc_answer())),
    Seed("seldon", _frame(_seldon_rows([0.1, 0.9], [0.5, 0.5], names=("t:0", "t:1")))),
    Seed("tf", _tf_tensors("PredictResponse", "outputs").SerializeToString(deterministic=True)),
    Seed("v1", _json({"predictions": [[0.1, 0.9], [0.5, 0.5]]})),
    Seed("v1", _json({"predictions": [{"default": 1, "probability": 0.5}, {"default": 0, "probability": 0.25}]})),
    Seed("v1", _json({"predictions": [1, 0]})),
    Seed("tf", _json({"results": [[["1", 0.5], ["0", 0.5]], [["1", 1.0]]]})),
    Seed("seldon", _json({"data": {"names": ["t:0", "t:1"], "ndarray": [[0.1, 0.9], [0.5, 0.5]]}})),
    Seed("chat", _json(_CHAT_ANSWER)),
    Seed("stream", b"".join(b"data: " + _json(chunk) + b"\n\n" for chunk in _CHUNKS) + b"data: [DONE]\n\n"),
    Seed("embedding", _json(_EMBEDDINGS)),
    Seed("responses", _json({"object": "response", "status": "completed", "output": _OUTPUT})),
    Seed("generate", _json({"text_output": "Hi"})),
    Seed("classes", _json({"1": 0.5, "0": 0.25})),
    Seed("completion", _json({"object": "text_completion", "choices": [{"index": 0, "text": "Hi"}]})),
    Seed("generate", b"".join(b"data: " + _json({"text_output": text}) + b"\n\n" for text in "ab")),
    Seed("responses", b"".join(b"data: " + _json(step) + b"\n\n" for step in _STEPS)),
    Seed("tf", _json({"results": [0.25, 0.5]})),
    Seed("v2_binary", _ANSWER_HEAD + struct.pack("<2q", 0, 1), len(_ANSWER_HEAD)),
    Seed("csv", b"0,0.1\n1,0.9\n", content_type="text/csv"),
    Seed(
        "completion",
        _json({"choices": [{"index": place, "text": text} for place, text in zip((2, 0, 3, 1), "cadb", strict=True)]}),
    ),
    Seed("classes", _json({"1": 0.9, "0": 0.8})),  # no shares of one thing
)
#: Payloads of rows and columns.
TABLES = frozenset(
    {"v1", "v2", "v2_binary", "v2_grpc", "seldon", "mlflow", "csv", "json_lines", "tf", "sagemaker", "classes"}
)
#: Payloads of texts.
TALKS = frozenset({"chat", "completion", "embedding", "generate", "responses", "stream"})
