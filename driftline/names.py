"""Every metric, label, topic, header and environment name of driftline, spelt once.

Emitters, alert rules, boards and documents take their names from here, so that a renamed metric cannot leave an
empty panel behind. ``Metric`` carries what an emitter needs to register the metric and what a rule needs to select it.
"""

from dataclasses import dataclass
from typing import Final, Literal

ENV_PREFIX = "DRIFTLINE_"
ANNOTATION_PREFIX = "driftline.io/"

# --- Kafka topics -------------------------------------------------------------------------------------------------
TOPIC_INFERENCE = "driftline.inference"
TOPIC_LABELS = "driftline.labels"
TOPIC_INBOX = "driftline.inbox"

# --- CloudEvents --------------------------------------------------------------------------------------------------
CE_TYPE_INFERENCE = "io.driftline.inference.v1"
CE_TYPE_LABEL = "io.driftline.label.v1"

# --- HTTP headers -------------------------------------------------------------------------------------------------
HEADER_REQUEST_ID = "x-request-id"
#: Where a request id is looked for, most trusted first (DESIGN, "Inference event").
REQUEST_ID_HEADERS = (HEADER_REQUEST_ID, "ce-id", "seldon-puid")
HEADER_TRACEPARENT = "traceparent"
HEADER_TRACESTATE = "tracestate"
HEADER_VARIANT = "x-driftline-variant"
HEADER_BINARY_LENGTH = "inference-header-content-length"

# --- label names --------------------------------------------------------------------------------------------------
NAMESPACE = "namespace"
MODEL = "model"
VERSION = "version"
VARIANT = "variant"
SEGMENT = "segment"
COLUMN = "column"
DETECTOR = "detector"
METRIC = "metric"
SHARE = "share"
OUTCOME = "outcome"
REASON = "reason"
CODE = "code"
PROTOCOL = "protocol"
PARTITION = "partition"
ROUTE = "route"
PART = "part"
SINK = "sink"
SOURCE = "source"
DIRECTION = "direction"
STATE = "state"
SIDE = "side"
IMPLEMENTATION = "implementation"
RELEASE = "release"
GPU = "gpu"
GPU_UUID = "uuid"
GPU_NAME = "name"
VERDICT = "verdict"
OWNER = "owner"
KIND = "kind"
SEVERITY = "severity"
SLO = "slo"
WINDOW = "window"
STREAM = (NAMESPACE, MODEL, VERSION, VARIANT)  #: what tells one stream of predictions from another

# --- label values -------------------------------------------------------------------------------------------------
SEVERITY_PAGE: Final = "page"
SEVERITY_TICKET: Final = "ticket"
SEVERITY_HEARTBEAT = "heartbeat"
OUTCOME_LOGGED = "logged"
OUTCOME_SAMPLED_OUT = "sampled_out"
OUTCOME_DROPPED = "dropped"
OUTCOME_STORED = "stored"
OUTCOME_DUPLICATE = "duplicate"
OUTCOME_DEAD_LETTER = "dead_letter"
OUTCOME_ERASED = "erased"
OUTCOME_PASS = "pass"  # noqa: S105 - an outcome, not a password
OUTCOME_FAIL = "fail"
OUTCOME_CORRECT = "correct"
OUTCOME_INCORRECT = "incorrect"
OUTCOME_APPLIED = "applied"
OUTCOME_REFUSED = "refused"
OUTCOME_DELIVERED = "delivered"
OUTCOME_FAILED = "failed"
OUTCOME_ACCEPTED = "accepted"
OUTCOME_IGNORED = "ignored"
OUTCOME_RECEIVED = "received"
OUTCOME_PAIRED = "paired"
OUTCOME_UNPAIRED = "unpaired"
OUTCOME_NOT_INFERENCE = "not_inference"

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is written, scraped, ruled on and drawn."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets_s: tuple[float, ...] = ()


#: Upper bounds in seconds; the usual latency objectives (0.1, 0.2, 0.25, 0.5, 1) are bounds: an SLO reads one bucket.
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DELAY_BUCKETS_S = (1.0, 10.0, 60.0, 600.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 86400.0, 7 * 86400.0, 30 * 86400.0)

#: Time added by a proxy: a tenth of a millisecond is usual.
OVERHEAD_BUCKETS_S = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)

