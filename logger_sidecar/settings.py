"""Settings of the sidecar process."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from driftline.settings import port_faults
from logger_sidecar.finishing.redaction_settings import redaction_faults
from logger_sidecar.http1.routes import RouteTable, read_paths
from logger_sidecar.proxy.tls import TlsFiles
from logger_sidecar.recording.capture_policy import CapturePolicy
from logger_sidecar.recording.policy_settings import read_metadata, read_rates
from logger_sidecar.recording.recorder_settings import RecorderSettings
from logger_sidecar.recording.sampling import Sampler
from logger_sidecar.setting_faults import HEADER_NAME, above_zero, below_zero, endless
from logger_sidecar.shipping import sink_urls
from logger_sidecar.tls_settings import Listening, loop_faults, socket_faults, tls_faults, upstream_faults

#: Never captured, whatever the allow-list says: they hold credentials.
SECRET_HEADERS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "api-key",
        "apikey",
        "x-auth-token",
        "x-amz-security-token",
    }
)


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """Settings of ``driftline sidecar`` (prefix SIDECAR).

    Each setting's sentence here is also the manual's and that of ``--print-config``.

    ``upstream``: address of the model server: http://HOST:PORT, https://HOST:PORT or unix:/PATH. ``listen_host``,
    ``admin_host``: address to listen on; an empty text is every interface. ``listen_port``: where clients send their
    requests. ``listen_socket``: path of a Unix socket where they may send them, too. ``tls_certificate``, ``tls_key``:
    certificate with its chain and key, in PEM, shown to clients of the ports; read again when they change.
    ``tls_client_ca``: whose clients are let in (mTLS). ``admin_port``: port of /metrics, /healthz and /readyz.
    ``spool_directory``: where events wait for their sinks; the sidecar's own directory. ``spool_max_bytes``: bound of
    the spool on the disk. ``segment_bytes``: size of one file of the spool. ``buffer_bytes``: bound of what waits in
    memory to be written. ``max_body_bytes``: how much of each body is captured. ``max_head_bytes``: longest head of a
    request or an answer. ``sample_rate``: share of the inferences kept, decided by the request id.
    ``model_sample_rates``: that share of single models, as MODEL=RATE with the model as events name it; all others keep
    to ``sample_rate``. ``keep_errors``: keep what failed, whatever the rate (status 500 or above, a gRPC status that
    blames the server, an error inside a stream). ``keep_slower_than_s``: keep what took longer, whatever the rate; inf
    keeps none for that. ``keep_headers``: keep requests with one of these headers, whatever the rate; NAME, or
    NAME=VALUE for one value only (a name may stand there with several values); they are written on the event, as
    ``capture_headers`` are. ``capture_headers``: headers written on the event, of requests and of answers, in any case,
    over HTTP/1.1 and over HTTP/2 (gRPC's metadata and trailers too; ``host`` is what it calls ``:authority``); where
    one stands twice, its last value. ``metadata``: written on every event, as NAME=VALUE: team, region, node, image.
    ``namespace``, ``workload``, ``pod``: where the events say they come from. ``model``: the name used where the path
    has none; an empty text is the workload. ``model_version``: the version used where the path has none.
    ``capture_paths``: further paths whose POST requests are inferences, of a server with paths of its own: PATH,
    PATH=MODEL, or a path with {model} in place of a segment. ``variant``: the variant of answers without the header
    x-driftline-variant. ``max_models``: bound of the label values of metrics;
    streams beyond it count as "other". ``max_idle_upstream``: connections to the model server kept for the next
    request. ``max_upstream_connections``: connections to the model server that may be open; requests that find all of
    them busy wait their turn; 0 is as many as there are requests in flight. ``queue_timeout_s``: longest such wait,
    then 503. ``ready_path``: asked with GET to tell whether the model server is ready, such as /v2/health/ready; empty:
    a connection to it is enough. ``upstream_ca``: who signed the certificate of an https upstream; empty: one of those
    that the system trusts. ``upstream_certificate``, ``upstream_key``: what is shown to it. ``upstream_server_name``:
    the name its certificate must have; empty: the host. ``connect_timeout_s``: longest wait for a connection to the
    model server. ``response_timeout_s``: longest silence of the model server in HTTP/1.1 (over HTTP/2 the
    caller's deadline counts); inf is without end.
    ``idle_timeout_s``: how long a silent client connection is kept; inf is without end. ``drain_timeout_s``:
    longest wait for requests in flight at the end. ``grace_period_s``:
    time for all of the end: the requests, then the spool and its shipper; no longer than the pod's
    terminationGracePeriodSeconds, which ``driftline inject`` raises to it. ``sinks``: where events go, each a URL or
    "kafka"; with none the spool is read by somebody else. ``drop_policy``: what goes when the spool is full: the
    "newest" event, which is then not taken, or the "oldest" segment, which its readers then lose. ``fsync``: when the
    spool is flushed to the disk, so that it outlives a crash of the machine: with each full "segment", each written
    "batch", or "never" (which leaves it to the system, within half a minute). ``log_level``: how much is said on
    standard error. ``watch_config_s``: seconds between two looks whether the configuration's files changed; 0 waits for
    SIGHUP. ``gpu_interval_s``: seconds between two looks at the machine's NVIDIA devices, where pynvml is installed and
    there are any; 0 looks at none. ``grpc_upstream``: where the model server speaks gRPC, ``http://HOST:PORT``; empty:
    the same as ``upstream``. ``grpc_listen_port``: a further port, for gRPC alone; ``listen_port`` takes gRPC, too.
    ``grpc_capture_methods``: methods whose calls are captured besides those of inference.GRPCInferenceService, as
    ``package.Service/Method``. ``grpc_capture_bytes``: how much the calls in flight may keep of their bodies, all
    together; past it bodies are cut. ``grpc_max_calls``: calls of one connection that are followed at a time;
    inferences beyond it are dropped. ``redact``: what is taken out of headers and bodies before they are written, as
    rules json:PATH, header:NAME, column:NAME and pattern:REGEX, each with " => hash" behind it for a hash in its place;
    in the environment a JSON list, where a rule holds a comma. ``redact_key_file``: holds the key of the hashes, at
    least 16 bytes. ``max_decoded_bytes``: how much of a body is decoded to be folded or redacted.
    """

    upstream: str = "http://127.0.0.1:8000"
    listen_host: str = ""
    listen_port: int = 9000
    listen_socket: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    admin_host: str = ""
    admin_port: int = 9001
    spool_directory: Path = Path("spool")
    spool_max_bytes: int = 512 * 1024 * 1024
    segment_bytes: int = 16 * 1024 * 1024
    buffer_bytes: int = 32 * 1024 * 1024
    max_body_bytes: int = 1024 * 1024
    max_head_bytes: int = 65536
    sample_rate: float = 1.0
    model_sample_rates: tuple[str, ...] = ()
    keep_errors: bool = True
    keep_slower_than_s: float = math.inf
    keep_headers: tuple[str, ...] = ()
    namespace: str = "default"
    workload: str = "model-server"
    pod: str = ""
    model: str = ""
    model_version: str = ""
    capture_paths: tuple[str, ...] = ()
    variant: str = "stable"
    capture_headers: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    max_models: int = 100
    max_idle_upstream: int = 256
    max_upstream_connections: int = 0
    queue_timeout_s: float = 30.0
    ready_path: str = ""
    upstream_ca: Path | None = None
    upstream_certificate: Path | None = None
    upstream_key: Path | None = None
    upstream_server_name: str = ""
    connect_timeout_s: float = 2.0
    response_timeout_s: float = 600.0
    idle_timeout_s: float = 300.0
    drain_timeout_s: float = 20.0
    grace_period_s: float = 30.0
    sinks: tuple[str, ...] = ("kafka",)
    drop_policy: Literal["newest", "oldest"] = "newest"
    fsync: Literal["segment", "batch", "never"] = "segment"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    watch_config_s: float = 0.0
    gpu_interval_s: float = 10.0
    grpc_upstream: str = ""
    grpc_listen_port: int | None = None
    grpc_capture_methods: tuple[str, ...] = ()
    grpc_capture_bytes: int = 64 * 1024 * 1024
    grpc_max_calls: int = 1000
    redact: tuple[str, ...] = ()
    redact_key_file: Path | None = None
    max_decoded_bytes: int = 16 * 1024 * 1024

    @property
    def source(self) -> str:
        """What events say they come from: ``/NAMESPACE/WORKLOAD/POD``."""
        return f"/{self.namespace}/{self.workload}/{self.pod or self.workload}"

    @property
    def resource(self) -> dict[str, str]:
        """Where this process is, in OpenTelemetry's words (semantic conventions: service, k8s)."""
        return {
            "service.name": self.workload,
            "service.namespace": self.namespace,
            "service.instance.id": self.pod or self.workload,
            "service.version": self.model_version,
            "k8s.namespace.name": self.namespace if self.pod else "",
            "k8s.pod.name": self.pod,
        }

    def recorder(self) -> RecorderSettings:
        """The settings of this sidecar's recorder."""
        return RecorderSettings(
            spool_directory=self.spool_directory.absolute(),
            spool_max_bytes=self.spool_max_bytes,
            segment_bytes=self.segment_bytes,
            drop_policy=self.drop_policy,
            fsync=self.fsync,
        )

    def capture_policy(self) -> CapturePolicy:
        """What is kept of the inferences."""
        sampler = Sampler(
            rate=self.sample_rate,
            keep_errors=self.keep_errors,
            keep_slower_than_s=self.keep_slower_than_s,
            keep_headers=self.kept_for,
        )
        rates, _ = read_rates(self.model_sample_rates)
        return CapturePolicy(
            source=self.source,
            namespace=self.namespace,
            variant=self.variant,
            sampler=sampler,
            model_samplers={model: replace(sampler, rate=rate) for model, rate in rates.items()},
            metadata=read_metadata(self.metadata)[0],
        )

    @property
    def kept_for(self) -> tuple[tuple[str, str], ...]:
        """The headers of ``keep_headers``, lower case, with the value each must have; an empty text is any."""
        pairs = (text.partition("=") for text in self.keep_headers)
        return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)

    @property
    def read_headers(self) -> tuple[str, ...]:
        """The headers that are read for the event or for a rule, lower case."""
        named = [*(name.lower() for name in self.capture_headers), *(name for name, _ in self.kept_for)]
        return tuple(dict.fromkeys(named))

    @property
    def routes(self) -> RouteTable:
        """Which paths are inferences."""
        return RouteTable(self.default_model, self.model_version, read_paths(self.capture_paths)[0])

    @property
    def default_model(self) -> str:
        """The model of a request whose path names none."""
        return self.model or self.workload

    @property
    def listening_files(self) -> TlsFiles:
        """The files of the side that clients see."""
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

    @property
    def upstream_files(self) -> TlsFiles:
        """The files of the side that the model server sees."""
        return TlsFiles(self.upstream_certificate, self.upstream_key, self.upstream_ca)

    @property
    def _listening(self) -> Listening:
        ports = {"listen_port": self.listen_port, "grpc_listen_port": self.grpc_listen_port}
        return Listening(self.listen_host, ports, self.listen_socket)

    @property
    def _upstreams(self) -> dict[str, str]:
        return {"upstream": self.upstream, "grpc_upstream": self.grpc_upstream}

    def validate(self) -> list[str]:
        """Every fault as a sentence."""
        return [
            *upstream_faults("upstream", self.upstream),
            *(upstream_faults("grpc_upstream", self.grpc_upstream) if self.grpc_upstream else []),
            *loop_faults(self._listening, self._upstreams),
            *socket_faults(self.listen_socket),
            *tls_faults(
                self.listening_files,
                self.upstream_files,
                self.upstream_server_name,
                upstream_is_tls=any(text.startswith("https:") for text in self._upstreams.values()),
            ),
            *_path_faults("ready_path", self.ready_path),
            *port_faults(self.listen_port, "listen_port"),
            *port_faults(self.grpc_listen_port or 0, "grpc_listen_port"),
            *_method_faults(self.grpc_capture_methods),
            *port_faults(self.admin_port, "admin_port"),
            *above_zero(self, _ABOVE_ZERO),
            *_spool_faults(self),
            *sink_urls.faults(self.sinks),
            *(
                []
                if 0.0 <= self.sample_rate <= 1.0
                else [f"sample_rate is {self.sample_rate}; it must be between 0 and 1"]
            ),
            *read_rates(self.model_sample_rates)[1],
            *read_metadata(self.metadata)[1],
            *read_paths(self.capture_paths)[1],
            *below_zero(self, ("max_upstream_connections", "max_idle_upstream", "grpc_capture_bytes")),
            *redaction_faults(self.redact, self.redact_key_file),
            *([] if self.max_body_bytes >= 0 else [f"max_body_bytes is {self.max_body_bytes}; it must not be below 0"]),
            *_header_faults("capture_headers", self.capture_headers),
            *_header_faults("keep_headers", tuple(name for name, _ in self.kept_for)),
            *below_zero(self, ("keep_slower_than_s", "watch_config_s", "gpu_interval_s")),
            *endless(self, ("drain_timeout_s", "grace_period_s", "gpu_interval_s")),
            *[f"{name} is empty" for name in ("namespace", "workload", "variant") if not getattr(self, name)],
        ]


_ABOVE_ZERO = (
    "max_head_bytes",
    "max_models",
    "connect_timeout_s",
    "queue_timeout_s",
    "response_timeout_s",
    "idle_timeout_s",
    "drain_timeout_s",
    "grace_period_s",
    "segment_bytes",
    "spool_max_bytes",
    "buffer_bytes",
    "max_decoded_bytes",
    "grpc_max_calls",
)


def _header_faults(setting: str, headers: tuple[str, ...]) -> list[str]:
    faults = [f"{setting} names '{name}', which is not a header" for name in headers if not HEADER_NAME.fullmatch(name)]
    return faults + [
        f"{setting} names '{name}', which holds credentials and is never captured"
        for name in headers
        if name.lower() in SECRET_HEADERS
    ]


def _spool_faults(settings: SidecarSettings) -> list[str]:
    quarter = settings.spool_max_bytes // 4
    return [
        f"{name} is {getattr(settings, name)}; it must not exceed a quarter of spool_max_bytes ({quarter})"
        for name in ("segment_bytes", "buffer_bytes")
        if getattr(settings, name) > quarter
    ]


def _path_faults(name: str, path: str) -> list[str]:
    return (
        []
        if re.fullmatch(r"(?:/[!-~]*)?", path)
        else [f"{name} is '{path}', which is not a path like /v2/health/ready"]
    )


def _method_faults(methods: tuple[str, ...]) -> list[str]:
    return [
        f"grpc_capture_methods names '{method}', which is not package.Service/Method"
        for method in methods
        if not re.fullmatch(r"[\w.]+/\w+", method)
    ]
