"""Runs the pages under uvicorn until SIGTERM or SIGINT, letting requests under way finish."""

import signal
from types import FrameType

import uvicorn
from fastapi import FastAPI

from dashboards.settings import WebSettings


def http_config(settings: WebSettings, app: FastAPI) -> uvicorn.Config:
    """How pages are served.

    By h11: httptools loses the body of a request that asks for HTTP/2 (``Upgrade: h2c``), as all of Java's client do.
    """
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        http="h11",
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )


def run(settings: WebSettings, app: FastAPI) -> int:
    """Serve ``app``; returns 0 after a signal, 1 when the address could not be had."""
    server = uvicorn.Server(http_config(settings, app))

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # After its graceful end uvicorn raises the signal again for whoever listened before: that is us, and all is done.
    before = [(number, signal.signal(number, stop)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        server.run()
    except SystemExit as left:  # uvicorn leaves this way when it cannot bind
        return 1 if left.code else 0
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    return 0 if server.started else 1