# --- sidecar ------------------------------------------------------------------------------------------------------
SIDECAR_REQUESTS = Metric(
    "driftline_sidecar_requests_total", "counter", (*STREAM, PROTOCOL, CODE), "Inference requests answered, by status."
)
SIDECAR_LATENCY = Metric(
    "driftline_sidecar_request_duration_seconds",
    "histogram",
    STREAM,
    "Time from the first byte of an inference request to the last byte of its answer, as the client sees it.",
    LATENCY_BUCKETS_S,
)
SIDECAR_INFLIGHT = Metric(
    "driftline_sidecar_inflight_requests", "gauge", (), "Requests now between client and model server."
)
SIDECAR_CONNECTIONS = Metric("driftline_sidecar_connections", "gauge", (), "Client connections now open.")
SIDECAR_BYTES = Metric(
    "driftline_sidecar_bytes_total", "counter", (DIRECTION,), "Body bytes passed through, in and out."
)
SIDECAR_UPSTREAM_ERRORS = Metric(
    "driftline_sidecar_upstream_errors_total", "counter", (REASON,), "Requests the model server did not answer, by why."
)
CAPTURE_EVENTS = Metric(
    "driftline_capture_events_total",
    "counter",
    (*STREAM, OUTCOME, REASON),
    "What became of each inference as an event: logged, sampled_out or dropped with its reason. They add up to all.",
)
SIDECAR_OVERHEAD = Metric(
    "driftline_sidecar_overhead_seconds",
    "histogram",
    (DIRECTION,),
    "Time from bytes read on one side to their being passed on to the other, capture included; a sample of all.",
    OVERHEAD_BUCKETS_S,
)
SIDECAR_UPSTREAM_CONNECTIONS = Metric(
    "driftline_sidecar_upstream_connections",
    "gauge",
    (STATE,),
    "Connections to the model server: busy, idle, being opened, or awaited by requests because all are busy.",
)
SIDECAR_TLS_FAILURES = Metric(
    "driftline_sidecar_tls_handshake_failures_total",
    "counter",
    (SIDE, REASON),
    "TLS handshakes that failed, with clients or with the model server (upstream), by reason.",
)
SIDECAR_UNOBSERVED = Metric(
    "driftline_sidecar_unobserved_connections_total",
    "counter",
    (REASON,),
    "Connections over HTTP/2 that go on unobserved, because something on them could not be understood, by reason.",
)
REDACTION_LEFT_OUT = Metric(
    "driftline_redaction_left_out_total",
    "counter",
    (REASON,),
    "Bodies left out of their events, because rules of redaction could not be applied to them, by reason.",
)
FINISHING_STARTS = Metric(
    "driftline_finishing_starts_total",
    "counter",
    (),
    "Starts of the process that folds streams and redacts; more than one means that it died or hung.",
)
CAPTURE_QUEUE_EVENTS = Metric(
    "driftline_capture_queue_events", "gauge", (), "Events in memory that are not yet written to the spool."
)
CAPTURE_QUEUE_BYTES = Metric(
    "driftline_capture_queue_bytes", "gauge", (), "Bytes in memory that are not yet written to the spool."
)
SPOOL_WRITE_ERRORS = Metric(
    "driftline_spool_write_errors_total", "counter", (), "Writes to the spool that the disk refused."
)
CONFIG_RELOADS = Metric(
    "driftline_config_reloads_total",
    "counter",
    (OUTCOME,),
    "Configurations read while running: applied, or refused whole because of a fault.",
)
CONFIG_LAST_RELOAD_SUCCESSFUL = Metric(
    "driftline_config_last_reload_successful", "gauge", (), "1 when the newest configuration is the one in force."
)
CONFIG_LAST_RELOAD = Metric(
    "driftline_config_last_reload_success_timestamp_seconds", "gauge", (), "When the configuration in force was read."
)
BUILD_INFO = Metric(
    "driftline_build_info", "gauge", (PART, RELEASE, IMPLEMENTATION), "Always 1; which build of a part this is."
)
SPOOL_BYTES = Metric("driftline_spool_bytes", "gauge", (), "Bytes now in the spool.")
SPOOL_LIMIT_BYTES = Metric("driftline_spool_limit_bytes", "gauge", (), "Bytes the spool may hold.")
SPOOL_OLDEST_AGE = Metric(
    "driftline_spool_oldest_age_seconds", "gauge", (), "Age of the oldest segment still in the spool."
)
SHIPPER_EVENTS = Metric(
    "driftline_shipper_events_total",
    "counter",
    (SINK, OUTCOME, REASON),
    "Events a sink took (delivered) or lost (failed).",
)
SHIPPER_LAG_BYTES = Metric("driftline_shipper_lag_bytes", "gauge", (SINK,), "Spool bytes not yet delivered to a sink.")
SHIPPER_LAG_AGE = Metric(
    "driftline_shipper_lag_age_seconds",
    "gauge",
    (SINK,),
    "Age of the oldest event that is on its way to a sink and not yet taken; 0 when none is.",
)
SHIPPER_INFLIGHT_BYTES = Metric(
    "driftline_shipper_inflight_bytes", "gauge", (SINK,), "Spool bytes read for a sink and not yet acknowledged by it."
)
SHIPPER_SINK_UP = Metric(
    "driftline_shipper_sink_up", "gauge", (SINK,), "1 while a sink takes events, 0 while it is away."
)
SHIPPER_DELIVERY = Metric(
    "driftline_shipper_delivery_seconds",
    "histogram",
    (SINK,),
    "Time from handing a batch to a sink to its acknowledgement.",
    LATENCY_BUCKETS_S,
)

