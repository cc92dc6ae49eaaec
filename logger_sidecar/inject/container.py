"""The sidecar as a Kubernetes container, and its spool as a volume: pure functions of the options."""

import re
from typing import Any

from logger_sidecar.inject import mounts as inject_mounts
from logger_sidecar.inject.options import InjectOptions
from logger_sidecar.inject.settings import environment_name

NAME = "driftline-sidecar"
VOLUME = "driftline-spool"
ADMIN_PORT_NAME = "driftline-admin"
SHIPPER_PORT_NAME = "driftline-ship"
SPOOL_PATH = "/var/spool/driftline"
GRPC_PORT_NAME = "driftline-grpc"
UPSTREAM_ENV = "DRIFTLINE_SIDECAR_UPSTREAM"
_SINKS = "DRIFTLINE_SIDECAR_SINKS"
_BROKERS = "kafka:9092"
#: Room in the volume beyond the spool's own bound, for cursors and the file system.
_SPOOL_MARGIN_BYTES = 32 * 1024 * 1024


def container(
    options: InjectOptions, upstream_port: int, port_name: str, workload: str, grpc_name: str = GRPC_PORT_NAME
) -> dict[str, Any]:
    """The sidecar in front of ``127.0.0.1:upstream_port``.

    ``port_name``, ``grpc_name``: names under which Services find it.
    """
    return {
        "name": NAME,
        "image": options.image,
        "command": ["driftline", "sidecar"],
        "env": _environment(options, upstream_port, workload),
        **({"envFrom": [{"secretRef": {"name": options.env_secret}}]} if options.env_secret else {}),
        "ports": [
            {"name": port_name, "containerPort": options.listen_port, "protocol": "TCP"},
            {"name": ADMIN_PORT_NAME, "containerPort": options.admin_port, "protocol": "TCP"},
            *_grpc_ports(options, grpc_name),
            *_shipper_ports(options),
        ],
        # The proxy is alive before the model is ready; only readiness may wait for the model.
        "startupProbe": _probe("/healthz", periodSeconds=1, failureThreshold=60),
        "readinessProbe": _probe("/readyz", periodSeconds=5, failureThreshold=2),
        "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=6),
        "resources": {
            "requests": {"cpu": options.cpu, "memory": options.memory},
            "limits": {"cpu": options.cpu_limit, "memory": options.memory_limit},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": options.run_as_user,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": VOLUME, "mountPath": SPOOL_PATH}, *inject_mounts.mounts(options)],
    }


def volume(options: InjectOptions) -> dict[str, Any]:
    """The spool's volume, bounded a little above the spool itself."""
    return {"name": VOLUME, "emptyDir": {"sizeLimit": str(options.spool_max_bytes + _SPOOL_MARGIN_BYTES)}}


def upstream_port_of(sidecar: dict[str, Any]) -> int | None:
    """The port an injected sidecar forwards to."""
    for variable in sidecar.get("env") or []:
        if variable.get("name") == UPSTREAM_ENV:
            port = str(variable.get("value", "")).rpartition(":")[2]
            return int(port) if port.isdecimal() else None
    return None


def _environment(options: InjectOptions, upstream_port: int, workload: str) -> list[dict[str, Any]]:
    grpc = {} if options.grpc_port is None else _grpc(options, options.grpc_port)
    segment_bytes = min(16 * 1024 * 1024, options.spool_max_bytes // 4)
    values = {
        UPSTREAM_ENV: f"http://127.0.0.1:{upstream_port}",
        "DRIFTLINE_SIDECAR_LISTEN_PORT": options.listen_port,
        "DRIFTLINE_SIDECAR_ADMIN_PORT": options.admin_port,
        "DRIFTLINE_SIDECAR_SPOOL_DIRECTORY": SPOOL_PATH,
        "DRIFTLINE_SIDECAR_SPOOL_MAX_BYTES": options.spool_max_bytes,
        "DRIFTLINE_SIDECAR_SEGMENT_BYTES": segment_bytes,
        "DRIFTLINE_SIDECAR_BUFFER_BYTES": min(32 * 1024 * 1024, options.spool_max_bytes // 4),
        "DRIFTLINE_SIDECAR_SAMPLE_RATE": options.sample_rate,
        "DRIFTLINE_SIDECAR_WORKLOAD": workload,
        "DRIFTLINE_SIDECAR_VARIANT": options.variant,
        "DRIFTLINE_SIDECAR_MODEL": options.model,
        "DRIFTLINE_SIDECAR_MODEL_VERSION": options.model_version,
        "DRIFTLINE_SHIPPER_ADMIN_PORT": options.shipper_admin_port,
        **_kafka(options),
        **inject_mounts.environment(options),
        **grpc,
        **{environment_name(name): value for name, value in options.settings.items()},
    }
    fields = {"DRIFTLINE_SIDECAR_NAMESPACE": "metadata.namespace", "DRIFTLINE_SIDECAR_POD": "metadata.name"}
    told = {name: _literal(str(value)) for name, value in values.items() if value not in ("", None) or name == _SINKS}
    return [
        *({"name": name, "value": value} for name, value in told.items()),
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
    ]


def _literal(value: str) -> str:
    """As Kubernetes reads it back: ``$(NAME)`` is a variable to it, and ``$$`` one dollar."""
    return re.sub(r"\$(?=[$(])", "$$", value)


def _kafka(options: InjectOptions) -> dict[str, str]:
    """The brokers, and that there are none: without sinks, a default would ship to a broker that nobody named.

    A ConfigMap names its own, unless an annotation does: the environment wins over a file.
    """
    if options.kafka_bootstrap == "":
        return {_SINKS: ""}
    if options.kafka_bootstrap is None and options.config_map:
        return {}
    return {"DRIFTLINE_SHIPPER_BOOTSTRAP_SERVERS": options.kafka_bootstrap or _BROKERS}


def _grpc(options: InjectOptions, port: int) -> dict[str, Any]:
    return {
        "DRIFTLINE_SIDECAR_GRPC_UPSTREAM": f"http://127.0.0.1:{port}",
        "DRIFTLINE_SIDECAR_GRPC_LISTEN_PORT": options.grpc_listen_port,
    }


def _grpc_ports(options: InjectOptions, name: str) -> list[dict[str, Any]]:
    if options.grpc_port is None:
        return []
    return [{"name": name, "containerPort": options.grpc_listen_port, "protocol": "TCP"}]


def _shipper_ports(options: InjectOptions) -> list[dict[str, Any]]:
    """Declared for those who look for what is to be scraped: annotations name one port of a pod only."""
    if options.kafka_bootstrap == "" and not options.settings.get("sinks"):
        return []
    return [{"name": SHIPPER_PORT_NAME, "containerPort": options.shipper_admin_port, "protocol": "TCP"}]


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": ADMIN_PORT_NAME}, **timing}
