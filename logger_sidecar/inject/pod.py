"""Puts the sidecar into one pod specification and says where its traffic now arrives."""

from dataclasses import dataclass
from typing import Any

from driftline.names import ANNOTATION_PREFIX
from logger_sidecar.inject import container as inject_container
from logger_sidecar.inject import mounts as inject_mounts
from logger_sidecar.inject.options import InjectError, InjectOptions

DEFAULT_PORT_NAME = "driftline"
#: Names by which people call the port that serves predictions, likeliest first.
_SERVING_PORT_NAMES = ("http", "http1", "rest", "http-rest", "h2c", "http-predict")


@dataclass(frozen=True, slots=True)
class Redirect:
    """Traffic for ``upstream_port`` is to go to the port called ``port_name``; gRPC likewise, where it has its own."""

    upstream_port: int
    port_name: str
    grpc_port: int | None = None
    grpc_name: str = ""


def inject_pod(
    spec: dict[str, Any], options: InjectOptions, workload: str, subject: str, *, native: bool = True
) -> Redirect:
    """Add or update the sidecar in ``spec``, in place; raises InjectError.

    ``native``: as an init container with ``restartPolicy: Always``, which starts before and ends after the model
    (Kubernetes 1.29); False makes it a container like the others. ``subject``: names the document in errors.
    """
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers or not all(isinstance(each, dict) for each in containers):
        raise InjectError(subject, [f"spec.containers is {containers!r}; there is no container to stand in front of"])
    if spec.get("hostNetwork"):
        raise InjectError(subject, ["spec.hostNetwork is true; the sidecar's ports would be taken on the whole node"])
    earlier = _remove_earlier(spec)
    port, name = _upstream(spec["containers"], options, earlier, subject)
    _check_ports(spec, options, port, subject)
    grpc_name = _grpc_name(spec["containers"], options.grpc_port, earlier)
    _give_name_away(spec["containers"], name)
    _give_name_away(spec["containers"], grpc_name)
    sidecar = inject_container.container(options, port, name, workload, grpc_name)
    if native:
        spec["initContainers"] = [*(spec.get("initContainers") or []), {**sidecar, "restartPolicy": "Always"}]
    else:
        spec["containers"] = [*spec["containers"], sidecar]
    if spec.get("initContainers") == []:
        del spec["initContainers"]
    volumes = [volume for volume in spec.get("volumes") or [] if not _is_ours(volume)]
    spec["volumes"] = [*volumes, inject_container.volume(options), *inject_mounts.volumes(options)]
    return Redirect(port, name, options.grpc_port, grpc_name)


def _is_ours(volume: dict[str, Any]) -> bool:
    name = str(volume.get("name"))
    return name == inject_container.VOLUME or name.startswith(inject_mounts.VOLUME_PREFIX)


def _grpc_name(containers: list[dict[str, Any]], port: int | None, earlier: dict[str, Any] | None) -> str:
    """The name that gRPC traffic comes by: an earlier sidecar's, or the model server's port's, or one of our own."""
    ours = (inject_container.ADMIN_PORT_NAME, inject_container.SHIPPER_PORT_NAME)
    before = [each["name"] for each in ((earlier or {}).get("ports") or [])[1:] if each["name"] not in ours]
    declared = [each for container in containers for each in container.get("ports") or []]
    named = [each["name"] for each in declared if each.get("containerPort") == port and "name" in each]
    return str([*before, *named, inject_container.GRPC_PORT_NAME][0])


def _remove_earlier(spec: dict[str, Any]) -> dict[str, Any] | None:
    """Take an earlier sidecar out, so that injecting again updates it; emptied lists stay in their place."""
    found = None
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or []:
            if container.get("name") == inject_container.NAME:
                found = container
                spec[field] = [other for other in spec[field] if other is not container]
    return found


def _upstream(
    containers: list[dict[str, Any]], options: InjectOptions, earlier: dict[str, Any] | None, subject: str
) -> tuple[int, str]:
    """The model server's port and the name its traffic comes by."""
    declared = [port for container in containers for port in container.get("ports") or []]
    if earlier is not None:
        number = options.upstream_port or inject_container.upstream_port_of(earlier)
        if number is not None:
            return number, str(earlier["ports"][0].get("name", DEFAULT_PORT_NAME))
    if options.upstream_port is not None:
        named = [port.get("name") for port in declared if port.get("containerPort") == options.upstream_port]
        return options.upstream_port, (named or [None])[0] or DEFAULT_PORT_NAME
    if not declared:
        annotation = f"'{ANNOTATION_PREFIX}upstream-port'"
        raise InjectError(
            subject, [f"spec.containers declares no port, and no annotation {annotation} names the model server's"]
        )
    chosen = min(declared, key=lambda port: _rank(str(port.get("name", ""))))
    number = chosen.get("containerPort")
    if not isinstance(number, int):
        raise InjectError(subject, [f"spec.containers.ports.containerPort is {number!r}, which is not a port"])
    return number, chosen.get("name") or DEFAULT_PORT_NAME


def _rank(name: str) -> int:
    # min() keeps the first of equals: without a known name it is the first port declared.
    return _SERVING_PORT_NAMES.index(name) if name in _SERVING_PORT_NAMES else len(_SERVING_PORT_NAMES)


def _check_ports(spec: dict[str, Any], options: InjectOptions, upstream_port: int, subject: str) -> None:
    taken = {upstream_port: "the model server"}
    for container in spec["containers"]:
        for port in container.get("ports") or []:
            taken.setdefault(port.get("containerPort"), f"container '{container.get('name')}'")
    faults = []
    if options.grpc_port is not None:
        taken.setdefault(options.grpc_port, "the model server's gRPC")
    own = ("listen_port", "admin_port", "shipper_admin_port", "grpc_listen_port")
    for option in own if options.grpc_port is not None else own[:3]:
        number = getattr(options, option)
        if number in taken:
            key = ANNOTATION_PREFIX + option.replace("_", "-")
            faults.append(f"port {number} of the sidecar is taken by {taken[number]}; choose another with '{key}'")
        taken[number] = f"the sidecar's {option}"
    if faults:
        raise InjectError(subject, faults)


def _give_name_away(containers: list[dict[str, Any]], name: str) -> None:
    """Take ``name`` from the container's port, so that Services that target it by name reach the sidecar instead.

    The container's own probes and hooks name the port too; they keep their target by its number.
    """
    for container in containers:
        for port in container.get("ports") or []:
            if port.get("name") == name:
                del port["name"]
                _number_ports(container, name, port["containerPort"])


def _number_ports(part: Any, name: str, number: int) -> None:
    for field in ("startupProbe", "readinessProbe", "livenessProbe", "postStart", "preStop", "lifecycle"):
        probe = part.get(field)
        if not isinstance(probe, dict):
            continue
        _number_ports(probe, name, number)
        for action in ("httpGet", "tcpSocket"):
            if isinstance(probe.get(action), dict) and probe[action].get("port") == name:
                probe[action]["port"] = number