# --- accelerators (NVML) ------------------------------------------------------------------------------------------
_DEVICE = (GPU, GPU_UUID, GPU_NAME)
GPU_UTILIZATION = Metric(
    "driftline_gpu_utilization_ratio", "gauge", _DEVICE, "Share of the time in which a kernel ran on the device."
)
GPU_MEMORY_USED = Metric("driftline_gpu_memory_used_bytes", "gauge", _DEVICE, "Memory of the device in use.")
GPU_MEMORY_TOTAL = Metric("driftline_gpu_memory_total_bytes", "gauge", _DEVICE, "Memory of the device.")
GPU_POWER = Metric("driftline_gpu_power_watts", "gauge", _DEVICE, "Power the device draws.")
GPU_TEMPERATURE = Metric("driftline_gpu_temperature_celsius", "gauge", _DEVICE, "Temperature of the device.")
GPU_PROCESSES = Metric(
    "driftline_gpu_processes", "gauge", _DEVICE, "Compute processes on the device that can be seen from here."
)
GPU_PROCESS_MEMORY = Metric(
    "driftline_gpu_process_memory_bytes",
    "gauge",
    _DEVICE,
    "Memory of the device held by the compute processes that can be seen from here.",
)
GPU_READINGS = Metric(
    "driftline_gpu_readings_total", "counter", (OUTCOME,), "Readings of all devices: delivered or failed."
)

# --- model server -------------------------------------------------------------------------------------------------
SERVING_REQUESTS = Metric(
    "driftline_serving_requests_total",
    "counter",
    (MODEL, VERSION, CODE),
    "Inference requests answered by the model server, by status code.",
)
SERVING_LATENCY = Metric(
    "driftline_serving_inference_seconds",
    "histogram",
    (MODEL, VERSION),
    "Time to read a request, run the model and write the answer.",
    LATENCY_BUCKETS_S,
)
SERVING_LAST_REQUEST = Metric(
    "driftline_serving_last_request_timestamp_seconds", "gauge", (MODEL, VERSION), "When a model answered last."
)
SERVING_MODEL_READY = Metric(
    "driftline_serving_model_ready", "gauge", (MODEL, VERSION), "1 for a model that is loaded, 0 for one that failed."
)

