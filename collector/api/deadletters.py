"""Dead letters over HTTP: what could not be used, why, what to do, and trying again once it is done."""

import base64
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from collector.api.problems import described
from collector.batches.replay import NotReplayableError, Replayer, ReplayReport, content_of
from collector.settings import CollectorSettings
from collector.store.letters import LetterFilter, State, StoredLetter, attempts, letter_at, visible_letters
from collector.store.store import Store
from collector.store.transaction import DeadLetter
from driftline import access
from driftline.access import Grant
from driftline.guard import grant_of, needs
from driftline.halves import Half
from driftline.reasons import explain

_RAW_SHOWN = 64 * 1024
_LARGEST_OFFSET = 2**63 - 1
_PLACE = "kafka:driftline.inference:0"
_AWAY: dict[int | str, dict[str, Any]] = {503: described("The store is away. Try again after Retry-After seconds.")}

Model = Annotated[str | None, Field(description="NAMESPACE/MODEL, or the model's name.", examples=["default/flights"])]
Reason = Annotated[str | None, Field(description="Why it became a dead letter.", examples=["unknown_model"])]
Moment = Annotated[float | None, Field(description="Seconds since the epoch.", examples=[1387300000.0])]
Partition = Annotated[str | None, Field(description="A partition, or what it begins with.", examples=[_PLACE])]


class LetterQuery(BaseModel):
    """Which dead letters: all that fit every parameter given."""

    model_config = ConfigDict(extra="forbid")

    model: Model = None
    reason: Reason = None
    since_s: Moment = None
    until_s: Moment = None
    partition: Partition = None
    state: State = "open"
    limit: int = Field(100, ge=1, le=1000, description="At most so many.")
    after: str | None = Field(
        None,
        pattern=r"^.+/[0-9]{1,18}$",
        description="PARTITION/OFFSET of the last one of an answer: those that follow it.",
        examples=[f"{_PLACE}/4711"],
    )

    def wanted(self) -> LetterFilter:
        """As the store is asked."""
        return LetterFilter(self.model, self.reason, self.since_s, self.until_s, self.partition, None, self.state)


