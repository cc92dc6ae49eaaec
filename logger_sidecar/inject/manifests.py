"""Adds the sidecar to Kubernetes manifests.

Deployments, StatefulSets, DaemonSets, ReplicaSets and Pods take it as a native sidecar (Kubernetes 1.29 or newer). Its
listening port takes over the name of the model container's port, so that Services which target the port by name,
wherever they are written, reach the sidecar. A Service in the same input that targets it by number is changed to the
name; one elsewhere that targets the number goes past the sidecar until its ``targetPort`` is that name.

A KServe InferenceService takes it as a container that alone declares a port, which is where Knative sends requests.
In a SeldonDeployment the port declared for the executor becomes the sidecar's; the model is told to stay on its own.

The pod's ``terminationGracePeriodSeconds`` is raised to the sidecar's ``grace_period_s`` where it is shorter, and never
lowered. Of an InferenceService only where it stands already or its mode is a plain Deployment: Knative refuses the
field, and gives its pods the revision's timeout (300 s) instead.

Injecting twice changes nothing; injecting again with other options updates. Unknown kinds pass through untouched.
Comments of the YAML are lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from driftline.names import ANNOTATION_PREFIX
from logger_sidecar.inject import container as inject_container
from logger_sidecar.inject.grace import FIELD, SELDON_DEFAULT_S, grant_grace
from logger_sidecar.inject.options import SCRAPED, InjectError, InjectOptions, annotated, wanted
from logger_sidecar.inject.pod import Redirect, inject_pod
from logger_sidecar.inject.service import redirect_services

__all__ = ["InjectError", "InjectOptions", "inject", "inject_yaml"]

_TEMPLATED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})
_VARIANT = ANNOTATION_PREFIX + "variant"
_KSERVE_DEFAULT_PORT = 8080
#: Seldon Core v1 tells its model servers by this variable where to listen, unless it is set.
_SELDON_PORT_ENV = "PREDICTIVE_UNIT_HTTP_SERVICE_PORT"
_KSERVE_MODE = "serving.kserve.io/deploymentMode"
#: KServe's words, old and new, for a plain Deployment instead of a Knative service.
_KSERVE_PLAIN = frozenset({"RawDeployment", "Standard"})


def inject(documents: Sequence[Mapping[str, Any]], options: InjectOptions) -> list[dict[str, Any]]:
    """The documents with the sidecar added where it is asked for; the input stays as it is. Raises InjectError."""
    result = [_copy(document) for document in documents]
    flat = list(_flatten(result))
    for document in flat:
        subject = _subject(document)
        if document.get("kind") in _TEMPLATED:
            template = document.get("spec", {}).get("template")
            if isinstance(template, dict):
                _inject_workload(document, template, options, subject, flat)
        elif document.get("kind") == "Pod":
            _inject_workload(document, document, options, subject, flat)
        elif document.get("kind") == "InferenceService":
            _inject_kserve(document, options, subject)
        elif document.get("kind") == "SeldonDeployment":
            _inject_seldon(document, options, subject)
    return result


def inject_yaml(text: str, options: InjectOptions) -> str:
    """:func:`inject` for a text of one or more YAML documents; raises InjectError, also when it is not YAML."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise InjectError("manifests", [f"are not YAML: {' '.join(str(error).split())}"]) from error
    for index, document in enumerate(documents):
        if not isinstance(document, dict):
            raise InjectError(f"document {index + 1}", [f"is {str(document)[:40]!r}, not a Kubernetes object"])
    dumped = yaml.dump_all(inject(documents, options), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return str(dumped)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _inject_workload(
    document: dict[str, Any],
    template: dict[str, Any],
    options: InjectOptions,
    subject: str,
    others: Sequence[dict[str, Any]],
) -> None:
    metadata = template.setdefault("metadata", {}) or {}
    template["metadata"] = metadata
    annotations = _annotations(document) | _annotations(template)
    if not wanted(annotations, options, subject):
        _drop_empty(template)
        return
    chosen = annotated(annotations, options, subject)
    spec = _mapping(template, "spec", subject)
    redirect = inject_pod(spec, chosen, _name(document), subject)
    grant_grace(spec, chosen, subject)
    _scraped(metadata, chosen)
    redirect_services(others, _namespace(document), metadata.get("labels") or {}, redirect)


def _inject_kserve(document: dict[str, Any], options: InjectOptions, subject: str) -> None:
    annotations = _annotations(document)
    if not wanted(annotations, options, subject):
        return
    chosen = annotated(annotations, options, subject)
    predictor = _mapping(_mapping(document, "spec", subject), "predictor", subject)
    metadata = document["metadata"]
    if predictor.get("model") is not None:
        # The serving runtime's container is added later, by KServe, and declares no port of its own.
        others = [each for each in predictor.get("containers") or [] if each.get("name") != inject_container.NAME]
        pod = {**predictor, "containers": others or [{"name": "kserve-container"}]}
        default = chosen.upstream_port or _KSERVE_DEFAULT_PORT
        redirect = inject_pod(pod, _with_port(chosen, default), _name(document), subject, native=False)
        pod["containers"] = [each for each in pod["containers"] if others or each.get("name") != "kserve-container"]
    else:
        pod = predictor
        redirect = inject_pod(pod, chosen, _name(document), subject, native=False)
    predictor.update(containers=pod["containers"], volumes=pod["volumes"])
    _only_port(predictor["containers"], redirect)
    if FIELD in predictor or annotations.get(_KSERVE_MODE) in _KSERVE_PLAIN:
        grant_grace(predictor, chosen, subject)
    _scraped(metadata, chosen)


def _inject_seldon(document: dict[str, Any], options: InjectOptions, subject: str) -> None:
    for index, predictor in enumerate(_mapping(document, "spec", subject).get("predictors") or []):
        annotations = _annotations(document) | dict(predictor.get("annotations") or {})
        where = f"{subject} spec.predictors[{index}]"
        if not wanted(annotations, options, where):
            continue
        chosen = annotated(annotations, options, where)
        specs = predictor.get("componentSpecs") or []
        if not specs:
            raise InjectError(
                where, ["componentSpecs is empty; the container of a prepackaged server is not known yet"]
            )
        variant = chosen if _VARIANT in annotations else _with_variant(chosen, predictor)
        for component in specs:
            spec = _mapping(component, "spec", where)
            _restore_seldon_port(spec)
            redirect = inject_pod(spec, variant, f"{_name(document)}-{predictor.get('name', index)}", where)
            _seldon_port(spec["containers"], redirect, chosen.listen_port)
            grant_grace(spec, chosen, where, SELDON_DEFAULT_S)


def _with_port(options: InjectOptions, port: int) -> InjectOptions:
    return replace(options, upstream_port=port)


def _with_variant(options: InjectOptions, predictor: Mapping[str, Any]) -> InjectOptions:
    return replace(options, variant=str(predictor["name"])) if predictor.get("name") else options


def _only_port(containers: list[dict[str, Any]], redirect: Redirect) -> None:
    # Knative sends requests to the one container with ports, and takes one port only.
    for container in containers:
        ports = container.get("ports") or []
        _probe_by_number(container, ports)
        kept = [port for port in ports if port.get("name") == redirect.port_name]
        container.pop("ports", None)
        if kept:
            container["ports"] = [{**kept[0], "name": "http1"}]


def _probe_by_number(container: dict[str, Any], ports: list[dict[str, Any]]) -> None:
    numbers = {port["name"]: port["containerPort"] for port in ports if "name" in port}
    for field in ("startupProbe", "readinessProbe", "livenessProbe"):
        action = container.get(field, {}).get("httpGet", {})
        if action.get("port") in numbers:
            action["port"] = numbers[action["port"]]


def _seldon_port(containers: list[dict[str, Any]], redirect: Redirect, listen_port: int) -> None:
    for container in containers:
        for port in container.get("ports") or []:
            if port.get("containerPort") == redirect.upstream_port:
                port.update(name="http", containerPort=listen_port)
                environment = container.setdefault("env", [])
                if all(variable.get("name") != _SELDON_PORT_ENV for variable in environment):
                    environment.append({"name": _SELDON_PORT_ENV, "value": str(redirect.upstream_port)})


def _restore_seldon_port(spec: dict[str, Any]) -> None:
    """Give the model its own port back, so that an earlier sidecar's is free to be taken again."""
    for sidecar in spec.get("initContainers") or []:
        if sidecar.get("name") != inject_container.NAME:
            continue
        listened, upstream = sidecar["ports"][0]["containerPort"], inject_container.upstream_port_of(sidecar)
        for port in [port for container in spec.get("containers") or [] for port in container.get("ports") or []]:
            if port.get("containerPort") == listened and upstream is not None:
                port["containerPort"] = upstream


def _scraped(metadata: dict[str, Any], options: InjectOptions) -> None:
    # Where the model's own metrics are scraped already, its annotations stay: Prometheus takes one address each.
    annotations = metadata.setdefault("annotations", {})
    if "prometheus.io/port" not in annotations or annotations.get(SCRAPED) == "true":
        annotations.update(
            {
                SCRAPED: "true",
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(options.admin_port),
                "prometheus.io/path": "/metrics",
            }
        )


def _copy(value: Any) -> Any:
    """A deep copy that also takes apart what YAML anchors share, so that a change stays in its place."""
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _flatten(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    result = []
    for document in documents:
        items = document.get("items")
        if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
            result.extend(_flatten([item for item in items if isinstance(item, dict)]))
        else:
            result.append(document)
    return result


def _annotations(part: Mapping[str, Any]) -> dict[str, Any]:
    return dict((part.get("metadata") or {}).get("annotations") or {})


def _name(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata") or {}
    return str(metadata.get("name") or metadata.get("generateName") or "model-server").rstrip("-")


def _namespace(document: Mapping[str, Any]) -> str:
    return str((document.get("metadata") or {}).get("namespace") or "default")


def _subject(document: Mapping[str, Any]) -> str:
    return f"{document.get('kind')} '{_name(document)}'"


def _mapping(part: dict[str, Any], field: str, subject: str) -> dict[str, Any]:
    value = part.get(field)
    if not isinstance(value, dict):
        raise InjectError(subject, [f"{field} is {value!r}, which is not a mapping"])
    return value


def _drop_empty(template: dict[str, Any]) -> None:
    if not template["metadata"]:
        del template["metadata"]
