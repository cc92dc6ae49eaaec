"""Dead letters over HTTP: what could not be used, and why."""

from typing import Annotated

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field

from collector.guard import needs
from collector.problems import described
from collector.store import Store
from collector.transaction import DeadLetter
from driftline import access

_RAW_SHOWN = 64 * 1024


class DeadLetterAnswer(BaseModel):
    """A record that could not be used."""

    partition: str
    offset: int
    event_id: str | None
    namespace: str
    model: str
    reason: str
    detail: str
    time_s: float
    raw: str | None = Field(None, description="The record as text, at most 64 KiB; only when asked for alone.")


def add_dead_letter_routes(app: FastAPI, store: Store) -> None:
    """``/v1/deadletters``."""

    @app.get(
        "/v1/deadletters",
        summary="Newest dead letters",
        tags=["dead letters"],
        openapi_extra=needs(access.DEAD_LETTERS_READ),
    )
    def dead_letters(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, model: str | None = None, reason: str | None = None
    ) -> list[DeadLetterAnswer]:
        """What could not be used, and why; newest first."""
        return [_dead_letter(letter) for letter in store.dead_letters(limit, model=model, reason=reason)]

    @app.get(
        "/v1/deadletters/{partition:path}/{offset}",
        summary="One dead letter with its bytes",
        tags=["dead letters"],
        responses={404: described("There is none at this place.")},
        openapi_extra=needs(access.DEAD_LETTERS_READ),
    )
    def dead_letter(partition: str, offset: int) -> DeadLetterAnswer:
        """One record by its place in the stream, as text."""
        letter = store.dead_letter(partition, offset)
        if letter is None:
            raise HTTPException(404, f"no dead letter at offset {offset} of '{partition}'")
        answer = _dead_letter(letter)
        answer.raw = letter.raw[:_RAW_SHOWN].decode("utf-8", "backslashreplace")
        return answer


def _dead_letter(letter: DeadLetter) -> DeadLetterAnswer:
    return DeadLetterAnswer(
        partition=letter.partition,
        offset=letter.offset,
        event_id=letter.event_id,
        namespace=letter.namespace,
        model=letter.model,
        reason=letter.reason,
        detail=letter.detail,
        time_s=letter.time_s,
    )
