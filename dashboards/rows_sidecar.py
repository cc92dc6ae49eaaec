"""Rows about the sidecar itself: what it adds to a request, what waits inside it, its configuration, its devices."""

from dashboards.panels import GREEN, ORANGE, RED, YELLOW, PanelSpec, Query, RowSpec
from dashboards.queries import quantile, rate, select, top, total
from driftline import names

#: There is always one where a sidecar runs: what only some installations have shows as 0 there, not as a broken panel.
_ALWAYS = total(select(names.SIDECAR_CONNECTIONS))


def _or_nothing(expr: str) -> str:
    return f"{expr} or 0 * {_ALWAYS}"


def _finishing_panels() -> tuple[PanelSpec, ...]:
    """What is done to events before they are written."""
    return (
        PanelSpec(
            "Bodies that could not be redacted",
            "Per second, by reason. They are left out of their events, which say so.",
            "timeseries",
            "cps",
            (Query(_or_nothing(total(rate(names.REDACTION_LEFT_OUT), "reason")), "{{reason}}"),),
            minimum=0.0,
            width=6,
        ),
        PanelSpec(
            "Starts of the finishing process",
            "It folds streams and redacts. More than the first: it died or hung, and events may be lost for it.",
            "timeseries",
            "short",
            (Query(total(select(names.FINISHING_STARTS)), "starts"),),
            minimum=0.0,
            width=6,
        ),
    )


def _unobserved_panel() -> PanelSpec:
    return PanelSpec(
        "Connections that go on unobserved",
        "Over HTTP/2, per second, by reason. Their bytes pass; inferences on them are not captured.",
        "timeseries",
        "cps",
        (Query(_or_nothing(total(rate(names.SIDECAR_UNOBSERVED), "reason")), "{{reason}}"),),
        minimum=0.0,
        width=12,
        height=6,
    )


def _handshakes_panel() -> PanelSpec:
    return PanelSpec(
        "TLS handshakes that failed",
        "Per second, with clients or with the model server, by reason. Certificates that ran out, or that somebody "
        "does not trust, are refused here before any request is seen.",
        "timeseries",
        "cps",
        (Query(_or_nothing(total(rate(names.SIDECAR_TLS_FAILURES), "side", "reason")), "{{side}}: {{reason}}"),),
        minimum=0.0,
        width=12,
        height=6,
    )


def proxy_row() -> RowSpec:
    """What stands between client and model server."""
    return RowSpec(
        "Sidecar",
        (
            PanelSpec(
                "Time added by the sidecar, p50 and p99",
                "From bytes read on one side to their being passed on to the other, capture included; a sample of all.",
                "timeseries",
                "s",
                (
                    Query(quantile(0.5, names.SIDECAR_OVERHEAD, "direction"), "{{direction}} p50"),
                    Query(quantile(0.99, names.SIDECAR_OVERHEAD, "direction"), "{{direction}} p99"),
                ),
                minimum=0.0,
            ),
            PanelSpec(
                "Connections to the model server",
                "Busy, idle, being opened, and awaited by requests because all are busy (max_upstream_connections).",
                "timeseries",
                "short",
                (Query(total(select(names.SIDECAR_UPSTREAM_CONNECTIONS), "state"), "{{state}}"),),
                stacked=True,
                minimum=0.0,
            ),
            *_spool_panels(),
            *_finishing_panels(),
            *_configuration_panels(),
        ),
    )


def _spool_panels() -> tuple[PanelSpec, ...]:
    """What waits between the proxy and the spool."""
    return (
        PanelSpec(
            "Waiting to be written",
            "Bytes in memory that are not yet in the spool. A climb: disk or CPU are too slow. At buffer_bytes: "
            "events are dropped (buffer_full).",
            "timeseries",
            "bytes",
            (Query(top(20, select(names.CAPTURE_QUEUE_BYTES)), "{{instance}}"),),
            minimum=0.0,
        ),
        PanelSpec(
            "Events waiting to be written",
            "Events in memory that are not yet in the spool.",
            "timeseries",
            "short",
            (Query(top(20, select(names.CAPTURE_QUEUE_EVENTS)), "{{instance}}"),),
            minimum=0.0,
            width=6,
        ),
        PanelSpec(
            "Writes the disk refused",
            "Batches per second that could not be written to the spool; their events are counted as dropped.",
            "timeseries",
            "cps",
            (Query(total(rate(names.SPOOL_WRITE_ERRORS)), "refused"),),
            minimum=0.0,
            width=6,
        ),
    )


