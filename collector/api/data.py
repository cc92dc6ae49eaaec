"""What is stored of a request or a person, over HTTP: erasing it, and who had what erased."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, model_validator

from collector.api.problems import described
from collector.keeping.erasure import Eraser, Selector
from driftline import access
from driftline.guard import grant_of, needs
from driftline.monitors import Monitor


class EraseBody(BaseModel):
    """What is to be erased; in the body, because addresses end in logs."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="The model's name.", min_length=1)
    namespace: str = Field("default", description="The model's namespace.", min_length=1)
    request_id: str | None = Field(None, description="Every row of this request.", min_length=1)
    subject: str | None = Field(
        None, description="Every row about this subject, as the monitor's `subject` names it.", min_length=1
    )

    @model_validator(mode="after")
    def _one_selector(self) -> "EraseBody":
        if (self.request_id is None) == (self.subject is None):
            raise ValueError("give one of request_id and subject")
        return self

    def selector(self) -> Selector:
        """The same for the eraser."""
        if self.request_id is not None:
            return Selector(self.namespace, self.model, "request_id", self.request_id)
        return Selector(self.namespace, self.model, "subject", self.subject or "")


class EraseAnswer(BaseModel):
    """What was erased. Counts of windows stay: they are of nobody in particular."""

    audit_id: int = Field(description="Number of the entry in the audit.")
    removed: dict[str, int] = Field(examples=[{"predictions": 3, "columns": 3, "labels": 2, "payload_rows": 3}])
    waiting_uploads: int = Field(
        description="Uploaded files of labels that wait. Rows of what was erased are left out when they are joined, "
        "and then the files are deleted."
    )
    notes: list[str] = Field(description="What could not be found this way, if anything.")


class ErasureAnswer(BaseModel):
    """An entry of the audit."""

    id: int
    at_s: float
    actor: str
    namespace: str
    model: str
    selector: Literal["request_id", "subject"]
    digest: str = Field(description="Of what was selected: the request id's SHA-256, or the subject's keyed hash.")
    removed: dict[str, int]


def add_data_routes(app: FastAPI, eraser: Eraser, monitors: Mapping[str, Monitor]) -> None:
    """``/v1/data``."""

    @app.delete(
        "/v1/data",
        summary="Erase what is stored of a request or a subject",
        tags=["data"],
        responses={
            400: described("The body is not JSON."),
            404: described("No monitor describes this model, and nothing is stored of it."),
            503: described("The store or a payload file is away; nothing was erased."),
        },
        openapi_extra=needs(access.DATA_ERASE),
    )
    async def erase(request: Request, body: EraseBody) -> EraseAnswer:
        """Rows, labels, columns, keys, payload files, dead letters and waiting halves; audited for good.

        What arrives of it later is not kept.
        """
        grant = grant_of(request)
        name = f"{body.namespace}/{body.model}"
        grant.require_model(name)
        if name not in monitors and not await run_in_threadpool(eraser.knows, body.namespace, body.model):
            raise HTTPException(404, f"model '{name}': no monitor describes it, and nothing is stored of it")
        erased = await run_in_threadpool(eraser.erase, body.selector(), grant.name)
        return EraseAnswer(
            audit_id=erased.audit_id,
            removed=dict(erased.removed),
            waiting_uploads=erased.waiting_uploads,
            notes=_notes(body, monitors.get(name)),
        )

    @app.get(
        "/v1/data/erasures",
        summary="Who had what erased, newest first",
        tags=["data"],
        openapi_extra=needs(access.DATA_READ),
    )
    def erasures(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[ErasureAnswer]:
        """The audit, of the models that the token is for."""
        grant = grant_of(request)
        found = eraser.audited(limit)
        return [_entry(each) for each in found if grant.allows_model(f"{each['namespace']}/{each['model']}")]


def _notes(body: EraseBody, monitor: Monitor | None) -> list[str]:
    if body.subject is None or (monitor is not None and monitor.subject is not None):
        return []
    which = "no monitor describes it" if monitor is None else "its monitor names no subject"
    return [f"model '{body.namespace}/{body.model}': {which}, so that its new rows are found by request id only"]


def _entry(entry: dict[str, Any]) -> ErasureAnswer:
    removed = msgspec.json.decode(entry["removed"], type=dict[str, int])
    return ErasureAnswer(**{name: value for name, value in entry.items() if name != "action"} | {"removed": removed})
