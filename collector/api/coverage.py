"""How complete labels are, and how windows were revised as they came, over HTTP."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import BaseModel, Field

from collector.api.problems import described
from collector.store.history import label_history
from collector.store.store import Store
from driftline.access import DATA_READ
from driftline.clock import Clock
from driftline.guard import grant_of, needs
from driftline.maturity import history_s, label_states, longest_s, quantile_s
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, LabelState, Revision, StreamKey, WindowKey

_UNKNOWN: dict[int | str, dict[str, Any]] = {404: described("No monitor has this name.")}


class StreamAnswer(BaseModel):
    """One stream of predictions."""

    namespace: str
    model: str
    version: str
    variant: str


class DelayAnswer(BaseModel):
    """First labels of one class of delay."""

    up_to_s: float = Field(description="The longest delay of the class; two classes for every doubling.")
    labels: int


class CoverageAnswer(BaseModel):
    """How complete the labels of one window are."""

    stream: StreamAnswer
    segment: str = Field(description="Empty: all rows; else COLUMN=VALUE.")
    start_s: float
    end_s: float
    rows: int
    labelled: int = Field(description="Rows that have a label now.")
    expected: float = Field(description="Rows that ever get a label, by labels.expected_share of the monitor.")
    coverage: float = Field(description="Share of the expected labels that have come.")
    maturity: float | None = Field(
        description="Share of the labels that should have come by now, by the delays of earlier windows; null while no "
        "window is as old as labels.maturity."
    )
    mature: bool = Field(
        description="Accuracy counts as final: labels.maturity has passed, or labels.mature_share is in."
    )
    delay_p50_s: float | None = Field(description="Half of the first labels came within this time.")
    delay_p95_s: float | None = Field(description="Nineteen of twenty did.")
    delays: list[DelayAnswer] = Field(description="First labels by class of their delay, the shortest first.")


class ResultAnswer(BaseModel):
    """What one detector concluded."""

    column: str
    detector: str
    kind: str
    statistic: float | None
    verdict: str
    reason: str
    sample_size: int
    coverage: float | None


class RevisionAnswer(BaseModel):
    """One evaluation of a window."""

    revision: int
    evaluated_at_s: float
    rows: int
    labelled: int
    maturity: float | None
    mature: bool | None
    results: list[ResultAnswer]


class LabelRevision(BaseModel):
    """A label that took effect on a row."""

    row: int
    revision: int
    value: str | None = Field(description="As it is compared with the prediction; null: withdrawn.")
    observed_at_s: float
    received_at_s: float | None
    wrong: bool | None
    prediction: str | None
    time_s: float = Field(description="When the prediction was made.")


def add_coverage_routes(app: FastAPI, store: Store, monitors: Mapping[str, Monitor], clock: Clock) -> None:
    """``GET /v1/coverage``, ``/v1/windows/revisions`` and ``/v1/labels``."""

    @app.get(
        "/v1/coverage",
        summary="How complete labels are",
        tags=["labels"],
        responses=_UNKNOWN,
        openapi_extra=needs(DATA_READ),
    )
    def coverage(
        request: Request,
        model: str,
        namespace: str = "default",
        since_s: Annotated[
            float | None, Query(description="Windows that end later; by default four maturities back.")
        ] = None,
        segment: Annotated[str, Query(description="COLUMN=VALUE; by default all rows.")] = ALL_ROWS,
        segments: Annotated[bool, Query(description="All rows and every segment, whatever `segment` says.")] = False,
        limit: Annotated[
            int, Query(ge=1, le=10_000, description="The newest windows of each stream and segment.")
        ] = 100,
    ) -> list[CoverageAnswer]:
        """Rows, labels, delays, coverage and maturity of every window, by stream, segment and start."""
        name = f"{namespace}/{model}"
        grant_of(request).require_model(name)
        monitor = monitors.get(name)
        if monitor is None:
            raise HTTPException(404, f"no monitor is called '{name}'")
        now_s = clock()
        far_s = now_s - history_s(monitor)
        # Delays are learnt from far back, whatever is asked for.
        windows = store.label_windows(
            namespace, model, far_s if since_s is None else min(far_s, since_s), segments=segments or bool(segment)
        )
        found: dict[tuple[StreamKey, str], list[LabelState]] = {}
        for state in label_states(monitor, windows, now_s):
            window = state.window
            if (segments or window.segment == segment) and (since_s is None or window.end_s > since_s):
                found.setdefault((window.stream, window.segment), []).append(state)
        return [_coverage(state) for _, states in sorted(found.items()) for state in states[-limit:]]

    _add_revision_routes(app, store)


def _add_revision_routes(app: FastAPI, store: Store) -> None:
    @app.get(
        "/v1/windows/revisions", summary="How a window was revised", tags=["labels"], openapi_extra=needs(DATA_READ)
    )
    def window_revisions(
        request: Request,
        model: str,
        version: str,
        start_s: float,
        end_s: float,
        namespace: str = "default",
        variant: str = "stable",
        segment: str = ALL_ROWS,
    ) -> list[RevisionAnswer]:
        """Every evaluation of a window with its results, the oldest first."""
        grant_of(request).require_model(f"{namespace}/{model}")
        key = WindowKey(StreamKey(namespace, model, version, variant), segment, start_s, end_s)
        return [_revision(revision) for revision in store.revisions(key)]

    @app.get("/v1/labels", summary="Every label of a prediction", tags=["labels"], openapi_extra=needs(DATA_READ))
    def labels(request: Request, model: str, request_id: str, namespace: str = "default") -> list[LabelRevision]:
        """Every label that took effect on the rows of one request, oldest first, with corrections and withdrawals."""
        grant_of(request).require_model(f"{namespace}/{model}")
        found = store.read(lambda connection: label_history(connection, namespace, model, request_id))
        return [LabelRevision(**each._asdict()) for each in found]


def _coverage(state: LabelState) -> CoverageAnswer:
    window = state.window
    stream = window.stream
    return CoverageAnswer(
        stream=StreamAnswer(
            namespace=stream.namespace, model=stream.model, version=stream.version, variant=stream.variant
        ),
        segment=window.segment,
        start_s=window.start_s,
        end_s=window.end_s,
        rows=window.rows,
        labelled=window.labelled,
        expected=state.expected,
        coverage=state.coverage,
        maturity=state.maturity,
        mature=state.mature,
        delay_p50_s=quantile_s(window.delays, 0.5),
        delay_p95_s=quantile_s(window.delays, 0.95),
        delays=[
            DelayAnswer(up_to_s=longest_s(number), labels=count) for number, count in sorted(window.delays.items())
        ],
    )


def _revision(revision: Revision) -> RevisionAnswer:
    return RevisionAnswer(
        revision=revision.number,
        evaluated_at_s=revision.evaluated_at_s,
        rows=revision.rows,
        labelled=revision.labelled,
        maturity=revision.maturity,
        mature=revision.mature,
        results=[
            ResultAnswer(
                column=result.column,
                detector=result.detector,
                kind=result.kind,
                statistic=None if math.isnan(result.statistic) else result.statistic,
                verdict=result.verdict.value,
                reason=result.reason,
                sample_size=result.sample_size,
                coverage=result.coverage,
            )
            for result in revision.results
        ],
    )
