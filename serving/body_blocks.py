"""The bodies of many events in one text, where nothing else of them has to be looked at."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from driftline import names
from driftline.event_runs import EventList
from driftline.events import InferenceEvent
from driftline.joined_bytes import JoinedBytes, Positions


class Block(NamedTuple):
    """Events by their places, and their bodies."""

    places: Positions
    requests: JoinedBytes
    responses: JoinedBytes


def plain_blocks(events: Sequence[InferenceEvent]) -> list[Block]:
    """The bodies of all plain events; those of a run are looked at where they are."""
    if not isinstance(events, EventList):
        return _of_single(dict(enumerate(events)))
    blocks = [Block(places, run.requests, run.responses) for places, run in events.runs if is_plain(run.like)]
    return blocks + _of_single(events.others)


def _of_single(events: Mapping[int, InferenceEvent]) -> list[Block]:
    plain = {place: event for place, event in events.items() if is_plain(event)}
    if not plain:
        return []
    requests = JoinedBytes([event.request.body for event in plain.values()])
    responses = JoinedBytes([event.response.body for event in plain.values()])
    return [Block(np.array(list(plain), np.intp), requests, responses)]


def is_plain(event: InferenceEvent) -> bool:
    """Whether nothing but the bodies has to be looked at, and something was predicted."""
    length = names.HEADER_BINARY_LENGTH
    asked, answered = event.request, event.response
    return (
        200 <= event.status_code < 300
        and not (event.grpc_status or event.truncated or event.not_observable or event.answer_unknown)
        and event.chunk_count < 2
        and asked.content_encoding is None
        and answered.content_encoding is None
        and length not in asked.headers
        and length not in answered.headers
    )
