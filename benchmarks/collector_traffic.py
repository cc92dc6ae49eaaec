"""What the collector's benchmark is fed with: one row per request, one FP32 tensor of 40 numbers and ten texts.

As a program it is the producer: events of a few thousand different bodies, each under an id and time of its own,
encoded like the shipper's, as fast as a broker takes them.
"""

import json
import random
import sys
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from confluent_kafka import Producer

from driftline.events import InferenceEvent, KafkaMessage, Payload, encode_inference

MODEL = "bench"
NUMBERS = tuple(f"number_{place}" for place in range(40))
#: Ten text columns with 5 to 100 values each.
TEXTS = {f"text_{place:02}": size for place, size in enumerate((5, 8, 10, 12, 20, 25, 30, 40, 50, 100))}
COLUMNS = len(NUMBERS) + len(TEXTS)
_TEMPLATES = 3000
SPACING_NS = 5_000_000
START_NS = 1_760_000_000 * 1_000_000_000
_SEED = 11


def write_monitor(directory: Path) -> Path:
    """A directory of monitors: one, with a reference, so that every column is counted on its own bins."""
    directory.mkdir()
    inputs = [{"name": name, "type": "numeric", "required": True} for name in NUMBERS]
    inputs += [{"name": name, "type": "categorical"} for name in TEXTS]
    monitor = {
        "model": MODEL,
        "task": "binary",
        "columns": inputs,
        "tensors": {"features": list(NUMBERS)},
        "prediction": {"column": "late", "score": "score"},
        "windows": {"size": "5m"},
        "reference": {"path": "reference.parquet"},
    }
    (directory / "bench.yaml").write_text(yaml.safe_dump(monitor))
    _reference().to_parquet(directory / "reference.parquet")
    return directory


def _reference() -> pd.DataFrame:
    rng = np.random.default_rng(_SEED)
    rows = 20_000
    columns: dict[str, Any] = {name: rng.normal(size=rows).round(4) for name in NUMBERS}
    columns |= {name: [f"value-{code}" for code in rng.integers(0, size, rows)] for name, size in TEXTS.items()}
    score = rng.random(rows)
    return pd.DataFrame({**columns, "late": (score > 0.5).astype(int).astype(str), "score": score})


def event(number: int, pick: random.Random) -> InferenceEvent:
    """One request of about 1,065 bytes and its answer."""
    values = [round(pick.gauss(0, 1), 4) for _ in NUMBERS]
    tensors: list[dict[str, Any]] = [
        {"name": "features", "shape": [1, len(values)], "datatype": "FP32", "data": values}
    ]
    tensors += [
        {"name": name, "shape": [1], "datatype": "BYTES", "data": [f"value-{pick.randrange(size)}"]}
        for name, size in TEXTS.items()
    ]
    score = round(pick.random(), 6)
    outputs = [
        {"name": "late", "shape": [1], "datatype": "INT64", "data": [int(score > 0.5)]},
        {"name": "score", "shape": [1], "datatype": "FP64", "data": [score]},
    ]
    answer = {"model_name": MODEL, "model_version": "1", "outputs": outputs}
    return InferenceEvent(
        id=f"01933f5a-7c31-7000-8000-{number:012x}",
        source="/default/model-server/model-server-7d9f",
        model=MODEL,
        model_version="1",
        time_ns=START_NS + number * SPACING_NS,
        request_id=f"request-{number:012d}",
        protocol="v2",
        status_code=200,
        duration_ms=round(pick.expovariate(0.3), 6),
        ttfb_ms=round(pick.expovariate(0.4), 6),
        request=Payload(content_type="application/json", body=_compact({"inputs": tensors})),
        response=Payload(content_type="application/json", body=_compact(answer)),
    )


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def produce(bootstrap: str, topic: str, first: int, count: int) -> None:
    """Send events ``first`` to ``first + count``, zstd as the shipper does."""
    pick = random.Random(first)
    templates = cycle([encode_inference(event(number, pick)) for number in range(min(_TEMPLATES, count))])
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "zstd",
            "linger.ms": 20,
            "batch.size": 256 * 1024,
            "queue.buffering.max.messages": 20_000,
            "partitioner": "murmur2_random",
        }
    )
    for number in range(first, first + count):
        headers, key, value = renumbered(next(templates), number)
        while True:
            try:
                producer.produce(topic, key=key, value=value, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    left = producer.flush(120)
    if left:
        raise RuntimeError(f"{left} events were not taken by the broker")


def renumbered(message: KafkaMessage, number: int, spacing_ns: int = SPACING_NS) -> KafkaMessage:
    """The message as that of another event, so many nanoseconds after the one before."""
    request_id = b"request-%012d" % number
    seconds, fraction_ns = divmod(START_NS + number * spacing_ns, 1_000_000_000)
    time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction_ns:09d}Z".encode()
    changed = {"ce_id": b"01933f5a-7c31-7000-8000-%012x" % number, "ce_time": time, "ce_requestid": request_id}
    return KafkaMessage([(name, changed.get(name, old)) for name, old in message.headers], request_id, message.value)


if __name__ == "__main__":
    produce(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
