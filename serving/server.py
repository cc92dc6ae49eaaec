"""Runs the model server: loads the repository, listens, ends in order on SIGTERM or Ctrl-C."""

import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import uvicorn

from driftline.clock import Clock
from serving.app import create_app
from serving.repository import load_repository
from serving.settings import ServingSettings

_log = logging.getLogger(__name__)


def run(settings: ServingSettings, clock: Clock) -> int:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first. Returns the exit status."""
    repository = load_repository(settings.models_dir, settings.device)
    if not repository.entries():
        _log.warning(
            "there is no NAME/VERSION/model.json below %s; every request will be answered 404", settings.models_dir
        )
    pool = ThreadPoolExecutor(settings.threads, "predict") if settings.threads else None
    app = create_app(repository, clock, pool, settings.max_body_bytes)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        # httptools loses the body of a request that asks for HTTP/2 (Upgrade: h2c), as all of Java's client do.
        http="h11",
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
    )
    server = uvicorn.Server(config)
    # uvicorn ends in order and then raises the signal again, for the handler that was there before it.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, _ended)
    try:
        server.run()
    finally:
        if pool is not None:
            pool.shutdown()
    return 0 if server.started else 1


def _ended(number: int, _frame: FrameType | None) -> None:
    _log.info("ended by signal %d", number)
