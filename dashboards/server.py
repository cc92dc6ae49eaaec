"""Runs the pages under uvicorn until SIGTERM or SIGINT, letting requests under way finish."""

import uvicorn
from fastapi import FastAPI

from dashboards.settings import WebSettings


def run(settings: WebSettings, app: FastAPI) -> int:
    """Serve ``app``; returns 0 after a signal, 1 when the address could not be had."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )
    server = uvicorn.Server(config)
    try:
        server.run()
    except (SystemExit, KeyboardInterrupt) as stop:
        # uvicorn leaves by SystemExit when it cannot bind, and hands SIGINT on after its graceful end.
        return 1 if isinstance(stop, SystemExit) and stop.code else 0
    return 0 if server.started else 1
