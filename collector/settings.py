"""How a collector process is set up; loaded by the roof with the prefix ``COLLECTOR``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from driftline import names
from driftline.settings import port_faults
from driftline.token_files import AccessSettings

PREFIX = "COLLECTOR"
#: What a topic of others may be said to hold.
TOPIC_KINDS = ("any", "cloudevents", "seldon-v1", "seldon-v2")
#: Kafka's default is 45 s, which spares a group the cost of sharing anew; here that is seconds, and changes no number.
SESSION_S = 15.0
#: What brokers allow unless they are told otherwise (group.min.session.timeout.ms, group.max.session.timeout.ms).
_SESSIONS_S = (6.0, 1800.0)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where events and labels come from: brokers (``HOST:PORT``), the consumer group and both topics.

    ``fetch_bytes``: what one answer of a broker may hold, as it is compressed; a quarter of it per partition.
    ``session_s``: after so long without a sign of life a member of the group is gone, and others get its partitions.
    """

    bootstrap: tuple[str, ...]
    group: str = "driftline-collector"
    topic_inference: str = names.TOPIC_INFERENCE
    topic_labels: str = names.TOPIC_LABELS
    fetch_bytes: int = 8 * 1024 * 1024
    session_s: float = SESSION_S


@dataclass(frozen=True)
class CollectorSettings(AccessSettings):
    """Every setting of the collector; ``DRIFTLINE_COLLECTOR_<FIELD>`` in the environment.

    ``database_url``: ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
    ``payload_dir``: where Parquet payload rows go; none are written without it.
    ``payload_url``: an object store for them in its place, ``s3://BUCKET/FOLDER?region=...``, ``gs://BUCKET/FOLDER`` or
    ``az://CONTAINER/FOLDER``.
    ``subject_secret``: with it the subjects of rows are hashed; the same in every collector, and never changed, because
    rows stored under another one are not found any more.
    ``keep_interval_s``: how often what is past its retention is removed, and payload files are rolled.
    ``spool_dir``: the sidecar's spool, read when ``source`` is ``spool``.
    ``host``, ``port``: where labels are taken and metrics shown; port 0 takes a free one.
    ``minimum_batch_records``, ``maximum_batch_records``, ``maximum_batch_bytes``: bounds of one transaction; a batch
    grows towards the maximum while more is waiting.
    ``commit_interval_s``: how long a batch that is not full may wait for more.
    ``store_columns``: keep each row's columns, so that pages and reports can show samples.
    ``open_states``: window states kept in memory between commits.
    ``maximum_streams``: versions and variants told apart per model; events of any further one count as ``other``.
    ``maximum_unmonitored_models``: models without a monitor that are counted by name; any further one as ``unknown``.
    ``bootstrap``: Kafka brokers, ``HOST:PORT`` by commas, read when ``source`` is ``kafka``.
    ``kafka_session_s``: the partitions of a collector that was killed rest for so long, and then others read them; one
    that only waits for its database goes on giving signs of life.
    ``maximum_future_s``: an event further ahead of the clock than this is refused.
    With ``auth`` auto and no tokens nobody but this machine gets in.
    ``upload_dir``: where uploaded files of labels lie until they are joined; it must outlive a restart.
    ``maximum_upload_bytes``, ``maximum_waiting_uploads``: bounds of one such file, and of how many wait.
    ``otlp_endpoint``: where spans of the collector's own work go, such as ``http://host:4318/v1/traces``; none without.
    ``traced_links``: to so many of its events' requests the span of a batch is linked at most.
    ``stuck_after_s``: a batch that cannot be committed for this long makes ``/healthz`` fail.
    ``receive_events``: take CloudEvents over HTTP. They are kept in an inbox before the sender is told so: in
    ``kafka_topic_inbox`` when ``source`` is ``kafka``, else in ``inbox_dir`` (beside the spool when empty), which holds
    ``inbox_maximum_bytes`` at most. ``maximum_event_bytes``: the longest event taken.
    ``topics``: topics of others to read as well, ``NAME`` or ``NAME=KIND`` with commas between; ``*`` in a name stands
    for anything; kinds are any (each message is recognised), cloudevents, seldon-v1, seldon-v2. ``topics_group``: their
    consumer group.
    ``files_from``: where files with logged records appear, a directory or an URL of an object store (s3, gs, az).
    ``files_settle_s``: a file is read once it has not changed for so long.
    ``maximum_waiting_halves``, ``maximum_waiting_bytes``: requests and answers that wait for each other; beyond these
    the oldest count as unpaired before their time. ``remember_halves_s``: for so long a copy of one is known as such.
    ``sweep_interval_s``: how often waiting labels are looked through for expired ones.
    """

    database_url: str = names.DATABASE_URL
    payload_dir: Path | None = None
    payload_url: str = ""
    subject_secret: str = field(default="", repr=False)
    keep_interval_s: float = 300.0
    source: Literal["spool", "kafka", "files", "none"] = "spool"
    spool_dir: Path = Path("spool")
    host: str = "127.0.0.1"
    port: int = 9084
    minimum_batch_records: int = 200
    maximum_batch_records: int = 5000
    maximum_batch_bytes: int = 64 * 1024 * 1024
    commit_interval_s: float = 0.5
    store_columns: bool = True
    open_states: int = 4096
    maximum_streams: int = 50
    maximum_unmonitored_models: int = 50
    maximum_future_s: float = 86400.0
    maximum_labels_per_request: int = 50_000
    maximum_request_bytes: int = 16 * 1024 * 1024
    maximum_raw_bytes: int = 256 * 1024
    open_paths: tuple[str, ...] = ("/healthz", "/readyz", "/metrics")
    upload_dir: Path = Path("uploads")
    maximum_upload_bytes: int = 1024 * 1024 * 1024
    maximum_waiting_uploads: int = 20
    otlp_endpoint: str = ""
    traced_links: int = 32
    stuck_after_s: float = 60.0
    sweep_interval_s: float = 30.0
    bootstrap: tuple[str, ...] = ("127.0.0.1:9092",)
    kafka_group: str = "driftline-collector"
    kafka_topic_inference: str = names.TOPIC_INFERENCE
    kafka_topic_labels: str = names.TOPIC_LABELS

    kafka_session_s: float = SESSION_S
    kafka_topic_inbox: str = names.TOPIC_INBOX
    receive_events: bool = True
    inbox_dir: Path | None = None
    inbox_maximum_bytes: int = 1024 * 1024 * 1024
    maximum_event_bytes: int = 16 * 1024 * 1024
    topics: tuple[str, ...] = ()
    topics_group: str = "driftline-collector-topics"
    files_from: str = ""
    files_settle_s: float = 5.0
    maximum_waiting_halves: int = 100_000
    maximum_waiting_bytes: int = 512 * 1024 * 1024
    remember_halves_s: float = 86400.0

    @property
    def inbox_path(self) -> Path:
        """Where the inbox is when Kafka does not keep it."""
        return self.inbox_dir or self.spool_dir.parent / "inbox"

    @property
    def payloads(self) -> Path | str | None:
        """Where payload rows go."""
        return self.payload_url or self.payload_dir

    @property
    def kafka(self) -> KafkaSettings:
        """What the Kafka source needs of these."""
        topics = (self.kafka_topic_inference, self.kafka_topic_labels)
        return KafkaSettings(self.bootstrap, self.kafka_group, *topics, session_s=self.kafka_session_s)

    def validate(self) -> list[str]:
        """Faults that a single field does not show."""
        faults = [
            f"{name} is {getattr(self, name)}, which must be above 0"
            for name in (
                "minimum_batch_records",
                "maximum_batch_records",
                "maximum_batch_bytes",
                "commit_interval_s",
                "open_states",
                "maximum_streams",
                "maximum_unmonitored_models",
                "maximum_labels_per_request",
                "maximum_request_bytes",
                "maximum_raw_bytes",
                "maximum_upload_bytes",
                "maximum_waiting_uploads",
                "stuck_after_s",
                "sweep_interval_s",
                "keep_interval_s",
                "inbox_maximum_bytes",
                "maximum_event_bytes",
                "maximum_waiting_halves",
                "maximum_waiting_bytes",
            )
            if getattr(self, name) <= 0
        ]
        if self.minimum_batch_records > self.maximum_batch_records:
            faults.append(
                f"'minimum_batch_records' {self.minimum_batch_records} is above "
                f"'maximum_batch_records' {self.maximum_batch_records}"
            )
        for topic in self.topics:
            name, _, kind = topic.partition("=")
            if not name or (kind or "any") not in TOPIC_KINDS:
                faults.append(f"topics names '{topic}'; write NAME or NAME=KIND with one of {', '.join(TOPIC_KINDS)}")
        if self.source == "files" and not self.files_from:
            faults.append("source is 'files', and 'files_from' does not say where they are")
        shortest_s, longest_s = _SESSIONS_S
        if not shortest_s <= self.kafka_session_s <= longest_s:
            allowed = f"{shortest_s:g} to {longest_s:g}, as brokers allow"
            faults.append(f"kafka_session_s is {self.kafka_session_s:g}, not {allowed}")
        if self.payload_dir is not None and self.payload_url:
            faults.append(f"'payload_dir' {self.payload_dir} and 'payload_url' {self.payload_url}: give one of them")
        return [*faults, *port_faults(self.port)]
