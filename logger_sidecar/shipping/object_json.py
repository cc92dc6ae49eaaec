"""Events as JSON: one CloudEvent per line, or the array that KServe's logger writes to object stores."""

import gzip
import json
import zlib
from collections.abc import Sequence

import zstandard

from driftline.events import InferenceEvent
from logger_sidecar.shipping.cloud_events import kserve_record, structured_json

#: What a file of each compression is called.
SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def encode_lines(events: Sequence[InferenceEvent], compression: str) -> bytes:
    """One CloudEvent in structured mode per line."""
    return compress(b"".join(structured_json(event) + b"\n" for event in events), compression)


def encode_kserve(events: Sequence[InferenceEvent], half: str, component: str, compression: str) -> bytes:
    """The requests or the responses of the events as KServe's logger marshals them."""
    records = [kserve_record(event, half, inference_service="", component=component) for event in events]
    return compress(json.dumps(records if len(records) > 1 else records[0]).encode(), compression)


def compress(data: bytes, compression: str) -> bytes:
    """The data, compressed; the same data is the same bytes every time."""
    if compression == "gzip":
        return gzip.compress(data, compresslevel=zlib.Z_DEFAULT_COMPRESSION, mtime=0)
    if compression == "zstd":
        return zstandard.ZstdCompressor().compress(data)
    return data
