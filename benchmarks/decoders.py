"""Payloads to named columns: events per CPU-second by codec, against the obvious way, in one run.

One row per request: a tensor of 40 FP32 numbers and 10 texts, 1,065 bytes as V2 JSON, and an answer of two values; the
same event as V2 binary, V2 gRPC (raw contents) and V1, and a chat of about the same size. Batches of 1,000 events.
The obvious way: ``json`` and one ``np.array`` per column, event by event; its columns are checked to be ours.
"""

import argparse
import cProfile
import functools
import json
import pstats
import random
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import alternate, close, medians
from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent, Payload
from driftline.monitors import Monitor
from serving.decode_many import decode_many
from tests.parts.decoding import decode

_NUMBERS = tuple(f"f{index}" for index in range(40))
_TEXTS = tuple(f"kind{index}" for index in range(10))
_WORDS = ("AA", "UA", "DL", "B6", "WN")
_BATCH = 1000

MONITOR = Monitor.model_validate(
    {
        "model": "bench",
        "task": "binary",
        "columns": [
            *({"name": name, "type": "numeric"} for name in _NUMBERS),
            *({"name": name, "type": "categorical"} for name in _TEXTS),
        ],
        "prediction": {"column": "late", "score": "score"},
    }
)
TENSOR_MONITOR = Monitor.model_validate({**MONITOR.model_dump(by_alias=True), "tensors": {"features": _NUMBERS}})
CHAT_MONITOR = Monitor.model_validate(
    {
        "model": "bench",
        "task": "multiclass",
        "columns": [
            {"name": "prompt_tokens", "type": "numeric", "from": "prompt", "as": "tokens"},
            {"name": "prompt_script", "type": "categorical", "from": "prompt", "as": "script"},
            {"name": "answer_characters", "type": "numeric", "from": "response.answer", "as": "characters"},
            {"name": "counted_tokens", "type": "numeric", "from": "response.prompt_tokens"},
            {"name": "temperature", "type": "numeric", "from": "temperature"},
        ],
        "prediction": {"column": "finish_reason"},
    }
)


