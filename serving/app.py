"""The model server's HTTP side: Open Inference Protocol V2, the V1 predict path, health, metadata, index, metrics."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from driftline import __version__, names
from driftline.clock import Clock
from driftline.errors import DecodeError
from serving import inference, reasons
from serving.content import MAX_PLAIN_BYTES, plain_body
from serving.errors import ModelFailedError, ModelUnavailableError, UnknownModelError
from serving.inference import Answer
from serving.metrics import UNKNOWN, ServingMetrics
from serving.model_config import TensorSpec
from serving.reply import error_reply, json_reply
from serving.repository import Model, Repository

EXTENSIONS = ("binary_tensor_data", "model_repository")

#: Work on an unpacked body, given the model and the value of Inference-Header-Content-Length.
Answering = Callable[[Model, bytes, str | None], Answer]


def create_app(
    repository: Repository,
    clock: Clock,
    pool: Executor | None = None,
    max_body_bytes: int = MAX_PLAIN_BYTES,
) -> FastAPI:
    """The server over a loaded repository. ``pool``: where predictions run; None for the server's own thread."""
    app = FastAPI(title="driftline model server", version=__version__)
    metrics = ServingMetrics(repository, clock)
    server = _Server(repository, metrics, pool, max_body_bytes)
    _add_health(app, repository, metrics)
    _add_metadata(app, repository)
    _add_inference(app, server)
    return app


def _add_health(app: FastAPI, repository: Repository, metrics: ServingMetrics) -> None:
    @app.get("/v2/health/live")
    async def live() -> Response:
        return json_reply({"live": True})

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        """Ready when every model of the repository is loaded."""
        broken = [entry.name for entry in repository.entries() if not isinstance(entry, Model)]
        return json_reply({"ready": not broken}, 503 if broken else 200)

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def _add_metadata(app: FastAPI, repository: Repository) -> None:
    @app.get("/v2")
    async def server_metadata() -> Response:
        return json_reply({"name": "driftline", "version": __version__, "extensions": EXTENSIONS})

    @app.get("/v2/models/{name}")
    @app.get("/v2/models/{name}/versions/{version}")
    async def model_metadata(name: str, version: str | None = None) -> Response:
        return _about_model(repository, name, version, lambda model: _metadata(model, repository.versions(name)))

    @app.get("/v2/models/{name}/ready")
    @app.get("/v2/models/{name}/versions/{version}/ready")
    async def model_ready(name: str, version: str | None = None) -> Response:
        return _about_model(repository, name, version, lambda model: {"name": model.name, "ready": True})

    @app.post("/v2/repository/index")
    async def index() -> Response:
        return json_reply([_index_row(entry) for entry in repository.entries()])

    @app.get("/v1/models")
    async def v1_models() -> Response:
        return json_reply({"models": sorted({entry.name for entry in repository.entries()})})

    @app.get("/v1/models/{name}")
    async def v1_model(name: str) -> Response:
        return _about_model(repository, name, None, lambda model: {"name": model.name, "ready": True})


def _add_inference(app: FastAPI, server: "_Server") -> None:
    @app.post("/v2/models/{name}/infer")
    @app.post("/v2/models/{name}/versions/{version}/infer")
    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        return await server.answer(request, name, version, inference.infer_v2)

    @app.post("/v1/models/{name}:predict")
    async def predict(request: Request, name: str) -> Response:
        return await server.answer(request, name, None, lambda model, body, _header: inference.predict_v1(model, body))


class _Server:
    """Answers inference requests and counts them."""

    def __init__(
        self, repository: Repository, metrics: ServingMetrics, pool: Executor | None, max_body_bytes: int
    ) -> None:
        self._repository = repository
        self._metrics = metrics
        self._pool = pool
        self._max_body_bytes = max_body_bytes

    async def answer(self, request: Request, name: str, version: str | None, work: Answering) -> Response:
        begin_s = time.perf_counter()
        counted = UNKNOWN
        try:
            model = self._repository.model(name, version)
            counted = (model.name, model.version)
            body = await _read_body(request, self._max_body_bytes)
            response = _reply(model, await self._run(work, model, body, request.headers))
        except _CLIENT_SEES as error:
            response = error_reply(_status(error), error)
        self._metrics.observe(counted, response.status_code, time.perf_counter() - begin_s)
        return response

    async def _run(self, work: Answering, model: Model, body: bytes, headers: Mapping[str, str]) -> Answer:
        plain = plain_body(body, headers.get("content-encoding"), self._max_body_bytes)
        header = headers.get(names.HEADER_BINARY_LENGTH)
        if self._pool is None:
            return work(model, plain, header)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, model, plain, header)


_CLIENT_SEES = (UnknownModelError, ModelUnavailableError, DecodeError, ModelFailedError)


def _status(error: Exception) -> int:
    if isinstance(error, UnknownModelError):
        return 404
    if isinstance(error, ModelUnavailableError):
        return 503
    if isinstance(error, DecodeError):
        return 413 if error.reason == reasons.TOO_LARGE else 400
    return 500


def _about_model(
    repository: Repository, name: str, version: str | None, say: Callable[[Model], dict[str, Any]]
) -> Response:
    try:
        return json_reply(say(repository.model(name, version)))
    except (UnknownModelError, ModelUnavailableError) as error:
        return error_reply(_status(error), error)


async def _read_body(request: Request, limit_bytes: int) -> bytes:
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise DecodeError(reasons.TOO_LARGE, f"the body is longer than {limit_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _reply(model: Model, answer: Answer) -> Response:
    headers = {names.HEADER_VARIANT: model.config.variant}
    if answer.json_length is None:
        return Response(answer.body, headers=headers, media_type="application/json")
    headers[names.HEADER_BINARY_LENGTH] = str(answer.json_length)
    return Response(answer.body, headers=headers, media_type="application/octet-stream")


def _metadata(model: Model, versions: list[str]) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": versions,
        "platform": model.config.platform,
        "inputs": [_tensor(spec) for spec in model.config.inputs],
        "outputs": [_tensor(spec) for spec in model.config.outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _index_row(entry: Any) -> dict[str, str]:
    if isinstance(entry, Model):
        return {"name": entry.name, "version": entry.version, "state": "READY", "reason": ""}
    return {"name": entry.name, "version": entry.version, "state": "UNAVAILABLE", "reason": entry.reason}
