"""The Kafka sink: which client library carries the events.

confluent-kafka is written in C and several times cheaper per event; kafka-python needs no compiled code. Both make the
same messages (``docs/decisions/0005-kafka-client.md`` has the figures).
"""

import importlib
import importlib.util

from driftline.errors import SettingsError
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SinkUrl
from logger_sidecar.shipping.sinks import Sink, SinkFactory

_MODULES = {
    "confluent": ("confluent_kafka", "logger_sidecar.shipping.kafka_confluent"),
    "kafka-python": ("kafka", "logger_sidecar.shipping.kafka"),
}


def open_sink(url: SinkUrl, settings: ShipperSettings) -> Sink:
    """The sink of the chosen client; raises SettingsError where it is not installed."""
    wanted = list(_MODULES) if settings.kafka_client == "auto" else [settings.kafka_client]
    for client in wanted:
        library, adapter = _MODULES[client]
        if importlib.util.find_spec(library) is not None:
            factory: SinkFactory = importlib.import_module(adapter).open_sink
            return factory(url, settings)
    raise SettingsError(f"sink '{url.name}'", [f"none of {', '.join(wanted)} is installed"])
