"""The fast paths of the most frequent event: V2 JSON on both sides, with the same tensors as an event before it.

Events whose bodies are spelt alike are taken all at once, by a template (``serving.body_templates``). One that is not
needs no more than to be parsed and compared with what its kind looks like. Their values then go where those of the
others are (``serving.groups``). Whatever looks different in the least takes the slow path, which decides.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.events import InferenceEvent
from driftline.joined_bytes import JoinedBytes, Positions
from serving import body_templates
from serving.body_blocks import Block, is_plain, plain_blocks
from serving.body_scanners import MakeScanner, Scanned, Scanner
from serving.body_templates import NOT_VALUES, BodyTemplate
from serving.codecs import v2_json
from serving.codecs.reading import Reading
from serving.codecs.v2_json import FlatTensor
from serving.groups import Group, Stack

_MARK = b'"datatype"'
_requests = msgspec.json.Decoder(v2_json.FlatRequest).decode
_responses = msgspec.json.Decoder(v2_json.FlatResponse).decode

#: Kinds of events that are remembered within one batch.
_MAX_KINDS = 64
#: Events that a template must be able to take to be worth learning.
_MANY = 8
#: Templates that are learnt in one batch; those that took few; and parts in which events are tried again.
_MAX_LEARNT, _MAX_USELESS, _MAX_TRIES = 32, 4, 64
Parts = list[FlatTensor]
#: Name, shape and number of values of a tensor.
Head = tuple[str, tuple[int, ...], int]


class _Kind(NamedTuple):
    """Events of one kind: what their tensors look like, and where their values go (None: nowhere).

    ``rows``: of each tensor that goes somewhere.
    """

    asked: Sequence[Head]
    answered: Sequence[Head]
    stacks: Sequence[Stack | None]
    rows: tuple[int, ...]
    group: Group


class _Spelling(NamedTuple):
    """How both bodies of a kind's events are spelt, and what reads them in one pass, where anything does."""

    kind: _Kind
    asked: BodyTemplate
    answered: BodyTemplate
    scanners: tuple[Scanner, Scanner] | None


