"""The object sink: files of many events in a bucket or a directory, by model, day and hour.

``model=NAME/date=YYYY-MM-DD/hour=HH/ID.parquet``, by the arrival of the request in UTC; ID is the first event's in the
file. A batch that is repeated, because the store or the shipper died, is exactly the batch that it repeats, so its
objects have the same names and stand where those of the first try stand: nothing is doubled. The position moves when
all objects of a batch are complete.
"""

import hashlib
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

from driftline.errors import SettingsError
from driftline.events import InferenceEvent, decode_frame
from logger_sidecar.shipping import object_json
from logger_sidecar.shipping.cloud_events import workload_of
from logger_sidecar.shipping.object_directory import Directory
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SinkUrl
from logger_sidecar.shipping.sinks import BatchBounds

#: File systems take names of 255 bytes; anybody may ask for a model with a longer one. A longer one ends in its digest.
_MAX_NAME = 200
_DIGEST = 16
_HALF_ESCAPE = re.compile("%[0-9A-F]?$")
Group = Sequence[InferenceEvent]
#: From the events of one object to the names it makes, with their contents.
Encode = Callable[[str, Group], Mapping[str, bytes]]


class ObjectStore(Protocol):
    """Takes objects whole: nobody sees half of one."""

    def put(self, key: str, data: bytes) -> None:
        """Put one object there, over what stood under this key; raises UnavailableError."""


def open_sink(url: SinkUrl, _settings: ShipperSettings) -> "ObjectSink":
    """Part of sinks: the sink of this URL; raises SettingsError where a library is missing."""
    return ObjectSink(url, _store(url), _encoder(url))


class ObjectSink:
    """Puts the events of a batch as objects, one per model and hour."""

    def __init__(self, url: SinkUrl, store: ObjectStore, encode: Encode) -> None:
        options = url.options
        self.name = url.name
        self.bounds = BatchBounds(
            options["batch_events"], options["batch_bytes"], max_wait_s=options["max_age"], repeats_exactly=True
        )
        self._folder = _kserve_folder(options["component"]) if options["format"] == "kserve-json" else _folder
        self._store = store
        self._encode = encode

    def read(self, frame: bytes) -> InferenceEvent:
        """Part of sinks.Sink."""
        return decode_frame(frame)

    def deliver(self, events: Sequence[InferenceEvent]) -> Mapping[int, str]:
        """Part of sinks.Sink."""
        groups: dict[str, list[InferenceEvent]] = {}
        for event in events:
            groups.setdefault(self._folder(event), []).append(event)
        for folder, group in groups.items():
            for name, data in self._encode(_safe(group[0].id), group).items():
                self._store.put(f"{folder}/{name}", data)
        return {}

    def close(self) -> None:
        """Part of sinks.Sink."""


def _folder(event: InferenceEvent) -> str:
    moment = datetime.fromtimestamp(event.time_ns // 1_000_000_000, UTC)
    return f"model={_safe(event.model)}/date={moment:%Y-%m-%d}/hour={moment:%H}"


def _kserve_folder(component: str) -> Callable[[InferenceEvent], str]:
    return lambda event: "/".join(map(_safe, (event.namespace, workload_of(event), component)))


def _safe(text: str) -> str:
    # A folder must not be called "." or "..", nor nothing at all.
    quoted = quote(text, safe="-_.~ ").strip()
    if len(quoted) > _MAX_NAME:
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
        quoted = _HALF_ESCAPE.sub("", quoted[: _MAX_NAME - _DIGEST - 1]) + "~" + digest
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E") or "_"


def _store(url: SinkUrl) -> ObjectStore:
    if url.scheme == "file":
        return Directory(url)
    store: ObjectStore = _needed("logger_sidecar.shipping.object_store", url).Bucket(url)
    return store


def _encoder(url: SinkUrl) -> Encode:
    form, compression, component = (url.options[name] for name in ("format", "compression", "component"))
    suffix = object_json.SUFFIXES[compression]
    if form == "parquet":
        encode = _needed("logger_sidecar.shipping.object_parquet", url).encode
        return lambda first, group: {f"{first}.parquet": encode(group, compression)}
    if form == "jsonl":
        return lambda first, group: {f"{first}.jsonl{suffix}": object_json.encode_lines(group, compression)}
    return lambda first, group: {
        f"{first}-{half}.json{suffix}": object_json.encode_kserve(group, half, component, compression)
        for half in ("request", "response")
    }


def _needed(module: str, url: SinkUrl) -> Any:
    """A module whose library is an optional part of the sidecar; raises SettingsError where that is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"sink '{url.name}'", [f"{error.name} is not installed; the extra 'objects' has it"]
        ) from error
