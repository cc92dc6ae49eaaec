"""What carrying events to Kafka costs: events per CPU second and bytes on the broker, per client and compression.

Each contender is a process of its own that gives the sink the same frames as the shipper does, reading and encoding
included, against a real broker on this machine. CPU is the process's user and system time, all threads; bytes are what
the broker keeps, which is what went over the wire. Bodies are V2 JSON of random numbers, as models see them.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import alternate, close, medians, options
from driftline.events import InferenceEvent, Payload, encode_frame
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_kafka import open_sink
from logger_sidecar.shipping.sink_urls import parse
from tests.parts.kafka import KafkaBroker

CLIENTS = ("kafka-python", "confluent")
COMPRESSIONS = ("none", "lz4", "zstd", "gzip")
_BATCHES = ((500, 64), (2000, 256), (2000, 1024), (10_000, 1024))
_WARM_UP = 500
#: Random(5) makes the same bodies in every process, so that bytes can be compared.
_SEED = 5


def events(count: int) -> list[InferenceEvent]:
    """Events with a request of about 1 KiB."""
    numbers = random.Random(_SEED)
    return [_event(number, [round(numbers.gauss(0, 1), 6) for _ in range(88)]) for number in range(count)]


def _event(number: int, values: list[float]) -> InferenceEvent:
    tensor = {"name": "features", "shape": [1, len(values)], "datatype": "FP64", "data": values}
    answer = {
        "model_name": "iris",
        "outputs": [{"name": "score", "shape": [1], "datatype": "FP64", "data": values[:1]}],
    }
    return InferenceEvent(
        id=f"01933f5a-7c31-7000-8000-{number:012x}",
        source="/default/model-server/model-server-7d9f",
        model="iris",
        model_version="1",
        time_ns=1_700_000_000_000_000_000 + number * 1_000_000,
        request_id=f"request-{number}",
        protocol="v2",
        status_code=200,
        duration_ms=3.25,
        ttfb_ms=3.0,
        request=Payload(content_type="application/json", body=json.dumps({"inputs": [tensor]}).encode()),
        response=Payload(content_type="application/json", body=json.dumps(answer).encode()),
    )


def deliver(settings: ShipperSettings, count: int) -> Mapping[str, float]:
    """Deliver so many events in this process; returns what it took."""
    sink = open_sink(parse("kafka"), settings)
    given = list(map(encode_frame, events(count + _WARM_UP)))
    assert not sink.deliver([sink.read(frame) for frame in given[:_WARM_UP]])
    began_cpu_s, began_s = time.process_time(), time.monotonic()
    for start in range(_WARM_UP, len(given), settings.batch_records):
        assert not sink.deliver([sink.read(frame) for frame in given[start : start + settings.batch_records]])
    spent = {"cpu_s": time.process_time() - began_cpu_s, "wall_s": time.monotonic() - began_s}
    sink.close()
    return spent


class Bench:
    """One broker and the contenders that are run against it."""

    def __init__(self, directory: Path, count: int) -> None:
        self._directory = directory
        self._count = count
        self._runs = 0
        self.broker = KafkaBroker(directory)

    def run(self, client: str, compression: str, batch_records: int, batch_kib: int) -> Mapping[str, float]:
        """One contender once."""
        self._runs += 1
        topic = f"bench-{self._runs}"
        arguments = [client, compression, str(batch_records), str(batch_kib), topic, self.broker.bootstrap]
        command = [sys.executable, "-m", "benchmarks.shipper", "--one", *arguments, str(self._count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        spent = json.loads(done.stdout)
        kept = sum(path.stat().st_size for path in self._directory.glob(f"data/{topic}-*/*.log"))
        return {
            "cpu_us_per_event": spent["cpu_s"] / self._count * 1e6,
            "events_per_cpu_s": self._count / spent["cpu_s"],
            "events_per_s": self._count / spent["wall_s"],
            "bytes_per_event": kept / (self._count + _WARM_UP),
        }


def one(arguments: Sequence[str]) -> None:
    """A contender's process."""
    client, compression, batch_records, batch_kib, topic, bootstrap, count = arguments
    settings = ShipperSettings(
        kafka_client=client,  # type: ignore[arg-type]
        compression=compression,  # type: ignore[arg-type]
        batch_records=int(batch_records),
        batch_bytes=int(batch_kib) * 1024,
        topic=topic,
        bootstrap_servers=(bootstrap,),
        request_timeout_s=60.0,
    )
    print(json.dumps(deliver(settings, int(count))))


def main() -> None:
    """Both tables, and the closing line."""
    quick = options(__doc__).quick
    defaults = ShipperSettings()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), 1000 if quick else 5000)
        bench.broker.start()
        try:
            size = (defaults.batch_records, defaults.batch_bytes // 1024)
            contenders = {
                f"{client} {compression}": partial(bench.run, client, compression, *size)
                for client in CLIENTS
                for compression in COMPRESSIONS
            }
            batches = {
                f"{client} zstd {records}/{kib} KiB": partial(bench.run, client, "zstd", records, kib)
                for client in CLIENTS
                for records, kib in _BATCHES
            }
            found = medians(alternate(contenders | batches, 1 if quick else 2))
        finally:
            bench.broker.stop()
    _print(found)
    cheapest = {name: figures["cpu_us_per_event"] for name, figures in found.items()}
    sizes = {f"{name} bytes": figures["bytes_per_event"] for name, figures in found.items() if name in contenders}
    close("shipper", {name: cheapest[name] for name in contenders}, sizes | {name: cheapest[name] for name in batches})


def _print(found: Mapping[str, Mapping[str, float]]) -> None:
    print(f"\n{'client, compression':<34}{'us CPU/event':>14}{'events/CPU s':>14}{'events/s':>12}{'bytes/event':>13}")
    for name, figures in found.items():
        numbers = [figures[key] for key in ("cpu_us_per_event", "events_per_cpu_s", "events_per_s", "bytes_per_event")]
        print(f"{name:<34}{numbers[0]:>14,.1f}{numbers[1]:>14,.0f}{numbers[2]:>12,.0f}{numbers[3]:>13,.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2:])
    else:
        main()