class V2Runs:
    """Remembers kinds of V2 events, and takes further events of these kinds.

    ``make_scanner``: what the compiled build has for it.
    """

    def __init__(self, make_scanner: MakeScanner | None) -> None:
        self._make_scanner = make_scanner
        self._last: _Kind | None = None
        self._kinds: dict[Any, _Kind] = {}
        self._unknown: tuple[Parts, Parts] | None = None
        #: The event that was read last, with its kind.
        self._taken: tuple[_Kind, Parts, Parts] | None = None
        self._learnt = self._useless = self._tries = 0
        #: The bodies of all events, put together when the first template is there.
        self._blocks: list[Block] | None = None

    @property
    def may_learn(self) -> bool:
        """Whether others might be spelt as the event that was read just now, so that it pays to look for them."""
        return self._taken is not None and self._learnt < _MAX_LEARNT and self._useless < _MAX_USELESS

    def take_alike(
        self, event: InferenceEvent, places: Sequence[int], events: Sequence[InferenceEvent]
    ) -> Sequence[int]:
        """Take of the events at ``places`` all that are spelt as the one that was read just now; which are left."""
        taken, self._taken = self._taken, None
        if taken is None or len(places) < _MANY:
            return places
        kind, asked, answered = taken
        request = body_templates.template_of(event.request.body, b"inputs", [part.data for part in asked])
        response = body_templates.template_of(event.response.body, b"outputs", [part.data for part in answered])
        self._learnt += 1
        left = np.zeros(len(events), np.bool_)
        left[np.array(places, np.intp)] = True
        if request is not None and response is not None:
            self._tries = 0
            if self._blocks is None:
                self._blocks = plain_blocks(events)
            spelling = _Spelling(kind, request, response, self._scanners(request, response))
            for block in self._blocks:
                self._scan(spelling, block, events, left)
                self._take_spelt(spelling, block, events, left)
        found = [place for place in places if left[place]]
        self._useless += len(places) - len(found) < _MANY
        return found

    def _scanners(self, request: BodyTemplate, response: BodyTemplate) -> tuple[Scanner, Scanner] | None:
        if self._make_scanner is None:
            return None
        asked, answered = request.scanner(self._make_scanner), response.scanner(self._make_scanner)
        return None if asked is None or answered is None else (asked, answered)

    def _scan(
        self, spelling: _Spelling, block: Block, events: Sequence[InferenceEvent], left: NDArray[np.bool_]
    ) -> None:
        """Take what can be read in one pass."""
        if spelling.scanners is None:
            return
        asked, answered = spelling.scanners
        here = np.flatnonzero(left[block.places])
        questions = _scanned(asked, block.requests.take(here))
        here = here[questions.fits]
        answers = _scanned(answered, block.responses.take(here))
        if not answers.fits.all():
            here = here[answers.fits]
            questions = _scanned(asked, block.requests.take(here))
        if not len(here):
            return
        for stack, values in zip(spelling.kind.stacks, (*questions.gaps, *answers.gaps), strict=True):
            if stack is not None:
                stack.extend(values)
        places = block.places[here]
        spelling.kind.group.note(places.tolist(), events, spelling.kind.rows)
        left[places] = False

    def _take_spelt(
        self, spelling: _Spelling, block: Block, events: Sequence[InferenceEvent], left: NDArray[np.bool_]
    ) -> None:
        asked, answered = spelling.asked.fit, spelling.answered.fit
        here = np.flatnonzero(left[block.places])
        requests, responses = block.requests.take(here), block.responses.take(here)
        question, answer = requests.text, responses.text
        found = [
            first.groups() + second.groups()
            if (first := asked(question, *request)) and (second := answered(answer, *response))
            else None
            for request, response in zip(_spans(requests), _spans(responses), strict=True)
        ]
        places = block.places[here[[each is not None for each in found]]]
        gaps = list(zip(*[each for each in found if each is not None], strict=True))
        self._take_fitting(spelling.kind, gaps, places, events, left)

    def _take_fitting(
        self,
        kind: _Kind,
        gaps: Sequence[Sequence[bytes]],
        places: Positions,
        events: Sequence[InferenceEvent],
        left: NDArray[np.bool_],
    ) -> None:
        """Take what fits; where a gap does not hold values, halves of it, until what does not stands alone."""
        self._tries += 1
        if not len(places) or self._tries > _MAX_TRIES:
            return
        found = _values_in(gaps, kind)
        if found is None:
            if len(places) > 1:
                for half in (slice(len(places) // 2), slice(len(places) // 2, None)):
                    self._take_fitting(kind, [gap[half] for gap in gaps], places[half], events, left)
            return
        for stack, values in zip(kind.stacks, found, strict=True):
            if stack is not None:
                stack.extend(values)
        kind.group.note(places.tolist(), events, kind.rows)
        left[places] = False

    def take(self, place: int, events: Sequence[InferenceEvent]) -> bool:
        """Whether the event at this place was of a known kind, and is where it belongs."""
        event = events[place]
        self._unknown = self._taken = None
        if not _is_plain(event):
            return False
        try:
            asked, answered = _requests(event.request.body).inputs, _responses(event.response.body).outputs
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        kind = self._last
        if kind is None or not (_fits(asked, kind.asked) and _fits(answered, kind.answered)):
            kind = self._kinds.get(_key(asked, answered))
            if kind is None or not (_fits(asked, kind.asked) and _fits(answered, kind.answered)):
                self._unknown = asked, answered
                return False
            self._last = kind
        for part, stack in zip(asked + answered, kind.stacks, strict=True):
            if stack is not None:
                stack.extend(part.data or [])
        kind.group.note([place], events, kind.rows)
        self._taken = kind, asked, answered
        return True

    def remember(self, group: Group, request: Reading, response: Reading) -> None:
        """The event that was not taken is in this group: others that look like it belong there, too."""
        if self._unknown is None or len(self._kinds) >= _MAX_KINDS or request.format != "v2" or response.format != "v2":
            return
        asked, answered = self._unknown
        stacks = [*_stacks_of(asked, group.requests), *_stacks_of(answered, group.responses)]
        used = [stack for stack in stacks if stack is not None]
        if not all(part.shape and part.data for part in asked + answered):
            return
        if used != [*group.requests, *group.responses]:
            return
        rows = tuple([part.shape[0] for part, stack in zip(asked + answered, stacks, strict=True) if stack is not None])
        kind = _Kind(_heads(asked), _heads(answered), stacks, rows, group)
        self._last = self._kinds[_key(asked, answered)] = kind
        self._taken = kind, asked, answered


def _is_plain(event: InferenceEvent) -> bool:
    """Whether nothing but the two bodies has to be looked at."""
    return is_plain(event) and all(
        _MARK in half.body and half.body[:1] == b"{" for half in (event.request, event.response)
    )


def _scanned(scanner: Scanner, bodies: JoinedBytes) -> Scanned:
    return scanner.scan(bodies.text, bodies.starts, bodies.ends)


def _spans(bodies: JoinedBytes) -> Iterable[tuple[int, int]]:
    return zip(bodies.starts.tolist(), bodies.ends.tolist(), strict=True)


def _fits(parts: Parts, heads: Sequence[Head]) -> bool:
    if len(parts) != len(heads):
        return False
    for part, (name, shape, count) in zip(parts, heads, strict=True):
        data = part.data
        if part.shape != shape or part.name != name or data is None or len(data) != count:
            return False
    return True


def _heads(parts: Parts) -> list[Head]:
    return [(part.name, part.shape, len(part.data or ())) for part in parts]


def _key(asked: Parts, answered: Parts) -> Any:
    return len(asked), tuple([(part.name, part.shape) for part in asked + answered])


def _stacks_of(parts: Parts, stacks: Sequence[Stack]) -> list[Stack | None]:
    by_name = {stack.like.name: stack for stack in stacks}
    return [by_name.get(part.name) for part in parts]


def _values_in(gaps: Sequence[Sequence[bytes]], kind: _Kind) -> list[list[Any]] | None:
    """The values of each tensor of all events; None where any of them has something else in a gap."""
    found = []
    for gap, (_, _, count) in zip(gaps, (*kind.asked, *kind.answered), strict=True):
        try:
            values = body_templates.values_of(gap, count)
        except NOT_VALUES:
            return None
        if values is None:
            return None
        found.append(values)
    return found
