"""Events as their senders put them on the wire, written by hand from what is known of each."""

from typing import Any

REQUEST = b'{"instances": [[1.0, 2.0]]}'
ANSWER = b'{"predictions": [1]}'

#: KServe's agent: Go writes the JSON of ce-metadata as it is; the content type is the request's on both events.
KSERVE = {
    "ce-specversion": "1.0",
    "ce-id": "4c1b",
    "ce-source": "http://localhost:9081/",
    "ce-time": "2026-11-21T10:00:00.123456789Z",
    "ce-recordedtime": "2026-11-21T10:00:01Z",
    "ce-inferenceservicename": "flights",
    "ce-namespace": "default",
    "ce-component": "predictor",
    "ce-endpoint": "",
    "ce-metadata": '{"X-Tenant":["a","b"]}',
    "content-type": "application/x-www-form-urlencoded",
    "user-agent": "Go-http-client/1.1",
}


def kserve(kind: str, **changes: Any) -> list[tuple[str, str]]:
    """The headers of one event; ``None`` leaves one out, ``_`` stands for ``-``."""
    fields = {**KSERVE, "ce-type": f"org.kubeflow.serving.inference.{kind}"}
    if kind == "response":
        fields["ce-time"] = "2026-11-21T10:00:00.223456789Z"
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    return [(name, value) for name, value in fields.items() if value is not None]


def seldon(kind: str, prefix: str = "io.seldon.serving", number: int = 1) -> list[tuple[str, str]]:
    """Seldon v1's executor: fresh ids, the join key in ce-requestid, the predictor as the endpoint."""
    return [
        ("ce-specversion", "1.0"),
        ("ce-id", f"fresh-{kind}-{number}"),
        ("ce-type", f"{prefix}.{kind}"),
        ("ce-source", "http://:8000/"),
        ("ce-time", "2026-11-21T10:00:00Z"),
        ("ce-requestid", "puid-1"),
        ("ce-modelid", "classifier"),
        ("ce-inferenceservicename", "flights"),
        ("ce-namespace", "default"),
        ("ce-endpoint", "canary"),
        ("ce-protocol", "tensorflow"),
        ("content-type", "application/json"),
    ]


MODELMESH_REQUEST = (
    b'{"id":"17","modelid":"flights__isvc-3642375d03","vModelId":"flights","data":"CgdmbGlnaHRz","kind":"request",'
    b'"status":null,"metadata":{"x-tenant":"a"}}'
)
MODELMESH_ANSWER = (
    b'{"id":"17","modelid":"flights__isvc-3642375d03","vModelId":"","data":"CgdmbGlnaHRz","kind":"response",'
    b'"status":"OK","metadata":{}}'
)