# --- collector ----------------------------------------------------------------------------------------------------
COLLECTOR_EVENTS = Metric(
    "driftline_collector_events_total",
    "counter",
    (*STREAM, OUTCOME, REASON),
    "Events read: stored, duplicate, erased (they were before they came), or dead_letter with its reason.",
)
COLLECTOR_ROWS = Metric(
    "driftline_collector_rows_total",
    "counter",
    (*STREAM, OUTCOME),
    "Prediction rows stored, by whether they pass validation.",
)
VALIDATION_FAILURES = Metric(
    "driftline_validation_failures_total", "counter", (*STREAM, COLUMN, REASON), "Values that break the column rules."
)
COLLECTOR_LAG = Metric(
    "driftline_collector_lag",
    "gauge",
    (PARTITION,),
    "Distance to the end of a partition: records (Kafka) or bytes (spool).",
)
COLLECTOR_HELD = Metric(
    "driftline_collector_held", "gauge", (PARTITION,), "1 for a partition that is not read until people do something."
)
COLLECTOR_RESTING = Metric(
    "driftline_collector_resting_seconds",
    "gauge",
    (PARTITION,),
    "How long nobody reads a partition while more waits; 0 where somebody does.",
)
COLLECTOR_LAG_SECONDS = Metric(
    "driftline_collector_lag_seconds",
    "gauge",
    (PARTITION,),
    "Age of the newest stored event of a partition that has more to read; 0 at its end.",
)
COLLECTOR_STEP = Metric(
    "driftline_collector_step_seconds", "gauge", (STATE,), "How long the consumer has been at its present step."
)
COLLECTOR_STUCK = Metric(
    "driftline_collector_stuck", "gauge", (), "1 while the consumer is stuck or has stopped, as /healthz says it."
)
COLLECTOR_FRESHNESS = Metric(
    "driftline_collector_freshness_seconds", "gauge", (NAMESPACE, MODEL), "Age of a model's newest stored event."
)
DEAD_LETTER_REPLAYS = Metric(
    "driftline_collector_replays_total",
    "counter",
    (NAMESPACE, MODEL, OUTCOME),
    "Dead letters that were replayed: stored, duplicate (their event was stored meanwhile), or failed again.",
)
API_REQUESTS = Metric(
    "driftline_api_requests_total", "counter", (ROUTE, CODE), "Requests to the collector's HTTP API, by status code."
)
COLLECTOR_LAST_EVENT = Metric(
    "driftline_collector_last_event_timestamp_seconds",
    "gauge",
    (NAMESPACE, MODEL),
    "Event time of the newest stored event.",
)
COLLECTOR_COMMIT = Metric(
    "driftline_collector_commit_seconds",
    "histogram",
    (),
    "Time of one transaction: rows, counts, positions.",
    LATENCY_BUCKETS_S,
)
COLLECTOR_WAITS = Metric(
    "driftline_collector_waits_total",
    "counter",
    (PART,),
    "Batches that had to wait because a part (database, broker) did not take or give them.",
)
COLLECTOR_PAYLOAD_FAILURES = Metric(
    "driftline_collector_payload_failures_total",
    "counter",
    (NAMESPACE, MODEL),
    "Batches whose Parquet payload rows could not be written; their rows are stored all the same.",
)
COLLECTOR_REMOVED = Metric(
    "driftline_collector_removed_total",
    "counter",
    (NAMESPACE, MODEL, KIND),
    "Rows, files and whole days that were let go: because their time was over, or because somebody asked for it.",
)
HALVES = Metric(
    "driftline_collector_halves_total",
    "counter",
    (NAMESPACE, MODEL, OUTCOME),
    "Requests and answers that came as events of their own: all received, and what became of them: paired, unpaired, "
    "dropped, duplicate, refused, erased, not_inference; ignored are events of other types. What is missing to "
    "received waits.",
)
WAITING_HALVES = Metric(
    "driftline_collector_waiting_halves", "gauge", (), "Requests and answers that wait for their other half."
)
WAITING_HALVES_BYTES = Metric(
    "driftline_collector_waiting_halves_bytes", "gauge", (), "Bytes of those that wait for their other half."
)
SOURCE_EVENTS = Metric(
    "driftline_collector_source_events_total",
    "counter",
    (SOURCE, OUTCOME, REASON),
    "Events sent to the collector over HTTP: accepted, ignored (of no type of ours), or refused with the reason.",
)
LABELS = Metric(
    "driftline_labels_total",
    "counter",
    (NAMESPACE, MODEL, OUTCOME),
    "Labels by what became of them: joined, pending, duplicate, corrected, withdrawn, expired, erased, or why refused.",
)
LABEL_DELAY = Metric(
    "driftline_label_delay_seconds",
    "histogram",
    (NAMESPACE, MODEL),
    "Time from prediction to its label.",
    DELAY_BUCKETS_S,
)
JUDGED_PREDICTIONS = Metric(
    "driftline_judged_predictions_total",
    "counter",
    (*STREAM, OUTCOME),
    "Predictions whose first label arrived, correct or incorrect; counted when the label arrives, never revised.",
)

