"""Seldon's feedback over HTTP: truth and rewards as labels, answered as Seldon's clients expect."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from collector.api.answers import FEEDBACK_ANSWERS, FEEDBACK_BODY
from collector.api.labels import bounded_body, submit_for
from collector.labels.desk import LabelDesk, LabelReceipt
from collector.labels.effects import FORBIDDEN
from collector.labels.from_lines import Submit
from collector.labels.from_seldon import read_feedback
from collector.settings import CollectorSettings
from driftline.access import LABELS_WRITE
from driftline.clock import Clock
from driftline.errors import EventError
from driftline.events import Label
from driftline.guard import needs
from driftline.monitors import Monitor


def add_feedback_routes(
    app: FastAPI, desk: LabelDesk, monitors: Mapping[str, Monitor], clock: Clock, settings: CollectorSettings
) -> None:
    """``POST /api/v1.0/feedback``, alone and below ``/seldon/NAMESPACE/DEPLOYMENT``."""
    feedback = _Feedback(monitors, clock)

    @app.post(
        "/api/v1.0/feedback",
        summary="Seldon's feedback",
        tags=["labels"],
        responses=FEEDBACK_ANSWERS,
        openapi_extra=needs(LABELS_WRITE, FEEDBACK_BODY),
    )
    async def post_feedback(
        request: Request,
        model: Annotated[str, Query(description="The model, where there are several monitors.")] = "",
        namespace: Annotated[str, Query(description="Its namespace.")] = "default",
        seldon_puid: Annotated[str, Header(description="The id that the prediction was answered with.")] = "",
    ) -> Response:
        """Truth or reward for a prediction of Seldon's protocol; the answer is a message of that protocol."""
        body = await bounded_body(request, settings.maximum_request_bytes)
        return await run_in_threadpool(feedback.take, body, namespace, model, seldon_puid, submit_for(request, desk))

    @app.post(
        "/seldon/{namespace}/{deployment}/api/v1.0/feedback",
        summary="Seldon's feedback, by its address",
        tags=["labels"],
        responses=FEEDBACK_ANSWERS,
        openapi_extra=needs(LABELS_WRITE, FEEDBACK_BODY),
    )
    async def post_seldon_feedback(
        request: Request, namespace: str, deployment: str, seldon_puid: Annotated[str, Header()] = ""
    ) -> Response:
        """The same at the address of a deployment, which is the model's name."""
        body = await bounded_body(request, settings.maximum_request_bytes)
        return await run_in_threadpool(
            feedback.take, body, namespace, deployment, seldon_puid, submit_for(request, desk)
        )


class _Feedback:
    """Seldon's feedback, answered as Seldon's clients expect."""

    def __init__(self, monitors: Mapping[str, Monitor], clock: Clock) -> None:
        self._monitors = monitors
        self._clock = clock

    def take(self, body: bytes, namespace: str, model: str, puid: str, submit: Submit) -> JSONResponse:
        if not model:
            if len(self._monitors) != 1:
                return _failure("model is missing: name it, as ?model=NAME&namespace=NAMESPACE", puid)
            (monitor,) = self._monitors.values()
            namespace, model = monitor.namespace, monitor.model
        try:
            labels = read_feedback(body, namespace, model, puid, self._clock())
        except EventError as error:
            return _failure(str(error), puid)
        return _feedback_answer(labels, submit(labels, 0), puid)


def _feedback_answer(labels: Sequence[Label], receipt: LabelReceipt, puid: str) -> JSONResponse:
    reasons = [f"row {labels[fault.index].row}: {reason}" for fault in receipt.faults for reason in fault.faults]
    if len(receipt.faults) == len(labels):
        return _failure("; ".join(reasons), puid, 403 if receipt.outcomes.keys() == {FORBIDDEN} else 400)
    tags = {"outcomes": receipt.outcomes, "faults": reasons}
    return JSONResponse({"status": {"code": 200, "status": "SUCCESS"}, "meta": {"puid": puid, "tags": tags}})


def _failure(info: str, puid: str, code: int = 400) -> JSONResponse:
    status = {"code": code, "info": info, "status": "FAILURE"}
    return JSONResponse({"status": status, "meta": {"puid": puid}}, code)
