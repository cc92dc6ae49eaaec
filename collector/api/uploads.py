"""Files of labels over HTTP: streamed to disk within bounds, joined in the background, told how far they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import Message, Receive

from collector.api.answers import UPLOAD_BODY, UploadAnswer, upload_answer
from collector.api.form_file import FormFile
from collector.api.problems import RETRY_AFTER_S, described, problem
from collector.labels.from_json import UploadError
from collector.labels.uploads import TooManyUploadsError, UploadDesk
from collector.store.uploads import ColumnNames
from driftline.access import LABELS_WRITE, Grant
from driftline.errors import UnavailableError
from driftline.guard import grant_of, needs

_ANSWERS: dict[int | str, dict[str, Any]] = {
    202: {"model": UploadAnswer, "description": "The file is kept and will be joined; Location says where to look."},
    400: described("The file holds no labels: no CSV in UTF-8, no Parquet, or columns are missing."),
    413: described("The file is larger than the collector takes."),
    429: described("As many files wait as may; try again after Retry-After seconds."),
}
_ABSENT: Mapping[int | str, dict[str, Any]] = {404: described("There is no such upload.")}


class UploadColumns(BaseModel):
    """Which column of the file holds what."""

    request_id_column: str = Field("request_id", description="Column with the request id.")
    key_column: str = Field("key", description="Column with the business key, in place of request ids.")
    label_column: str = Field("value", description="Column with the true value.")
    row_column: str = Field("row", description="Column with the row's index within its request.")
    time_column: str = Field("observed_at_s", description="Column with the time: seconds, or ISO 8601 (UTC if bare).")
    model_column: str = Field("model", description="Column with the model's name.")
    namespace_column: str = Field("namespace", description="Column with its namespace.")
    model: str = Field("", description="The model of all rows, where no column says it.")
    namespace: str = Field("default", description="The namespace of all rows, where no column says it.")

    def names(self, grant: Grant) -> ColumnNames:
        """The same for the reader of files, with the models that the sender may label."""
        return ColumnNames(
            request_id=self.request_id_column,
            key=self.key_column,
            label=self.label_column,
            row=self.row_column,
            time=self.time_column,
            model=self.model_column,
            namespace=self.namespace_column,
            of_model=self.model,
            of_namespace=self.namespace,
            allowed=grant.models,
        )


def add_upload_routes(app: FastAPI, uploads: UploadDesk, maximum_bytes: int) -> None:
    """``POST /v1/labels/upload`` and ``/v1/uploads``."""

    @app.post(
        "/v1/labels/upload",
        summary="Upload a file of labels",
        tags=["labels"],
        status_code=202,
        responses=_ANSWERS,
        openapi_extra=needs(LABELS_WRITE, UPLOAD_BODY),
    )
    async def upload_labels(request: Request, columns: Annotated[UploadColumns, Query()]) -> Response:
        """CSV or Parquet, as a form's file or as the body itself.

        Columns: request_id or key, value, and, where wanted, model, namespace, row, observed_at_s; the parameters name
        them where the file calls them otherwise. An empty value withdraws a label. Rows without a time count as
        observed when the file came.
        """
        try:
            upload_id, path = await run_in_threadpool(uploads.new_path)
            name = await _keep(request, path, maximum_bytes)
            upload = await run_in_threadpool(uploads.receive, upload_id, name, columns.names(grant_of(request)))
        except TooManyUploadsError as error:
            return problem(429, str(error), {"Retry-After": RETRY_AFTER_S})
        except UploadError as error:
            raise HTTPException(400, str(error)) from error
        answer = upload_answer(upload).model_dump()
        return JSONResponse(answer, 202, {"Location": f"/v1/uploads/{upload.id}"})

    _add_reading(app, uploads)


def _add_reading(app: FastAPI, uploads: UploadDesk) -> None:
    @app.get("/v1/uploads", summary="Newest uploads", tags=["labels"], openapi_extra=needs(LABELS_WRITE))
    def newest(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> list[UploadAnswer]:
        """The newest first."""
        grant_of(request).require_unlimited("files hold labels of any model")
        return [upload_answer(upload) for upload in uploads.newest(limit)]

    @app.get(
        "/v1/uploads/{upload_id}",
        summary="How far an upload is",
        tags=["labels"],
        responses={**_ABSENT},
        openapi_extra=needs(LABELS_WRITE),
    )
    def one(upload_id: str) -> UploadAnswer:
        """Rows read, joined, pending and refused, with the first faults."""
        upload = uploads.find(upload_id)
        if upload is None:
            raise HTTPException(404, f"there is no upload '{upload_id}'")
        return upload_answer(upload)

    @app.delete(
        "/v1/uploads/{upload_id}",
        summary="Join no more of an upload",
        tags=["labels"],
        responses={**_ABSENT},
        openapi_extra=needs(LABELS_WRITE),
    )
    def cancel(upload_id: str) -> UploadAnswer:
        """What is joined stays; corrections and withdrawals take it back."""
        upload = uploads.cancel(upload_id)
        if upload is None:
            raise HTTPException(404, f"there is no upload '{upload_id}'")
        return upload_answer(upload)


async def _keep(request: Request, path: Path, limit: int) -> str:
    """Write the file to ``path``; answers its name. What was written of a refused one is dropped."""
    bounded = Request(request.scope, _Bounded(request.receive, limit))
    is_form = request.headers.get("content-type", "").startswith("multipart/form-data")
    try:
        with path.open("xb") as file:
            return await _keep_form(bounded, file) if is_form else await _keep_body(bounded, file)
    except OSError as error:
        _drop(path)
        raise UnavailableError("upload directory", str(error)) from error
    except BaseException:
        _drop(path)
        raise


def _drop(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _keep_body(request: Request, file: BinaryIO) -> str:
    async for chunk in request.stream():
        await run_in_threadpool(file.write, chunk)
    return request.headers.get("x-filename", "")


async def _keep_form(request: Request, file: BinaryIO) -> str:
    form = FormFile(request.headers["content-type"], file)
    async for chunk in request.stream():
        await run_in_threadpool(form.write, chunk)
    form.close()
    return form.name or ""


class _Bounded:
    """Passes a request's body on until it is too long."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise HTTPException(413, f"the file has more than {self._limit} bytes; send it in parts")
        return message
