"""The collector's HTTP API: labels in, dead letters out, health and metrics; described by OpenAPI at ``/docs``."""

import time
from collections.abc import Callable, Mapping

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from collector.api.coverage import add_coverage_routes
from collector.api.data import add_data_routes
from collector.api.deadletters import add_dead_letter_routes
from collector.api.feedback import add_feedback_routes
from collector.api.guard import guard_app
from collector.api.labels import add_label_routes
from collector.api.operations import HealthProbe, add_operations
from collector.api.problems import add_problem_handlers
from collector.api.uploads import add_upload_routes
from collector.batches.payloads import PayloadWriter
from collector.batches.replay import Replayer
from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser
from collector.labels.desk import LabelDesk
from collector.labels.uploads import UploadDesk
from collector.operating.tracing import Tracing
from collector.settings import CollectorSettings
from collector.store.store import Store
from driftline import __version__
from driftline.access import Access
from driftline.clock import Clock
from driftline.monitors import Monitor

_DESCRIPTION = (
    "Takes labels and events, shows and replays what could not be used, and says how the collector is. Every endpoint "
    "names the scope that a token needs for it."
)
_TAGS = [
    {"name": "labels", "description": "What turned out to be true."},
    {"name": "events", "description": "Inferences that other loggers send."},
    {"name": "dead letters", "description": "What could not be used, why, and how it may yet be."},
    {"name": "data", "description": "What is stored, and erasing it."},
    {"name": "operations", "description": "Health and metrics."},
]


def create_app(
    desk: LabelDesk,
    store: Store,
    monitors: Mapping[str, Monitor],
    clock: Clock,
    registry: CollectorRegistry,
    health: HealthProbe,
    settings: CollectorSettings,
    uploads: UploadDesk,
    replayer: Replayer,
    access: Access | None = None,
    answered: Callable[[str, int], None] = lambda _path, _status: None,
    tracing: Tracing | None = None,
    payloads: PayloadWriter | None = None,
) -> FastAPI:
    """The application; see the module's docstring.

    ``access``: who may do what; everybody everything without. ``answered`` is told each answer's endpoint and status.
    """
    access = access or Access()
    app = FastAPI(title="driftline collector", version=__version__, openapi_tags=_TAGS)
    app.description = _DESCRIPTION
    if access.book is None:  # the description is open to everybody, and which models there are need not be
        app.description += f" Monitored models: {', '.join(sorted(monitors)) or 'none'}."
    add_problem_handlers(app)
    add_label_routes(app, desk, settings)
    add_feedback_routes(app, desk, monitors, clock, settings)
    add_coverage_routes(app, store, monitors, clock)
    add_upload_routes(app, uploads, settings.maximum_upload_bytes)
    add_dead_letter_routes(app, store, replayer, settings)
    files = None if payloads is None else payloads.files
    add_data_routes(app, Eraser(store, SubjectHasher(settings.subject_secret), clock, files), monitors)
    add_operations(app, store, registry, health)
    guard_app(app, access, settings.open_paths, time.time, answered, tracing)
    return app
