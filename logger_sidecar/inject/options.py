"""What an injection is told: options of the command, overridden by the annotations of each workload."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from driftline.errors import FaultsError
from driftline.names import ANNOTATION_PREFIX
from logger_sidecar.inject.bounds import Bound, Cluster, number
from logger_sidecar.inject.settings import SHIPPER_SETTINGS, SIDECAR_SETTINGS, setting_faults
from logger_sidecar.pod_annotations import annotation_of

INJECT = ANNOTATION_PREFIX + "inject"
#: Written by an injection, read by none.
SCRAPED = ANNOTATION_PREFIX + "scraped"


class InjectError(FaultsError):
    """A manifest cannot take the sidecar; each fault names document, path and value."""


@dataclass(frozen=True, slots=True)
class InjectOptions:
    """Defaults for every workload; an annotation ``driftline.io/NAME`` of a workload overrides each but ``everything``.

    ``everything``: also workloads without ``driftline.io/inject: "true"`` (``"false"`` is always obeyed).
    ``image``: the sidecar's image. ``upstream_port``: port of the model server's HTTP; left out, it is taken from the
    container's ports. ``listen_port``, ``admin_port``, ``spool_max_bytes``, ``model``, ``model_version``,
    ``grpc_listen_port``: as the settings of these names. ``sample_rate``, ``variant``: the same; where nobody says one,
    the file's holds, or the setting's default. ``shipper_admin_port``: port of the shipper's /metrics and /healthz.
    ``kafka_bootstrap``: Kafka brokers, HOST:PORT; left out, they are kafka:9092, or with a ConfigMap those that it
    names; empty ships nothing, and a collector beside it reads the spool. ``cpu``, ``memory``: what the container asks
    for; proxy, recorder, finishing and shipper together. ``cpu_limit``, ``memory_limit``: what they may take together.
    ``run_as_user``: the user it runs as; 0, root, is refused. ``grpc_port``: port of the model server's gRPC, where
    it has one; the sidecar takes it over on ``grpc_listen_port`` (9003). ``config_map``: a ConfigMap whose key
    ``sidecar.yaml`` is the configuration file, followed while running; annotations win over it. ``tls_secret``: a
    Secret with ``tls.crt`` and ``tls.key``, shown to clients. ``env_secret``: a Secret whose keys are variables, such
    as DRIFTLINE_SHIPPER_SASL_PASSWORD. ``live_annotations``: what the pod's annotations say of capture is followed
    while it runs, but for what the cluster bounds. ``watch_gpu``: let the sidecar see the node's devices.
    ``settings``: further settings by their names, the shipper's with ``shipper_`` before. ``bounds``: of what
    annotations say.
    """

    everything: bool = False
    image: str = "driftline-sidecar:0.1.0"
    upstream_port: int | None = None
    listen_port: int = 9000
    admin_port: int = 9001
    shipper_admin_port: int = 9002
    kafka_bootstrap: str | None = None
    sample_rate: float | None = None
    spool_max_bytes: int = 512 * 1024 * 1024
    variant: str = ""
    model: str = ""
    model_version: str = ""
    cpu: str = "100m"
    cpu_limit: str = "2"
    memory: str = "192Mi"
    memory_limit: str = "512Mi"
    run_as_user: int = 65532
    grpc_port: int | None = None
    grpc_listen_port: int = 9003
    config_map: str = ""
    tls_secret: str = ""
    env_secret: str = ""
    live_annotations: bool = False
    watch_gpu: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    bounds: Mapping[str, Bound] = field(default_factory=dict)


def wanted(annotations: Mapping[str, Any], options: InjectOptions, subject: str) -> bool:
    """Whether a workload with these annotations takes the sidecar.

    Raises InjectError where that cannot be told: a misspelt wish must not leave a model unwatched without a word.
    """
    word = str(annotations.get(INJECT, "")).lower()
    if word == "true" or (options.everything and word != "false"):
        return True
    faults = _unknown({key for key in annotations if key.startswith(ANNOTATION_PREFIX)})
    if word not in ("", "false"):
        faults.append(f"metadata.annotations['{INJECT}'] is '{annotations[INJECT]}', which is neither true nor false")
    if faults:
        raise InjectError(subject, faults)
    return False


def annotated(annotations: Mapping[str, Any], options: InjectOptions, subject: str) -> InjectOptions:
    """The options with a workload's annotations applied; raises InjectError with every wrong one."""
    given = {key: str(value) for key, value in annotations.items() if key.startswith(ANNOTATION_PREFIX)}
    chosen = {name: given[annotation_of(name)] for name in _NAMES if annotation_of(name) in given}
    faults = [
        *_unknown(set(given)),
        *(
            f"metadata.annotations['{annotation_of(name)}'] is '{text}', which {fault}"
            for name, text in chosen.items()
            if (fault := options.bounds.get(name, _FREE).fault(text))
        ),
    ]
    made = _with(chosen, options, faults)
    if faults:
        raise InjectError(subject, faults)
    return made


