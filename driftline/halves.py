"""Half an inference: a request or an answer that a foreign logger sent as an event of its own.

Loggers that are not ours (KServe's agent, Seldon's executor, ModelMesh) send a request when it comes and its answer
when it goes, as two events that share an id. The collector pairs them to one ``InferenceEvent``; until the other half
is there, a half waits in the store.
"""

import hashlib
from typing import Literal

import msgspec

from driftline.events import InferenceEvent, Payload

Kind = Literal["request", "response"]


class Half(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One side of an inference, as it was logged.

    ``id``, ``source``, ``type``: those of the event; together they should be unique, and alone none of them is.
    ``stamp``: the time as the event says it, empty where it says none: what has the same ids and another time is no
    copy, but one of those ids used again.
    ``request_id``: what both halves share. ``scope``: what else tells inferences with the same request id apart (the
    component, the node of a graph). ``model`` may be empty where only the answer says it, as ``answered_model``.
    ``time_ns``: when the request came or the answer was complete, nanoseconds since the epoch.
    ``status_code``, ``grpc_status``: of the answer; loggers that only log successes say nothing, which is 200.
    """

    kind: Kind
    id: str
    source: str
    type: str
    request_id: str
    model: str
    time_ns: int
    payload: Payload
    namespace: str = "default"
    variant: str = "stable"
    model_version: str = ""
    answered_model: str = ""
    stamp: str = ""
    scope: str = ""
    protocol: str = ""
    status_code: int = 200
    grpc_status: int | None = None
    traceparent: str | None = None
    metadata: dict[str, str] = {}

    @property
    def identity(self) -> str:
        """32 hexadecimal digits that only a copy of the same event shares."""
        return _digest(self.kind, self.source, self.id, self.type, self.stamp)

    @property
    def pair(self) -> str:
        """32 hexadecimal digits that the other half shares."""
        return _digest(self.namespace, self.model, self.variant, self.scope, self.request_id)

    @property
    def size_bytes(self) -> int:
        """About what it takes to keep it."""
        return 512 + len(self.payload.body)


def join_halves(request: Half, response: Half) -> InferenceEvent:
    """The inference that both halves are of; its id follows from theirs, so that a replay makes the same one."""
    duration_ns = max(0, response.time_ns - request.time_ns)
    return InferenceEvent(
        id=_event_id(request.identity, response.identity),
        source=request.source,
        model=request.model or response.answered_model,
        model_version=request.model_version or response.model_version,
        namespace=request.namespace,
        variant=request.variant,
        time_ns=request.time_ns,
        request_id=request.request_id,
        protocol=request.protocol or response.protocol,
        status_code=response.status_code,
        grpc_status=response.grpc_status,
        duration_ms=duration_ns / 1e6,
        traceparent=request.traceparent or response.traceparent,
        metadata={**response.metadata, **request.metadata},
        request=request.payload,
        response=response.payload,
    )


def lone_request(request: Half) -> InferenceEvent:
    """The inference of a request whose answer was not logged."""
    return _lone(request, request.payload, Payload())


def lone_half(half: Half) -> InferenceEvent:
    """An event that carries one half, whichever it is: for the dead letters."""
    if half.kind == "request":
        return lone_request(half)
    return _lone(half, Payload(), half.payload)


def _lone(half: Half, request: Payload, response: Payload) -> InferenceEvent:
    return InferenceEvent(
        id=_event_id(half.identity, ""),
        source=half.source,
        model=half.model,
        model_version=half.model_version,
        namespace=half.namespace,
        variant=half.variant,
        time_ns=half.time_ns,
        request_id=half.request_id,
        protocol=half.protocol,
        status_code=0,
        traceparent=half.traceparent,
        metadata=half.metadata,
        request=request,
        response=response,
        answer_unknown=True,
    )


def _event_id(first: str, second: str) -> str:
    """A UUID version 8 (RFC 9562): what it is made of is our own business, and it is always the same."""
    value = int(_digest(first, second), 16)
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _digest(*parts: str) -> str:
    # With their lengths, so that no two lists of parts read the same.
    spelt = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
