"""Points Services of the same input at the sidecar."""

from collections.abc import Mapping, Sequence
from typing import Any

from logger_sidecar.inject.pod import Redirect


def redirect_services(
    documents: Sequence[dict[str, Any]], namespace: str, labels: Mapping[str, Any], redirect: Redirect
) -> None:
    """Change, in place, every Service that selects pods with ``labels`` and targets the model server's port."""
    for document in documents:
        if document.get("kind") == "Service" and _selects(document, namespace, labels):
            for port in document["spec"].get("ports") or []:
                # A port without a target goes to the port of its own number.
                target = str(port.get("targetPort", port.get("port")))
                if target == str(redirect.upstream_port):
                    port["targetPort"] = redirect.port_name
                elif redirect.grpc_port is not None and target == str(redirect.grpc_port):
                    port["targetPort"] = redirect.grpc_name


def _selects(service: Mapping[str, Any], namespace: str, labels: Mapping[str, Any]) -> bool:
    metadata = service.get("metadata") or {}
    selector = (service.get("spec") or {}).get("selector") or {}
    same_namespace = (metadata.get("namespace") or "default") == namespace
    return bool(selector) and same_namespace and all(labels.get(key) == value for key, value in selector.items())
