"""The description of the collector's API, with every route that a collector may have."""

from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from collector.labels.from_seldon import read_feedback
from collector.sources.inbox import LogInbox, Mailroom
from collector.sources.interpreting import Interpreter
from collector.sources.receiver import Receiver
from collector.store.store import Store
from driftline.access import Access, AccessBook
from logger_sidecar.spool.writer import SpoolWriter
from tests.collector.helpers import MONITORS, Parts
from tests.collector.test_api import FixedHealth, make_app


def described_api(directory: Path) -> dict[str, Any]:
    """What ``/openapi.json`` answers."""
    store = Store(f"sqlite:///{directory}/store.db")
    log = SpoolWriter(directory / "inbox", max_bytes=1 << 20, segment_bytes=1 << 18, first_offset=1)
    try:
        app = make_app(Parts(store, directory=directory), store, FixedHealth(), Access(AccessBook))
        interpreter = Interpreter(MONITORS, read_feedback)
        receiver = Receiver(Mailroom(LogInbox(log), 1 << 20), interpreter, lambda: 0.0, CollectorRegistry(), 1 << 20)
        receiver.add_routes(app)
        description: dict[str, Any] = app.openapi()
        return description
    finally:
        log.close()
        store.close()
