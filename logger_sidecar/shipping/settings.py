"""Settings of the shipper."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from driftline import names
from driftline.settings import port_faults
from logger_sidecar.setting_faults import above_zero, below_zero, endless
from logger_sidecar.shipping import sink_urls


@dataclass(frozen=True, slots=True)
class ShipperSettings:
    """Settings of ``python -m logger_sidecar.shipping.shipper`` (prefix SHIPPER).

    ``spool_directory``, ``sinks``: the sidecar's; taken from there where the sidecar starts the shipper.
    ``kafka_client``: the library that carries events to Kafka; "auto" takes confluent-kafka where it is installed.
    ``bootstrap_servers``: Kafka brokers, ``HOST:PORT``. ``topic``: where inferences go. ``acks``: whose
    acknowledgement counts; "all" is every replica in sync. ``compression``: "auto" takes zstd where its library is
    installed, else lz4, else gzip. ``batch_records``: events handed to Kafka at once, at most. ``gather_ms``: how long
    an event waits in the spool for others before they are handed over; as many as that go at once. ``linger_ms``,
    ``batch_bytes``: how long and up to which size the producer gathers messages. ``max_request_bytes``: an event that
    is longer as a message is skipped and counted; the topic's max.message.bytes must allow it. ``request_timeout_s``:
    longest wait for an acknowledgement. ``retry_backoff_s``, ``max_backoff_s``: first and longest pause before a
    batch is tried again. ``drain_timeout_s``: longest time to deliver what is left, at the end. ``admin_host``,
    ``admin_port``: where /metrics and /healthz of the shipper are; an empty host is every interface. ``client_id``:
    what brokers call it. ``security_protocol``, ``sasl_mechanism``, ``sasl_username``, ``sasl_password``: how it
    shows who it is. ``sasl_password_file``: a file that holds the password, instead. ``ssl_cafile``: whose signature
    on the brokers' certificates is trusted. ``ssl_certfile``, ``ssl_keyfile``, ``ssl_password``: its own certificate,
    the key to it and the key's password, where brokers ask for one. ``resource``: who it is, in OpenTelemetry's words,
    each KEY=VALUE with the value quoted as in URLs; taken from the sidecar where that starts it. ``parent_pid``: the
    shipper ends when this process is gone.
    """

    spool_directory: Path = Path("spool")
    sinks: tuple[str, ...] = ("kafka",)
    kafka_client: Literal["auto", "kafka-python", "confluent"] = "auto"
    bootstrap_servers: tuple[str, ...] = ("127.0.0.1:9092",)
    topic: str = names.TOPIC_INFERENCE
    acks: Literal["all", "1"] = "all"
    compression: Literal["auto", "none", "gzip", "lz4", "zstd", "snappy"] = "auto"
    batch_records: int = 2000
    gather_ms: int = 200
    linger_ms: int = 5
    batch_bytes: int = 512 * 1024
    max_request_bytes: int = 8 * 1024 * 1024
    request_timeout_s: float = 10.0
    retry_backoff_s: float = 0.5
    max_backoff_s: float = 10.0
    drain_timeout_s: float = 10.0
    admin_host: str = ""
    admin_port: int = 9002
    client_id: str = "driftline-shipper"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    sasl_password_file: str = ""
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_password: str = field(default="", repr=False)
    resource: tuple[str, ...] = ()
    parent_pid: int | None = None

    @property
    def resource_attributes(self) -> dict[str, str]:
        """``resource``, read."""
        pairs = (text.partition("=") for text in self.resource)
        return {key: unquote(value) for key, _, value in pairs}

    def validate(self) -> list[str]:
        """Every fault as a sentence."""
        faults = sink_urls.faults(self.sinks)
        faults += [
            f"resource holds '{text}', which is not KEY=VALUE" for text in self.resource if not text.partition("=")[0]
        ]
        faults += [
            f"bootstrap_servers holds '{server}', which is not HOST:PORT"
            for server in self.bootstrap_servers
            if not server.rpartition(":")[0] or not server.rpartition(":")[2].isdigit()
        ]
        if not self.bootstrap_servers:
            faults.append("bootstrap_servers is empty; name at least one HOST:PORT")
        if not self.topic:
            faults.append("topic is empty")
        if self.security_protocol.startswith("SASL") and not self.sasl_mechanism:
            faults.append(f"security_protocol is {self.security_protocol}, which needs a sasl_mechanism")
        if self.sasl_password and self.sasl_password_file:
            faults.append("sasl_password and sasl_password_file are both given; one of them is enough")
        if self.ssl_keyfile and not self.ssl_certfile:
            faults.append("ssl_certfile is empty, and ssl_keyfile is of no use without it")
        return [
            *faults,
            *port_faults(self.admin_port, "admin_port"),
            *below_zero(self, ("gather_ms", "linger_ms")),
            *endless(self, ("request_timeout_s", "retry_backoff_s", "max_backoff_s", "drain_timeout_s")),
            *above_zero(
                self,
                (
                    "batch_records",
                    "max_request_bytes",
                    "batch_bytes",
                    "request_timeout_s",
                    "retry_backoff_s",
                    "max_backoff_s",
                    "drain_timeout_s",
                ),
            ),
        ]
