"""What labels do, said again with dictionaries: the model that the store is held against."""

from collections import Counter
from dataclasses import dataclass, field

from driftline.maturity import class_of

RIGHT, WRONG = "right", "wrong"


@dataclass(frozen=True)
class ModelLabel:
    """A label by request id or by key; ``value`` None withdraws, RIGHT and WRONG judge."""

    request_id: str
    key: str
    row: int
    value: str | None
    observed_s: float


@dataclass(frozen=True)
class NewRow:
    """A row of an event: what was predicted, the business key if it has one, and whom it is about."""

    prediction: str
    key: str | None
    subject: str


@dataclass
class ModelRow:
    """A stored prediction with what is known of its label."""

    event_id: str
    request_id: str
    row: int
    time_s: float
    prediction: str
    subject: str
    label: str | None = None
    label_time_s: float | None = None
    judged: str | None = None
    delay_class: int | None = None


@dataclass
class LabelModel:
    """Predictions, labels and waiting labels in memory, one after the other.

    ``gone``: rows that were erased, which stay counted. ``erased``: requests and subjects. ``known``: all events' ids.
    """

    rows: dict[tuple[str, int], ModelRow] = field(default_factory=dict)
    gone: list[ModelRow] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    keys: dict[tuple[str, str, int], float] = field(default_factory=dict)
    waiting: dict[tuple[str, str, int], tuple[str | None, float, float]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    maximum_waiting: int = 10**9

    def is_erased(self, request_id: str, subject: str = "") -> bool:
        """Whether the request was erased, or the subject."""
        return not self.erased.isdisjoint({request_id, subject})

    def store(self, event_id: str, request_id: str, time_s: float, rows: list[NewRow]) -> None:
        """One event with its rows; a known one changes nothing, and what was erased is not kept."""
        if event_id in self.known:
            return
        self.known.add(event_id)
        for number, row in enumerate(rows):
            if self.is_erased(request_id, row.subject):
                continue
            self.rows[event_id, number] = ModelRow(event_id, request_id, number, time_s, row.prediction, row.subject)
            if row.key is not None:
                place = (row.key, request_id, number)
                self.keys[place] = max(time_s, self.keys.get(place, 0.0))

    def erase(self, value: str) -> dict[str, int]:
        """Erase a request or a subject; how much of what went."""
        self.erased.add(value)
        going = {place: row for place, row in self.rows.items() if value in (row.request_id, row.subject)}
        self.rows = {place: row for place, row in self.rows.items() if place not in going}
        self.gone.extend(going.values())
        named = {(row.request_id, row.row) for row in going.values()}
        keys = [place for place in self.keys if place[1] == value or place[1:] in named]
        waiting = [place for place in self.waiting if place[0] and (place[0] == value or (place[0], place[2]) in named)]
        for place in keys:
            del self.keys[place]
        for place in waiting:
            del self.waiting[place]
        return {"predictions": len(going), "keys": len(keys), "pending": len(waiting)}

    def join_waiting(self) -> None:
        """Waiting labels whose predictions are there, those by request id first."""
        waiting = sorted(self.waiting.items(), key=lambda item: item[0][1] != "")
        for (request_id, key, row), (value, observed_s, received_s) in waiting:
            label = ModelLabel(request_id, key, row, value, observed_s)
            target = self.target(label)
            if target is not None:
                del self.waiting[request_id, key, row]
                self.outcomes[self.apply(target, label, received_s)] += 1

    def label(self, label: ModelLabel, now_s: float) -> None:
        """One label comes."""
        if self.is_erased(label.request_id):
            self.outcomes["erased"] += 1
            return
        target = self.target(label)
        if target is not None:
            self.outcomes[self.apply(target, label, now_s)] += 1
            return
        place = (label.request_id, label.key, label.row)
        old = self.waiting.get(place)
        if old is None and len(self.waiting) >= self.maximum_waiting:
            self.outcomes["waiting_full"] += 1
            return
        if old is None:
            self.outcomes["pending"] += 1
        elif label.observed_s < old[1] or label.value == old[0]:
            self.outcomes["duplicate"] += 1
        else:
            self.outcomes["withdrawn" if label.value is None else "corrected"] += 1
        if old is None or label.observed_s >= old[1]:
            self.waiting[place] = (label.value, label.observed_s, now_s)

    def target(self, label: ModelLabel) -> ModelRow | None:
        """The prediction that a label is for: the newest of its request id, or of the newest request of its key."""
        request_id, number = label.request_id, label.row
        if label.key:
            found = [(time_s, place[1], -place[2]) for place, time_s in self.keys.items() if place[0] == label.key]
            if not found:
                return None
            _, request_id, minus_number = max(found)
            number = -minus_number
        rows = [row for row in self.rows.values() if (row.request_id, row.row) == (request_id, number)]
        return max(rows, key=lambda row: (row.time_s, row.event_id), default=None)

    def apply(self, row: ModelRow, label: ModelLabel, received_s: float) -> str:
        """The label beside its prediction."""
        first = row.label_time_s is None
        if row.label_time_s is not None and label.observed_s < row.label_time_s:
            return "duplicate"
        row.label_time_s = label.observed_s
        value = _class(label.value, row.prediction)
        if value == row.label:
            return "withdrawn" if first else "duplicate"
        row.label = value
        if value is None:
            return "withdrawn"
        if row.judged is None:
            row.judged = "correct" if value == row.prediction else "incorrect"
        if first:
            row.delay_class = class_of(received_s - row.time_s)
        return "joined" if first else "corrected"

    def expire(self, before_s: float) -> None:
        """Waiting labels received before then are let go."""
        for place, (_, _, received_s) in list(self.waiting.items()):
            if received_s < before_s:
                del self.waiting[place]
                self.outcomes["expired"] += 1


def _class(value: str | None, prediction: str) -> str | None:
    if value == RIGHT:
        return prediction
    if value == WRONG:
        return "1" if prediction != "1" else "not 1"
    return value
