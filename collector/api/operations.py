"""Health and metrics over HTTP."""

from functools import partial
from typing import Protocol

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, Field

from collector.operating.asking import Asking
from collector.operating.health import HealthReport
from collector.store.store import Store
from driftline import access
from driftline.errors import UnavailableError
from driftline.guard import needs

_THREADS = 4


class HealthProbe(Protocol):
    """Says how the consumer is."""

    def report(self) -> HealthReport:
        """How it is now."""
        ...


class HealthAnswer(BaseModel):
    """How the consumer is."""

    state: str = Field(description="working, idle, waiting (for a part that is away), stuck or stopped.")
    detail: str = Field(description="What it does, or what is in its way.")
    waiting_records: int = Field(description="Records read and not yet committed.")
    idle_s: float = Field(description="Seconds since the loop last got to its end.")


class ReadyAnswer(BaseModel):
    """Whether labels can be taken."""

    ready: bool
    store: str = Field(description="Whether the store answers.")


def add_operations(app: FastAPI, store: Store, registry: CollectorRegistry, health: HealthProbe) -> None:
    """``/healthz``, ``/readyz`` and ``/metrics``, which answer also while the database holds whoever asks it."""
    # Threads of their own: those of the API may all be waiting for the database.
    apart, asking = CapacityLimiter(_THREADS), Asking()

    @app.get(
        "/healthz",
        summary="Does the consumer work?",
        tags=["operations"],
        response_model=HealthAnswer,
        responses={503: {"model": HealthAnswer, "description": "Stuck or stopped: to be started anew."}},
        openapi_extra=needs(access.OPERATIONS_READ),
    )
    async def healthz() -> Response:
        """200 while batches move on, nothing is there to read, or a part is away that a new start would not bring."""
        # Not in a worker thread: a database that blocks them all must not make this one silent, too.
        report = health.report()
        answer = HealthAnswer(
            state=report.state, detail=report.detail, waiting_records=report.waiting_records, idle_s=report.idle_s
        )
        return JSONResponse(answer.model_dump(), 200 if report.healthy else 503)

    @app.get(
        "/readyz",
        summary="Can labels be taken?",
        tags=["operations"],
        response_model=ReadyAnswer,
        responses={503: {"model": ReadyAnswer, "description": "The store does not answer."}},
        openapi_extra=needs(access.OPERATIONS_READ),
    )
    async def readyz() -> Response:
        """200 when the store answers."""
        ready = await run_sync(partial(_answers, store, asking), limiter=apart)
        answer = ReadyAnswer(ready=ready, store="answers" if ready else "does not answer")
        return JSONResponse(answer.model_dump(), 200 if ready else 503)

    @app.get(
        "/metrics",
        summary="Metrics for Prometheus",
        tags=["operations"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        openapi_extra=needs(access.OPERATIONS_READ),
    )
    async def metrics() -> Response:
        """Text format of Prometheus."""
        text = await run_sync(generate_latest, registry, limiter=apart)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _answers(store: Store, asking: Asking) -> bool:
    try:
        return asking.ask(store.ready)
    except UnavailableError:
        return False