def _configuration_panels() -> tuple[PanelSpec, ...]:
    """What the sidecar goes by."""
    return (
        PanelSpec(
            "Configuration in force",
            "Whether the newest configuration is the one in force. Refused: the sidecar's log names every fault.",
            "state",
            "short",
            (Query(top(20, select(names.CONFIG_LAST_RELOAD_SUCCESSFUL)), "{{instance}}"),),
            ((None, RED), (1.0, GREEN)),
            values=((0.0, "refused", RED), (1.0, "in force", GREEN)),
            width=6,
        ),
        PanelSpec(
            "Configurations read",
            "Configurations applied and refused per second, while running.",
            "timeseries",
            "cps",
            (Query(total(rate(names.CONFIG_RELOADS), "outcome"), "{{outcome}}"),),
            minimum=0.0,
            width=6,
        ),
        PanelSpec(
            "Age of the configuration",
            "Since the configuration in force was read.",
            "timeseries",
            "s",
            (Query(f"time() - {select(names.CONFIG_LAST_RELOAD)}", "{{instance}}"),),
            minimum=0.0,
            width=12,
            height=6,
        ),
        PanelSpec(
            "Builds",
            "How many sidecars run which release, compiled or in pure Python.",
            "table",
            "short",
            (Query(f"count by (part, release, implementation) ({names.BUILD_INFO.name})"),),
            width=12,
            height=6,
        ),
        _unobserved_panel(),
        _handshakes_panel(),
    )


def gpu_row() -> RowSpec:
    """The devices beside the sidecars that watch any; 0 where there are none."""
    return RowSpec(
        "Accelerators",
        (
            _gpu("GPU utilisation", "Share of the time in which a kernel ran.", "percentunit", names.GPU_UTILIZATION),
            PanelSpec(
                "GPU memory in use",
                "Memory in use out of all; what the visible compute processes hold is a part of it.",
                "timeseries",
                "percentunit",
                (
                    Query(
                        _or_nothing(
                            f"{top(20, f'{select(names.GPU_MEMORY_USED)} / {select(names.GPU_MEMORY_TOTAL)}')}"
                        ),
                        "{{gpu}} {{name}}",
                    ),
                    Query(
                        _or_nothing(
                            f"{top(20, f'{select(names.GPU_PROCESS_MEMORY)} / {select(names.GPU_MEMORY_TOTAL)}')}"
                        ),
                        "{{gpu}} processes",
                    ),
                ),
                ((None, GREEN), (0.9, YELLOW), (0.97, RED)),
                minimum=0.0,
                maximum=1.0,
            ),
            _gpu("GPU power", "Power the device draws.", "watt", names.GPU_POWER),
            PanelSpec(
                "GPU temperature",
                "Temperature of the device.",
                "timeseries",
                "celsius",
                (Query(_or_nothing(top(20, select(names.GPU_TEMPERATURE))), "{{gpu}} {{name}}"),),
                ((None, GREEN), (80.0, YELLOW), (88.0, ORANGE)),
            ),
            _gpu("GPU processes", "Compute processes that can be seen from the sidecar.", "short", names.GPU_PROCESSES),
            PanelSpec(
                "GPU readings",
                "Readings per second, delivered and failed. Only failed ones: the driver does not answer.",
                "timeseries",
                "cps",
                (Query(_or_nothing(total(rate(names.GPU_READINGS), "outcome")), "{{outcome}}"),),
                minimum=0.0,
            ),
        ),
    )


def _gpu(title: str, description: str, unit: str, metric: names.Metric) -> PanelSpec:
    query = Query(_or_nothing(top(20, select(metric))), "{{gpu}} {{name}}")
    return PanelSpec(title, description, "timeseries", unit, (query,), minimum=0.0)
