"""What an injected sidecar reads from files: a ConfigMap, a TLS Secret, the pod's annotations. Pure functions."""

from typing import Any

from logger_sidecar.inject.options import InjectOptions
from logger_sidecar.pod_annotations import LIVE_ANNOTATIONS

#: Every volume that an injection adds beside the spool begins with this.
VOLUME_PREFIX = "driftline-sidecar-"
_CONFIG, _TLS, _POD = (VOLUME_PREFIX + name for name in ("config", "tls", "podinfo"))
_DIRECTORY = "/etc/driftline"
#: Kubernetes brings a changed ConfigMap or annotation to the file within a minute; looking costs nothing beside that.
_WATCH_S = 10


def volumes(options: InjectOptions) -> list[dict[str, Any]]:
    """The volumes that the options ask for."""
    found: list[dict[str, Any]] = []
    if options.config_map:
        found.append({"name": _CONFIG, "configMap": {"name": options.config_map}})
    if options.tls_secret:
        found.append({"name": _TLS, "secret": {"secretName": options.tls_secret}})
    if options.live_annotations:
        item = {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}
        found.append({"name": _POD, "downwardAPI": {"items": [item]}})
    return found


def mounts(options: InjectOptions) -> list[dict[str, Any]]:
    """Where the sidecar finds them; whole directories, because a file mounted by itself never changes."""
    return [
        {"name": volume["name"], "mountPath": _path(volume["name"]), "readOnly": True} for volume in volumes(options)
    ]


def environment(options: InjectOptions) -> dict[str, Any]:
    """The variables that point there."""
    found: dict[str, Any] = {}
    if options.config_map or options.live_annotations:
        found["DRIFTLINE_SIDECAR_WATCH_CONFIG_S"] = _WATCH_S
    if options.config_map:
        found["DRIFTLINE_CONFIG"] = f"{_path(_CONFIG)}/sidecar.yaml"
    if options.live_annotations:
        found["DRIFTLINE_ANNOTATIONS_FILE"] = f"{_path(_POD)}/annotations"
        # What the cluster bounds was checked by the injection and cannot be changed past it.
        followed = [name for name in LIVE_ANNOTATIONS if name not in options.bounds]
        found["DRIFTLINE_ANNOTATIONS_FOLLOWED"] = ",".join(followed)
    if options.tls_secret:
        found["DRIFTLINE_SIDECAR_TLS_CERTIFICATE"] = f"{_path(_TLS)}/tls.crt"
        found["DRIFTLINE_SIDECAR_TLS_KEY"] = f"{_path(_TLS)}/tls.key"
    if options.watch_gpu:
        # The NVIDIA container runtime shows devices to containers that ask by these; no device is taken from anybody.
        found["NVIDIA_VISIBLE_DEVICES"] = "all"
        found["NVIDIA_DRIVER_CAPABILITIES"] = "utility"
    return found


def _path(volume: str) -> str:
    return f"{_DIRECTORY}/{volume.removeprefix(VOLUME_PREFIX)}"
