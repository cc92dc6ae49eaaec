"""What an injection is told: options of the command, overridden by the annotations of each workload."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from driftline.errors import FaultsError
from driftline.names import ANNOTATION_PREFIX

INJECT = ANNOTATION_PREFIX + "inject"


class InjectError(FaultsError):
    """A manifest cannot take the sidecar; each fault names document, path and value."""


@dataclass(frozen=True, slots=True)
class InjectOptions:
    """Defaults for every workload; an annotation ``driftline.io/NAME`` of a workload overrides each but ``everything``.

    ``everything``: also workloads without ``driftline.io/inject: "true"`` (``"false"`` is always obeyed).
    ``upstream_port``: port of the model server; None takes it from the container's ports. ``kafka_bootstrap``: empty
    ships nothing, the spool is read by a collector beside it. ``cpu``, ``memory``: requests; ``..._limit``: limits.
    """

    everything: bool = False
    image: str = "driftline-sidecar:0.1.0"
    upstream_port: int | None = None
    listen_port: int = 9000
    admin_port: int = 9001
    shipper_admin_port: int = 9002
    kafka_bootstrap: str = "kafka:9092"
    sample_rate: float = 1.0
    spool_max_bytes: int = 512 * 1024 * 1024
    variant: str = "stable"
    model: str = ""
    model_version: str = ""
    cpu: str = "100m"
    cpu_limit: str = "1"
    memory: str = "128Mi"
    memory_limit: str = "512Mi"
    run_as_user: int = 65532


def wanted(annotations: Mapping[str, Any], options: InjectOptions) -> bool:
    """Whether a workload with these annotations takes the sidecar."""
    word = str(annotations.get(INJECT, "")).lower()
    return word == "true" or (options.everything and word != "false")


def annotated(annotations: Mapping[str, Any], options: InjectOptions, subject: str) -> InjectOptions:
    """The options with a workload's annotations applied; raises InjectError with every wrong one."""
    changes: dict[str, Any] = {}
    faults = []
    for name, read in _READERS.items():
        key = ANNOTATION_PREFIX + name.replace("_", "-")
        if key not in annotations:
            continue
        try:
            changes[name] = read(str(annotations[key]))
        except ValueError as error:
            faults.append(f"metadata.annotations['{key}'] is '{annotations[key]}', which is not {error}")
    if faults:
        raise InjectError(subject, faults)
    return dataclasses.replace(options, **changes)


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("a text with something in it")
    return value.strip()


def _port(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 0 < int(value) < 65536):
        raise ValueError("a port between 1 and 65535")
    return int(value)


def _bytes(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise ValueError("a number of bytes above 0")
    return int(value)


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise ValueError("a share between 0 and 1")
    return share


_READERS: Mapping[str, Callable[[str], Any]] = {
    "image": _text,
    "upstream_port": _port,
    "listen_port": _port,
    "admin_port": _port,
    "shipper_admin_port": _port,
    "kafka_bootstrap": str.strip,
    "sample_rate": _share,
    "spool_max_bytes": _bytes,
    "variant": _text,
    "model": _text,
    "model_version": _text,
    "cpu": _text,
    "cpu_limit": _text,
    "memory": _text,
    "memory_limit": _text,
    "run_as_user": _bytes,
}