# --- detectors ----------------------------------------------------------------------------------------------------
_DRIFT = (*STREAM, SEGMENT, COLUMN, DETECTOR)
WINDOWS_EVALUATED = Metric(
    "driftline_windows_evaluated_total", "counter", (*STREAM, VERDICT), "Closed windows by their first drift verdict."
)
DRIFT_STATISTIC = Metric("driftline_drift_statistic", "gauge", _DRIFT, "Statistic of the newest evaluated window.")
DRIFT_P_VALUE = Metric(
    "driftline_drift_p_value", "gauge", _DRIFT, "P-value of the newest evaluated window, where there is one."
)
DRIFT_EFFECT = Metric("driftline_drift_effect_size", "gauge", _DRIFT, "Effect size of the newest evaluated window.")
DRIFT_STATE = Metric(
    "driftline_drift_state",
    "gauge",
    _DRIFT,
    "Verdict of the newest window: 0 not enough evidence, 1 ok, 2 warning, 3 drifted.",
)
ALARM_BUDGET_SPENT = Metric(
    "driftline_alarm_budget_spent_ratio",
    "gauge",
    (*STREAM, SEGMENT, DETECTOR),
    "Share of the budget for false alarms over time that is spent, by what spends it.",
)
ACCURACY_ALARM = Metric(
    "driftline_accuracy_alarm",
    "gauge",
    (*STREAM, SEGMENT, DETECTOR),
    "1 while the sequential test of accuracy says that it fell, else 0.",
)
ACCURACY_EVIDENCE = Metric(
    "driftline_accuracy_evidence_ratio",
    "gauge",
    (*STREAM, SEGMENT, DETECTOR),
    "How far the evidence that accuracy fell is on its way to an alarm, logarithmic; 1: there.",
)
DRIFTED_COLUMNS = Metric(
    "driftline_drifted_columns", "gauge", (*STREAM, SEGMENT), "Columns drifted in the newest window."
)
WINDOW_ROWS = Metric("driftline_window_rows", "gauge", (*STREAM, SEGMENT), "Rows in the newest evaluated window.")
OUTLIER_RATIO = Metric(
    "driftline_outlier_ratio", "gauge", (*STREAM, SEGMENT), "Share of outlier rows in the newest window."
)
PERFORMANCE = Metric(
    "driftline_performance", "gauge", (*STREAM, SEGMENT, METRIC), "Metric on joined labels, newest window with labels."
)
PERFORMANCE_LOWER = Metric(
    "driftline_performance_lower", "gauge", (*STREAM, SEGMENT, METRIC), "Lower end of its 95 % interval."
)
PERFORMANCE_UPPER = Metric(
    "driftline_performance_upper", "gauge", (*STREAM, SEGMENT, METRIC), "Upper end of its 95 % interval."
)
LABEL_COVERAGE = Metric(
    "driftline_label_coverage_ratio", "gauge", (*STREAM, SEGMENT), "Share of the window's predictions with a label."
)
LABEL_MATURITY = Metric(
    "driftline_label_maturity_ratio",
    "gauge",
    (*STREAM, SEGMENT),
    "Share of labels expected by now, newest closed window.",
)
IMMATURE_WINDOWS = Metric(
    "driftline_immature_windows", "gauge", (*STREAM, SEGMENT), "Closed windows whose accuracy is not final yet."
)
LABEL_DELAY_EXPECTED = Metric(
    "driftline_label_delay_expected_seconds",
    "gauge",
    (NAMESPACE, MODEL, SEGMENT, SHARE),
    "Delay within which this share of labels comes, labels still to come included.",
)
LABELS_WAITING = Metric(
    "driftline_labels_waiting", "gauge", (NAMESPACE, MODEL), "Labels kept until their prediction comes, or too long."
)
DETECTORS_LAST_RUN = Metric(
    "driftline_detectors_last_run_timestamp_seconds", "gauge", (NAMESPACE, MODEL), "When windows were last looked at."
)
DETECTORS_EVALUATION = Metric(
    "driftline_detectors_evaluation_seconds",
    "histogram",
    (),
    "Time to evaluate one window from its counts.",
    LATENCY_BUCKETS_S,
)

# --- pages --------------------------------------------------------------------------------------------------------
PAGES_RECEIVED = Metric(
    "driftline_pages_received_total",
    "counter",
    (NAMESPACE, MODEL, SLO, SEVERITY),
    "Incidents that the page desk was told of, by their first alert; once more where a ticket becomes a page.",
)

# --- addresses ----------------------------------------------------------------------------------------------------
#: Where the page desk takes Alertmanager's webhook.
PAGE_DESK_PATH = "/api/v1/alerts/webhook"
#: The store where none is named: what every part writes and reads on one machine.
DATABASE_URL = "sqlite:///.driftline/driftline.db"

#: Every metric above, for the manual and for the tests that hold manual, rules and boards to it.
ALL_METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
