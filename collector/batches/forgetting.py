"""Leaving out what was erased before it came: whole events of a request, single rows of a subject."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.batches.contents import Intake, MonitorEvents
from collector.batches.subjects import SubjectHasher
from collector.store.erased import ErasedBook
from driftline.events import InferenceEvent


class Forgetting:
    """Knows what of a batch is not to be kept."""

    def __init__(self, book: ErasedBook, subjects: SubjectHasher) -> None:
        self.book = book
        self._subjects = subjects

    def event(self, event: InferenceEvent) -> bool:
        """Whether the event is of a request that was erased."""
        return self.book.request(event.namespace, event.model, event.request_id)

    def requests(self, namespace: str, model: str, request_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which of a model's requests were erased."""
        return self.book.requests(namespace, model, request_ids)

    def rows(self, events: MonitorEvents, intake: Intake) -> MonitorEvents:
        """The events without the rows of erased subjects; what was left out is noted in ``intake``."""
        monitor = events.monitor
        if monitor.subject is None or not self.book.any_subject(monitor.namespace, monitor.model):
            return events
        subjects = [
            subject
            for place, arrival in enumerate(events.arrivals)
            for subject in self._subjects.subjects(monitor, arrival.event, events.rows_of(place))
        ]
        named = (monitor.namespace, monitor.model)
        kept = np.array([not self.book.hashed(*named, subject) for subject in subjects], dtype=np.bool_)
        if kept.all():
            return events
        left = np.bincount(events.owners[kept], minlength=len(events.arrivals))
        stay = np.ones(len(events.arrivals), dtype=np.bool_)
        for place, (arrival, count) in enumerate(zip(events.arrivals, events.counts, strict=True)):
            if left[place] == count:
                continue
            stay[place] = left[place] > 0
            if stay[place]:
                intake.thinned.append((arrival, count - int(left[place])))
            else:
                intake.erased.append(arrival)
        places = np.flatnonzero(stay).tolist()
        return replace(
            events,
            arrivals=events.arrivals.take(places),
            columns=events.columns.take(np.flatnonzero(kept)),
            owners=(np.cumsum(stay) - 1)[events.owners[kept]],
            rows=events.rows[kept],
            counts=[int(left[place]) for place in places],
        )


def forgetting_of(subjects: SubjectHasher) -> Forgetting:
    """With a book of its own, which does not follow anything yet."""
    return Forgetting(ErasedBook(subjects.hash), subjects)


#: For those who read without a store.
NOTHING_ERASED: Final = forgetting_of(SubjectHasher())