class ReplayBody(BaseModel):
    """Which dead letters to replay; only open ones are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "unknown_model"}]})

    model: Model = None
    reason: Reason = None
    since_s: Moment = None
    until_s: Moment = None
    partition: Partition = None
    offset: int | None = Field(None, ge=0, le=_LARGEST_OFFSET, description="The one at this place of the partition.")
    limit: int = Field(1000, ge=1, le=100_000, description="At most so many, the newest first.")
    dry_run: bool = Field(True, description="Only say what would become of them.")

    def wanted(self) -> LetterFilter:
        """As the store is asked."""
        return LetterFilter(self.model, self.reason, self.since_s, self.until_s, self.partition, self.offset)


class DeadLetterAnswer(BaseModel):
    """A record that could not be used."""

    partition: str
    offset: int
    event_id: str | None
    namespace: str
    model: str
    reason: str
    detail: str
    meaning: str = Field(description="What the reason means.")
    advice: str = Field(description="What to do about it.")
    time_s: float
    state: Literal["open", "replayed"]
    replayed_at_s: float | None = Field(description="When its event was stored after all.")


class AttemptAnswer(BaseModel):
    """Something that was tried with it; attempt 0 made it a dead letter."""

    attempt: int
    at_s: float
    outcome: str
    reason: str
    detail: str


class WholeLetterAnswer(DeadLetterAnswer):
    """A dead letter with its bytes and what was tried with it."""

    raw: str = Field(description="What was kept of the record, as text, at most 64 KiB.")
    request: str | None = Field(description="The request's body, base64, where it is an event; at most 64 KiB.")
    response: str | None = Field(description="The answer's body, likewise.")
    not_replayable: str | None = Field(description="Why it cannot be replayed; null where it can.")
    attempts: list[AttemptAnswer]


class ReplayFaultAnswer(BaseModel):
    """A letter that was not stored."""

    partition: str
    offset: int
    reason: str
    detail: str


class ReplayAnswer(BaseModel):
    """What became of the letters, or would; every one counts in exactly one outcome."""

    dry_run: bool
    found: int
    outcomes: dict[str, int] = Field(
        description="Counts of stored, duplicate (the event was stored meanwhile), failed (again), not_replayable.",
        examples=[{"stored": 12, "failed": 1}],
    )
    faults: list[ReplayFaultAnswer] = Field(description="The first hundred that were not stored.")


def add_dead_letter_routes(app: FastAPI, store: Store, replayer: Replayer, settings: CollectorSettings) -> None:
    """``/v1/deadletters``."""

    @app.get(
        "/v1/deadletters",
        summary="Newest dead letters",
        tags=["dead letters"],
        openapi_extra=needs(access.DEAD_LETTERS_READ),
        responses={404: described("There is none at the place `after`."), **_AWAY},
    )
    def dead_letters(request: Request, query: Annotated[LetterQuery, Query()]) -> list[DeadLetterAnswer]:
        """What could not be used, why, and what to do; newest first. A token for some models sees theirs only."""
        grant = grant_of(request)
        _require_visible(grant, query.model)
        with store.reading() as connection:
            after = None
            if query.after is not None:
                partition, _, offset = query.after.rpartition("/")
                after = _visible(letter_at(connection, partition, int(offset)), grant, query.after)
            found = visible_letters(connection, query.wanted(), query.limit, grant.allows_model, after)
        return [_answer(stored) for stored in found]

    @app.post(
        "/v1/deadletters/replay",
        summary="Replay dead letters",
        tags=["dead letters"],
        openapi_extra=needs(access.DEAD_LETTERS_REPLAY),
        responses={400: described("The body is not JSON."), **_AWAY},
    )
    def replay(request: Request, body: ReplayBody) -> ReplayAnswer:
        """Read them once more, as if they came now, after a monitor or a codec was mended; at first only as a trial.

        An event is stored once, however often it is replayed; what fails again stays open, with the new reason.
        """
        grant = grant_of(request)
        report = replayer.replay(body.wanted(), body.limit, dry_run=body.dry_run, may=grant.allows_model)
        return _replayed(report)

    @app.get(
        "/v1/deadletters/{partition:path}/{offset}",
        summary="One dead letter with its bytes",
        tags=["dead letters"],
        responses={404: described("There is none at this place."), **_AWAY},
        openapi_extra=needs(access.DEAD_LETTERS_READ),
    )
    def dead_letter(request: Request, partition: str, offset: int) -> WholeLetterAnswer:
        """One record by its place in the stream, with what was tried with it."""
        if not 0 <= offset <= _LARGEST_OFFSET:
            raise HTTPException(404, f"no dead letter at offset {offset} of '{partition}'")
        with store.reading() as connection:
            found = letter_at(connection, partition, offset)
            tried = attempts(connection, partition, offset) if found else []
        found = _visible(found, grant_of(request), f"{partition}/{offset}")
        tried_answers = [AttemptAnswer(**{name: getattr(each, name) for name in each.__slots__}) for each in tried]
        return _whole(found, tried_answers, settings.maximum_raw_bytes)


def _may(grant: Grant, letter: DeadLetter) -> bool:
    return grant.allows_model(f"{letter.namespace}/{letter.model}")


def _require_visible(grant: Grant, model: str | None) -> None:
    """A model asked for by its whole name is refused outright; an empty list would read like health."""
    if model is not None and "/" in model:
        grant.require_model(model)


def _visible(found: StoredLetter | None, grant: Grant, place: str) -> StoredLetter:
    if found is None or not _may(grant, found.letter):
        raise HTTPException(404, f"no dead letter at '{place}'")
    return found


def _answer(stored: StoredLetter) -> DeadLetterAnswer:
    return DeadLetterAnswer(**_fields(stored))


def _fields(stored: StoredLetter) -> dict[str, object]:
    letter, reason = stored.letter, explain(stored.letter.reason)
    kept = ("partition", "offset", "event_id", "namespace", "model", "reason", "detail", "time_s")
    return {
        **{name: getattr(letter, name) for name in kept},
        "meaning": reason.meaning,
        "advice": reason.advice,
        "state": "open" if stored.replayed_at_s is None else "replayed",
        "replayed_at_s": stored.replayed_at_s,
    }


def _whole(stored: StoredLetter, tried: list[AttemptAnswer], maximum_raw_bytes: int) -> WholeLetterAnswer:
    letter = stored.letter
    bodies: list[str | None] = [None, None]
    fault = None
    try:
        content = content_of(letter, maximum_raw_bytes)
    except NotReplayableError as error:
        fault = str(error)
    else:
        sides = [getattr(content, name, None) for name in ("request", "response")]
        if isinstance(content, Half):
            sides[1] = content.payload
        bodies = [None if side is None else base64.b64encode(side.body[:_RAW_SHOWN]).decode() for side in sides]
    return WholeLetterAnswer(
        **_fields(stored),
        raw=letter.raw[:_RAW_SHOWN].decode("utf-8", "backslashreplace"),
        request=bodies[0],
        response=bodies[1],
        not_replayable=fault,
        attempts=tried,
    )


def _replayed(report: ReplayReport) -> ReplayAnswer:
    faults = [
        ReplayFaultAnswer(partition=each.partition, offset=each.offset, reason=each.reason, detail=each.detail)
        for each in report.faults
    ]
    return ReplayAnswer(dry_run=report.dry_run, found=report.found, outcomes=dict(report.outcomes), faults=faults)
