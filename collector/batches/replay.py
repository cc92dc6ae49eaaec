"""Dead letters read once more, through the ordinary path: decoded, validated, counted and stored as if they came now.

Exactly once: an event is stored in the transaction that marks its letter as replayed, and of two replays at the same
time only one commits (both move the position of one lane). A letter that fails again stays open, with the new reason;
what was tried before is kept.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from collector.batches.commit import Batch, BatchWriter
from collector.batches.forgetting import Forgetting, forgetting_of
from collector.batches.intake import UNSTORABLE, EventKey, Reader, StreamNames, event_keys
from collector.batches.payloads import PayloadWriter
from collector.batches.subjects import SubjectHasher
from collector.labels.book import LabelBook
from collector.ports import BatchDecoder, WindowStatistics
from collector.settings import CollectorSettings
from collector.store.halves import LONE_ANSWER, end_waiting, read_half, settle, waiting_of_pairs
from collector.store.letters import (
    Attempt,
    LetterFilter,
    StoredLetter,
    empty_letters,
    find_letters,
    keep_attempts,
    still_open,
)
from collector.store.states import StateBook, StateCache
from collector.store.store import Store
from collector.store.transaction import DeadLetter, PositionMove, TotalKey, Transaction, total
from collector.store.unmonitored import unmonitored_models
from driftline import names
from driftline.clock import Clock
from driftline.errors import EventError, PermanentError, TransientError
from driftline.events import InferenceEvent, Label, decode_frame
from driftline.halves import Half, join_halves
from driftline.monitors import Monitor
from driftline.reasons import explain
from driftline.records import Record

#: The partition under which replayed events keep their share of the statistics.
LANE = "deadletters:replay"
FAILED = names.OUTCOME_FAILED
STORED = names.OUTCOME_STORED
DUPLICATE = names.OUTCOME_DUPLICATE
#: Of a request or a subject that was erased since.
ERASED = names.OUTCOME_ERASED
#: Nothing in the letter can be read again.
NOT_REPLAYABLE = "not_replayable"

_NO_REQUEST_WAITS = (
    "no request waits for this answer: it never came, was paired with another one, or was stored alone when its own "
    "time was over"
)

_BATCH_LETTERS = 200
_TRIES = 5
_FAULTS_TOLD = 100


class NotReplayableError(PermanentError):
    """What was kept of a record cannot be read again; the message says why."""


@dataclass(frozen=True, slots=True)
class ReplayFault:
    """A letter that was not stored, and why."""

    partition: str
    offset: int
    reason: str
    detail: str


@dataclass(slots=True)
class ReplayReport:
    """``outcomes``: letters by what became of them, or would; ``faults``: the first hundred that were not stored."""

    dry_run: bool
    found: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[ReplayFault] = field(default_factory=list)

    def count(self, stored: StoredLetter, outcome: str, reason: str = "", detail: str = "") -> None:
        """One letter more."""
        self.outcomes[outcome] += 1
        if outcome in (FAILED, NOT_REPLAYABLE) and len(self.faults) < _FAULTS_TOLD:
            self.faults.append(ReplayFault(*stored.place, reason, detail))


@dataclass(frozen=True, slots=True)
class _Try:
    """A letter with what it holds."""

    stored: StoredLetter
    content: InferenceEvent | Label | Half
    #: The identity of the half that waited for this one.
    met: str = ""


@dataclass(slots=True)
class _Outcomes:
    """What became of the letters of a batch; a ``BatchPart``."""

    letters: list[StoredLetter]
    attempts: dict[tuple[str, int], Attempt]
    #: Requests that waited and wait no more, with their models.
    met: Mapping[str, tuple[str, str]]
    now_s: float

    def write(self, transaction: Transaction) -> None:
        """Keep the attempts, and count them."""
        keep_attempts(transaction, self.attempts, self.letters)
        gone = [stored for stored in self.letters if self.attempts[stored.place].outcome == ERASED]
        empty_letters(transaction, gone)
        end_waiting(transaction, list(self.met))
        settle(transaction, list(self.met), self.now_s)
        counts: Counter[TotalKey] = Counter(
            total(names.HALVES, *model, names.OUTCOME_PAIRED) for model in self.met.values()
        )
        for stored in self.letters:
            letter = stored.letter
            outcome = self.attempts[stored.place].outcome
            counts[total(names.DEAD_LETTER_REPLAYS, letter.namespace, letter.model, outcome)] += 1
        transaction.add_totals(LANE, counts)


def content_of(letter: DeadLetter, maximum_raw_bytes: int) -> InferenceEvent | Label | Half:
    """What can be read of a letter once more; raises NotReplayableError.

    An event, a label that was none in an earlier version, or an answer whose request may have come since.
    """
    if len(letter.raw) >= maximum_raw_bytes:
        raise NotReplayableError(f"of it the first {maximum_raw_bytes} bytes were kept (maximum_raw_bytes), not all")
    try:
        if letter.event_id is not None:
            return decode_frame(letter.raw)
        if letter.reason == LONE_ANSWER:
            return read_half(letter.raw)
        if letter.raw[:1] == b"{":
            return msgspec.json.decode(letter.raw, type=Label)
    except (EventError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotReplayableError(f"what was kept of it is no event of this version: {error}") from error
    if letter.reason == "truncated":
        raise NotReplayableError("it was cut where it was logged, and the rest is nowhere")
    raise NotReplayableError(f"it was never read as an event; {explain(letter.reason).advice}")


class Replayer:
    """Replays dead letters; safe to use from several threads and processes."""

    def __init__(
        self,
        store: Store,
        decoder: BatchDecoder,
        statistics: WindowStatistics,
        monitors: Mapping[str, Monitor],
        clock: Clock,
        settings: CollectorSettings,
        payloads: PayloadWriter | None = None,
    ) -> None:
        self._store = store
        self._decoder = decoder
        self._statistics = statistics
        self._monitors = monitors
        self._clock = clock
        self._settings = settings
        self._payloads = payloads

    def replay(
        self,
        wanted: LetterFilter,
        limit: int,
        *,
        dry_run: bool,
        may: Callable[[str], bool] = lambda _model: True,
    ) -> ReplayReport:
        """Replay up to ``limit`` open letters, newest first, in batches; with ``dry_run`` only say what would be.

        ``may``: whether letters of NAMESPACE/MODEL are asked for. Raises TransientError when the store is away; what
        was replayed until then stays so, and asking again goes on with the rest.
        """
        report = ReplayReport(dry_run)
        after: StoredLetter | None = None
        while report.found < limit:
            with self._store.reading() as connection:
                batch = find_letters(connection, wanted, min(_BATCH_LETTERS, limit - report.found), after)
            if not batch:
                break
            after = batch[-1]
            letters = [each for each in batch if may(f"{each.letter.namespace}/{each.letter.model}")]
            report.found += len(letters)
            self._replay_all(letters, report)
        return report

    def readable(self, letter: DeadLetter) -> str:
        """Why a letter cannot be replayed; empty when it can."""
        try:
            content_of(letter, self._settings.maximum_raw_bytes)
        except NotReplayableError as error:
            return str(error)
        return ""

    def _replay_all(self, letters: Sequence[StoredLetter], report: ReplayReport) -> None:
        tries = []
        for stored in letters:
            try:
                tries.append(_Try(stored, content_of(stored.letter, self._settings.maximum_raw_bytes)))
            except NotReplayableError as error:
                report.count(stored, NOT_REPLAYABLE, stored.letter.reason, str(error))
        if tries:
            self._commit(tries, report)

    def _commit(self, tries: Sequence[_Try], report: ReplayReport, refused: str = "") -> None:
        """As the consumer does: halve what the store refuses until the culprit is alone."""
        try:
            outcomes = self._commit_again(tries, refused, dry_run=report.dry_run)
        except PermanentError as error:
            if len(tries) == 1:
                self._commit(tries, report, str(error))
                return
            middle = len(tries) // 2
            self._commit(tries[:middle], report)
            self._commit(tries[middle:], report)
            return
        for each in tries:
            attempt = outcomes[each.stored.place]
            report.count(each.stored, attempt.outcome, attempt.reason, attempt.detail)

    def _commit_again(self, tries: Sequence[_Try], refused: str, *, dry_run: bool) -> Mapping[tuple[str, int], Attempt]:
        """Another replay may be faster; then everything is looked up anew."""
        for left in reversed(range(_TRIES)):
            try:
                return self._commit_once(tries, refused, dry_run=dry_run)
            except TransientError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _commit_once(self, tries: Sequence[_Try], refused: str, *, dry_run: bool) -> Mapping[tuple[str, int], Attempt]:
        now_s = self._clock()
        position = self._store.position(LANE)
        tries = self._pair(tries)
        with self._store.reading() as connection:
            still = still_open(connection, [each.stored for each in tries])
        attempts = self._expected(tries, still, refused, now_s)
        first = (position or 0) * _BATCH_LETTERS  # no two batches share an offset, which files are named by
        records = {
            first + number: each for number, each in enumerate(tries) if attempts[each.stored.place].outcome == STORED
        }
        whole = [
            Record(LANE, offset, offset + 1, each.content)
            for offset, each in records.items()
            if not isinstance(each.content, Half)
        ]
        forgetting = self._forgetting()
        intake = self._reader(forgetting).read(whole, event_keys(whole), set(), now_s)
        for letter in (rejected.letter for rejected in intake.dead):
            attempts[records[letter.offset].stored.place] = Attempt(0, now_s, FAILED, letter.reason, letter.detail)
        for arrival in intake.erased:
            attempts[records[arrival.record.offset].stored.place] = Attempt(
                0, now_s, ERASED, "", "it was erased meanwhile"
            )
        intake.dead.clear()
        if not dry_run:
            move = PositionMove(LANE, position, (position or 0) + 1)
            met = {each.met: _model_of(each) for each in records.values() if each.met and _ended(attempts, each)}
            letters = [each.stored for each in tries if each.stored.place in still]
            outcomes = _Outcomes(letters, attempts, met, now_s)
            states = StateBook(StateCache(1))
            self._writer(forgetting).write(Batch([move], intake, states, now_s, self._monitors, [outcomes]))
        return attempts

    def _expected(
        self, tries: Sequence[_Try], still: Collection[tuple[str, int]], refused: str, now_s: float
    ) -> dict[tuple[str, int], Attempt]:
        """What becomes of each letter as far as it is known before it is decoded; ``still``: those that are open."""
        attempts: dict[tuple[str, int], Attempt] = {}
        known = self._known(tries)
        for each in tries:
            key, reason = _event_key(each.content), each.stored.letter.reason
            attempt = Attempt(0, now_s, STORED, reason, "")
            if each.stored.place not in still:  # another replay was faster
                attempt = Attempt(0, now_s, DUPLICATE, reason, "")
            elif isinstance(each.content, Half):
                attempt = Attempt(0, now_s, FAILED, LONE_ANSWER, _NO_REQUEST_WAITS)
            elif refused:
                attempt = Attempt(0, now_s, FAILED, UNSTORABLE, refused)
            elif key is not None and key in known:
                attempt = Attempt(0, now_s, DUPLICATE, reason, "")
            elif key is not None:
                known.add(key)  # a copy of it may be among the letters
            attempts[each.stored.place] = attempt
        return attempts

    def _pair(self, tries: Sequence[_Try]) -> Sequence[_Try]:
        """Answers that came too early, with the requests that wait by now; each request is for the first of them."""
        pairs = sorted({each.content.pair for each in tries if isinstance(each.content, Half)})
        if not pairs:
            return tries
        waiting: dict[str, list[Half]] = {}
        for half, _ in self._store.read(lambda connection: waiting_of_pairs(connection, pairs)):
            if half.kind == "request":
                waiting.setdefault(half.pair, []).append(half)
        found = []
        for each in tries:
            requests = waiting.get(each.content.pair) if isinstance(each.content, Half) else None
            if requests and isinstance(each.content, Half):
                request = requests.pop(0)
                found.append(_Try(each.stored, join_halves(request, each.content), request.identity))
            else:
                found.append(each)
        return found

    def _known(self, tries: Sequence[_Try]) -> set[EventKey]:
        """Events that are stored as such, not as dead letters, which these are themselves."""
        keys = [key for each in tries if (key := _event_key(each.content)) is not None]
        with self._store.reading() as connection:
            return Transaction(connection).known_events(keys, dead=False)

    def _forgetting(self) -> Forgetting:
        found = forgetting_of(SubjectHasher(self._settings.subject_secret))
        self._store.read(found.book.follow)
        return found

    def _reader(self, forgetting: Forgetting) -> Reader:
        return Reader(
            self._decoder,
            self._monitors,
            StreamNames(self._store.known_streams(), self._settings.maximum_streams),
            maximum_raw_bytes=self._settings.maximum_raw_bytes,
            maximum_future_s=self._settings.maximum_future_s,
            forgetting=forgetting,
            unmonitored=unmonitored_models(self._settings.maximum_unmonitored_models, self._monitors, self._store.read),
        )

    def _writer(self, forgetting: Forgetting) -> BatchWriter:
        return BatchWriter(
            self._store,
            self._statistics,
            LabelBook(self._statistics, self._monitors, forgetting.book),
            self._payloads,
            keep_columns=self._settings.store_columns,
            subjects=SubjectHasher(self._settings.subject_secret),
            erased=forgetting.book,
        )


def _model_of(each: _Try) -> tuple[str, str]:
    content = each.content
    return content.namespace, content.model


def _ended(attempts: Mapping[tuple[str, int], Attempt], each: _Try) -> bool:
    """Whether the letter is settled; one that fails again leaves the other half waiting."""
    return attempts[each.stored.place].outcome != FAILED


def _event_key(content: InferenceEvent | Label | Half) -> EventKey | None:
    if not isinstance(content, InferenceEvent):
        return None
    (key,) = event_keys([Record(LANE, 0, 1, content)])
    return key