MONITORS = {"v1": MONITOR, "chat": CHAT_MONITOR}


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="A few seconds, to see that it runs; not for figures.")
    parser.add_argument("--profile", action="store_true", help="Say where our time goes instead.")
    arguments = parser.parse_args()
    count = _BATCH if arguments.quick else 10 * _BATCH
    made = {name: [make(random.Random(number), number) for number in range(count)] for name, make in MAKERS.items()}
    _require_equal(made["v2_json"][:50])
    if arguments.profile:
        _profile(made["v2_json"])
        return
    contenders: dict[str, Callable[[], dict[str, float]]] = {
        name: functools.partial(_rate, _batches, events, MONITORS.get(name, TENSOR_MONITOR))
        for name, events in made.items()
    }
    contenders["one_event_at_a_time"] = lambda: _rate(_one_by_one, made["v2_json"][: count // 5], TENSOR_MONITOR)
    contenders["obvious"] = lambda: _rate(_obvious, made["v2_json"][: count // 5], TENSOR_MONITOR)
    rounds = medians(alternate(contenders, 1 if arguments.quick else 5))
    rates = {name: figures["events_per_cpu_second"] for name, figures in rounds.items()}
    against = {"json_and_numpy_per_event": rates.pop("obvious"), "decode_one_event": rates.pop("one_event_at_a_time")}
    sizes = {name: len(events[0].request.body) for name, events in made.items()}
    close("decoders", {"events_per_cpu_second": rates, "request_bytes": sizes}, against)


Work = Callable[[Sequence[InferenceEvent], Monitor], None]


def _rate(work: Work, events: Sequence[InferenceEvent], monitor: Monitor) -> dict[str, float]:
    started = time.process_time()
    work(events, monitor)
    return {"events_per_cpu_second": len(events) / (time.process_time() - started)}


def _batches(events: Sequence[InferenceEvent], monitor: Monitor) -> None:
    for first in range(0, len(events), _BATCH):
        batch = decode_many(events[first : first + _BATCH], monitor)
        if batch.columns.rows != len(events[first : first + _BATCH]):
            raise AssertionError(f"{batch.columns.rows} rows; {batch.faults[:1]}")


def _one_by_one(events: Sequence[InferenceEvent], monitor: Monitor) -> None:
    for event in events:
        decode(event, monitor)


def _obvious(events: Sequence[InferenceEvent], _monitor: Monitor) -> None:
    for event in events:
        _obvious_event(event)


def _obvious_event(event: InferenceEvent) -> ColumnBatch:
    tensors = json.loads(event.request.body)["inputs"] + json.loads(event.response.body)["outputs"]
    data = {tensor["name"]: tensor["data"] for tensor in tensors}
    features = np.array(data["features"], np.float64).reshape(-1, len(_NUMBERS))
    numeric = {name: features[:, place] for place, name in enumerate(_NUMBERS)}
    text = {name: np.array(data[name], np.object_) for name in _TEXTS}
    numeric["score"] = np.array(data["score"], np.float64)
    text["late"] = np.array([str(value) for value in data["late"]], np.object_)
    return ColumnBatch(len(data["late"]), numeric, text)


def _require_equal(events: Sequence[InferenceEvent]) -> None:
    ours = decode_many(events, TENSOR_MONITOR).columns
    theirs = [_obvious_event(event) for event in events]
    for name, values in (*ours.numeric.items(), *ours.text.items()):
        expected = np.concatenate(
            [(batch.numeric.get(name) if name in batch.numeric else batch.text[name]) for batch in theirs]
        )
        if not np.array_equal(values, expected):
            raise AssertionError(f"column {name} differs")


# --- events -------------------------------------------------------------------------------------------------------
def _event(request: Payload, response: Payload, number: int, protocol: str) -> InferenceEvent:
    return InferenceEvent(
        id=f"0197{number:028x}",
        source="/default/bench/pod",
        model="bench",
        time_ns=1_700_000_000_000_000_000 + number,
        request_id=f"request-{number}",
        protocol=protocol,
        status_code=200,
        request=request,
        response=response,
    )


def _values(pick: random.Random) -> tuple[list[float], list[str], float]:
    numbers = [float(np.float32(round(pick.gauss(0, 1), 5))) for _ in _NUMBERS]
    return [round(number, 5) for number in numbers], [pick.choice(_WORDS) for _ in _TEXTS], round(pick.random(), 4)


def _answer(score: float) -> Payload:
    outputs = [_tensor("late", "INT64", [1], [int(score > 0.5)]), _tensor("score", "FP64", [1], [score])]
    return _json({"model_name": "bench", "outputs": outputs})


def _json(document: Any) -> Payload:
    return Payload(content_type="application/json", body=json.dumps(document, separators=(",", ":")).encode())


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def _v2_json(pick: random.Random, number: int) -> InferenceEvent:
    numbers, texts, score = _values(pick)
    inputs = [_tensor("features", "FP32", [1, 40], numbers)]
    inputs += [_tensor(name, "BYTES", [1], [text]) for name, text in zip(_TEXTS, texts, strict=True)]
    return _event(_json({"id": f"request-{number:012d}", "inputs": inputs}), _answer(score), number, "v2")


def _v2_binary(pick: random.Random, number: int) -> InferenceEvent:
    numbers, texts, score = _values(pick)
    raws = [struct.pack("<40f", *numbers), *(struct.pack("<I", len(text)) + text.encode() for text in texts)]
    heads = [("features", "FP32", [1, 40]), *((name, "BYTES", [1]) for name in _TEXTS)]
    inputs = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        for (name, datatype, shape), raw in zip(heads, raws, strict=True)
    ]
    text = _json({"inputs": inputs}).body
    request = Payload(body=b"".join((text, *raws)), headers={"inference-header-content-length": str(len(text))})
    return _event(request, _answer(score), number, "v2")


def _v2_grpc(pick: random.Random, number: int) -> InferenceEvent:
    numbers, texts, score = _values(pick)
    raws = [struct.pack("<40f", *numbers), *(struct.pack("<I", len(text)) + text.encode() for text in texts)]
    heads = [("features", "FP32", [1, 40]), *((name, "BYTES", [1]) for name in _TEXTS)]
    tensors = [
        _field(5, _field(1, name.encode()) + _field(2, datatype.encode()) + _field(3, bytes(shape)))
        for name, datatype, shape in heads
    ]
    message = b"".join([_field(1, b"bench"), *tensors, *(_field(7, raw) for raw in raws)])
    request = Payload(content_type="application/grpc", body=b"\0" + struct.pack(">I", len(message)) + message)
    return _event(request, _answer(score), number, "v2-grpc")


def _field(number: int, value: bytes) -> bytes:
    length = bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 127 | 128, len(value) >> 7])
    return bytes([number << 3 | 2]) + length + value


def _v1(pick: random.Random, number: int) -> InferenceEvent:
    numbers, texts, score = _values(pick)
    row = {**dict(zip(_NUMBERS, numbers, strict=True)), **dict(zip(_TEXTS, texts, strict=True))}
    response = _json({"predictions": [{"late": int(score > 0.5), "score": score}]})
    return _event(_json({"instances": [row]}), response, number, "v1")


def _chat(pick: random.Random, number: int) -> InferenceEvent:
    said = " ".join(pick.choice(("where", "is", "my", "order", "please", "answer", "quickly")) for _ in range(140))
    messages = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": said}]
    answer = {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said[:200]}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 150, "completion_tokens": 40, "total_tokens": 190},
    }
    return _event(_json({"model": "bench", "messages": messages, "temperature": 0.7}), _json(answer), number, "openai")


MAKERS: dict[str, Callable[[random.Random, int], InferenceEvent]] = {
    "v2_json": _v2_json,
    "v2_binary": _v2_binary,
    "v2_grpc": _v2_grpc,
    "v1": _v1,
    "chat": _chat,
}


def _profile(events: Sequence[InferenceEvent]) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(_batches, events, TENSOR_MONITOR)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
