"""CloudEvents over HTTP: read, kept in the inbox, answered. Nothing of a body is decoded here.

KServe's agent sends every event once and never again, so that it is answered as soon as the event is safe, and with a
2xx only then. What is refused says why, with the field and its value, and is counted by reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter

from collector.api.problems import described, problem
from collector.sources.cloud_event import CloudEvent
from collector.sources.http_modes import read_modelmesh, read_request
from collector.sources.inbox import Mailroom
from collector.sources.interpreting import Interpreter
from driftline import names
from driftline.access import EVENTS_WRITE, Grant
from driftline.clock import Clock
from driftline.errors import EventError
from driftline.events import InferenceEvent, Label, new_event_id
from driftline.guard import grant_of, needs
from driftline.halves import Half
from driftline.records import Content, Ignored, Several

HTTP = "http"
MODELMESH = "modelmesh"
TOO_LARGE = "too_large"
INVALID = "invalid"
_RETRY_AFTER_S = "5"

_EXAMPLE = {
    "specversion": "1.0",
    "type": "org.kubeflow.serving.inference.request",
    "source": "http://localhost:9081/",
    "id": "0197-a1",
    "inferenceservicename": "flights",
    "namespace": "default",
    "data": {"instances": [[1.0, 2.0]]},
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    202: {"description": "Kept, or of a type that is ignored."},
    400: described("No CloudEvent, or one with a wrong attribute; the answer names field and value."),
    413: described("More bytes than the collector takes."),
    503: described("The inbox is full or away; nothing was kept. Try again after Retry-After seconds."),
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/cloudevents+json": {"schema": {"type": "object"}, "example": _EXAMPLE},
            "application/cloudevents-batch+json": {"schema": {"type": "array"}, "example": [_EXAMPLE]},
            "*/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_PAYLOAD = {"id": "1", "modelid": "flights__isvc-0a", "vModelId": "flights", "kind": "request", "data": "AAAA"}
_MODELMESH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": _PAYLOAD}},
    }
}


class Receiver:
    """Takes events over HTTP into the inbox."""

    def __init__(
        self,
        mailroom: Mailroom,
        interpreter: Interpreter,
        clock: Clock,
        registry: CollectorRegistry,
        maximum_bytes: int,
    ) -> None:
        self._mailroom = mailroom
        self._interpreter = interpreter
        self._clock = clock
        self._maximum_bytes = maximum_bytes
        metric = names.SOURCE_EVENTS
        self._events = Counter(metric.name, metric.help, metric.labels, registry=registry)

    def add_routes(self, app: FastAPI) -> None:
        """Add the endpoints: ``/`` and ``/v1/events`` for CloudEvents, ``/consumer/kserve/v2`` for ModelMesh."""

        async def post_events(request: Request) -> Response:
            """One event in binary or structured mode, or a batch; `namespace` and `model` may stand in the query."""
            return await self._take(request, HTTP, self._read_events, 202)

        async def post_payload(request: Request) -> Response:
            """What ModelMesh's remote payload processor posts."""
            return await self._take(request, MODELMESH, self._read_payload, 200)

        async def post_payload_of(request: Request, namespace: str) -> Response:  # noqa: ARG001 - described, read below
            """The namespace stands in the path because ModelMesh takes a query for the id of the one model to log."""
            return await self._take(request, MODELMESH, self._read_payload, 200)

        shown: dict[str, Any] = {
            "methods": ["POST"],
            "tags": ["events"],
            "responses": _ANSWERS,
            "status_code": 202,
            "response_class": Response,  # the answer says all in its status
        }
        app.add_api_route(
            "/v1/events", post_events, summary="Send CloudEvents", openapi_extra=needs(EVENTS_WRITE, _BODY), **shown
        )
        app.add_api_route(
            "/",
            post_events,
            summary="The same, for loggers",
            include_in_schema=False,
            openapi_extra=needs(EVENTS_WRITE),
            **shown,
        )
        payload: dict[str, Any] = {**shown, "status_code": 200, "openapi_extra": needs(EVENTS_WRITE, _MODELMESH_BODY)}
        app.add_api_route("/consumer/kserve/v2", post_payload, summary="Send a payload, as ModelMesh does", **payload)
        app.add_api_route(
            "/consumer/kserve/v2/{namespace}", post_payload_of, summary="The same, of one namespace", **payload
        )

    async def _take(
        self, request: Request, source: str, read: Callable[[Request, bytes], Sequence[CloudEvent]], status: int
    ) -> Response:
        received = bytearray()
        async for chunk in request.stream():
            received += chunk
            if len(received) > self._maximum_bytes:
                return self._refuse(source, 413, TOO_LARGE, [f"the body has more than {self._maximum_bytes} bytes"])
        try:
            events = read(request, bytes(received))
            contents = [self._interpreter.read(event) for event in events]
        except (EventError, UnicodeError) as error:
            return self._refuse(source, 400, INVALID, getattr(error, "faults", (str(error),)))
        wanted = [event for event, content in zip(events, contents, strict=True) if not isinstance(content, Ignored)]
        _require_models(grant_of(request), contents)
        if wanted and (reason := await self._mailroom.put(wanted)):
            answer = self._refuse(source, 503, reason, [f"not kept: {reason}"], len(wanted))
            answer.headers["Retry-After"] = _RETRY_AFTER_S
            return answer
        self._events.labels(source, names.OUTCOME_ACCEPTED, "").inc(len(wanted))
        self._events.labels(source, names.OUTCOME_IGNORED, "").inc(len(events) - len(wanted))
        return Response(status_code=status)

    def _read_events(self, request: Request, body: bytes) -> Sequence[CloudEvent]:
        headers = list(request.headers.items())
        return read_request(headers, _query(request), body, self._now_ns(), self._maximum_bytes)

    def _read_payload(self, request: Request, body: bytes) -> Sequence[CloudEvent]:
        now_ns = self._now_ns()
        sender = request.client.host if request.client is not None else ""
        told = {**_query(request), **request.path_params}
        return [read_modelmesh(body, told, now_ns, event_id=new_event_id(now_ns), sender=sender)]

    def _now_ns(self) -> int:
        return round(self._clock() * 1e9)

    def _refuse(self, source: str, status: int, reason: str, faults: Sequence[str], number: int = 1) -> JSONResponse:
        self._events.labels(source, names.OUTCOME_REFUSED, reason).inc(number)
        return problem(status, "; ".join(faults), reason=reason, faults=list(faults))


def _require_models(grant: Grant, contents: Iterable[Content]) -> None:
    """Raise AccessError unless the token is for every model; a half may not know its model before its other half."""
    if grant.unlimited:
        return
    for content in contents:
        for one in content.contents if isinstance(content, Several) else (content,):
            if isinstance(one, InferenceEvent | Half | Label):
                grant.require_model(f"{one.namespace}/{one.model}")


def _query(request: Request) -> Mapping[str, str]:
    return dict(request.query_params)