def with_cluster(cluster: Cluster, options: InjectOptions) -> InjectOptions:
    """The options with a cluster's defaults and bounds; raises InjectError with every wrong default."""
    faults: list[str] = []
    defaults = {name.replace("-", "_"): text for name, text in cluster.defaults.items()}
    made = _with(defaults, options, faults)
    if faults:
        raise InjectError("defaults of the cluster", faults)
    bounds = {name.replace("-", "_"): bound for name, bound in cluster.bounds.items()}
    return dataclasses.replace(made, bounds=bounds)


def _with(chosen: Mapping[str, str], options: InjectOptions, faults: list[str]) -> InjectOptions:
    changes: dict[str, Any] = {}
    for name, read in _READERS.items():
        if name in chosen:
            try:
                changes[name] = read(chosen[name])
            except ValueError as error:
                faults.append(
                    f"metadata.annotations['{annotation_of(name)}'] is '{chosen[name]}', which is not {error}"
                )
    settings = {name: text for name, text in chosen.items() if name not in _READERS}
    if settings:
        changes["settings"] = {**options.settings, **settings}
        faults.extend(setting_faults(changes["settings"]))
    return dataclasses.replace(options, **changes)


def _unknown(given: set[str]) -> list[str]:
    known = {annotation_of(name) for name in _NAMES} | {INJECT, SCRAPED}
    faults = []
    for key in sorted(given - known):
        near = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        faults.append(f"metadata.annotations['{key}'] is not an annotation of driftline{hint}")
    return faults


def _brokers(value: str) -> str:
    brokers = value.strip()
    if brokers and setting_faults({"shipper_bootstrap_servers": brokers}):
        raise ValueError("HOST:PORT, with commas between")
    return brokers


def _text(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("a text with something in it")
    return value.strip()


def _quantity(value: str) -> str:
    if (number(value) or 0.0) <= 0.0:
        raise ValueError("an amount as Kubernetes writes them, such as 250m or 256Mi")
    return value.strip()


def _port(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 0 < int(value) < 65536):
        raise ValueError("a port between 1 and 65535")
    return int(value)


def _bytes(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 4 <= int(value) < 2**63):  # a segment is a quarter of it
        raise ValueError("a number of bytes above 3")
    return int(value)


def _user(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise ValueError("a user's number above 0, which is root")
    return int(value)


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise ValueError("a share between 0 and 1")
    return share


def _flag(value: str) -> bool:
    words = {"true": True, "false": False}
    if value.lower() not in words:
        raise ValueError("true or false")
    return words[value.lower()]


_FREE = Bound()
_READERS: Mapping[str, Callable[[str], Any]] = {
    "image": _text,
    "upstream_port": _port,
    "listen_port": _port,
    "admin_port": _port,
    "shipper_admin_port": _port,
    "kafka_bootstrap": _brokers,
    "sample_rate": _share,
    "spool_max_bytes": _bytes,
    "variant": _text,
    "model": _text,
    "model_version": _text,
    "cpu": _quantity,
    "cpu_limit": _quantity,
    "memory": _quantity,
    "memory_limit": _quantity,
    "run_as_user": _user,
    "grpc_port": _port,
    "grpc_listen_port": _port,
    "config_map": _text,
    "tls_secret": _text,
    "env_secret": _text,
    "live_annotations": _flag,
    "watch_gpu": _flag,
}
#: Every annotation's name in code: options of the injection first, then settings that are passed on.
_NAMES = tuple(dict.fromkeys([*_READERS, *SIDECAR_SETTINGS, *SHIPPER_SETTINGS]))
#: Every annotation without its prefix, as a cluster's file names them.
ANNOTATIONS = tuple(name.replace("_", "-") for name in _NAMES)
