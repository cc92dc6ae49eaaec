"""Whether the collector works, waits for work, waits for a part that is away, or is stuck."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from collector.operating.activity import Activity

State = Literal["working", "idle", "waiting", "stuck", "stopped"]

#: A consumer that is given nothing although there is more may be waiting for its share of a group that changes.
_GIVEN_NOTHING_FACTOR = 5
#: Sentences about what waits for people that are told at once.
_TOLD = 3
_WHY = (
    "Whoever had these partitions was killed, and they are shared anew once kafka_session_s is over, or it is held up: "
    "see its own health"
)
#: A step that does not end, and what is then in the way.
_HELD_BY = {
    "start": "it has not begun",
    "read": "the source does not answer: a poll has not returned",
    "commit": "a batch is not committed: the database holds it, or it takes that long to decode",
    "sweep": "waiting labels cannot be looked through: the database holds the transaction",
    "wait": "it pauses after a refusal and does not come back",
}


@dataclass(frozen=True, slots=True)
class HealthReport:
    """``waiting_records``: read but not committed; ``idle_s``: seconds since the loop last got to its end."""

    state: State
    detail: str
    waiting_records: int
    idle_s: float

    @property
    def healthy(self) -> bool:
        """Whether a new start would change nothing for the better."""
        return self.state not in ("stuck", "stopped")


class Health:
    """Watches the consumer's thread from outside.

    A loop with nothing to read still turns: idle is not stuck. One whose database is away turns as well, and says what
    it waits for; a new start would not bring the database back. Stuck is a step that does not end, or a source that
    gives nothing although it says that there is more.
    """

    def __init__(self, activity: Activity, thread: threading.Thread, stuck_after_s: float) -> None:
        self._activity = activity
        self._thread = thread
        self._stuck_after_s = stuck_after_s

    def report(self) -> HealthReport:
        """How it is now."""
        activity = self._activity
        state, detail = self._state()
        held = [*dict.fromkeys(activity.held.values()), *self._resting()]
        if held and state in ("working", "idle"):
            state, detail = "waiting", f"{'; '.join(held[:_TOLD])}. Of the rest: {detail}"
        return HealthReport(state, detail, activity.waiting, activity.elapsed_s(activity.last_turn_s))

    def _resting(self) -> Iterator[str]:
        resting = self._activity.resting()
        if not resting:
            return
        named, others = ", ".join(sorted(resting)[:_TOLD]), len(resting) - _TOLD
        more = f" and {others} more" if others > 0 else ""
        still_s = self._activity.elapsed_s(min(each.since_s for each in resting.values()))
        waiting = sum(each.records for each in resting.values())
        yield f"nobody reads {named}{more}: {waiting} records wait, and none were stored for {still_s:.0f} s. {_WHY}"

    def _state(self) -> tuple[State, str]:
        activity, limit_s = self._activity, self._stuck_after_s
        step, step_s = activity.step()
        trouble, behind_since_s = activity.trouble, activity.behind_since_s
        distance = sum(activity.distances().values())
        if not self._thread.is_alive():
            return "stopped", "the consumer has ended; the log says why"
        if step_s > limit_s:
            return "stuck", f"{_HELD_BY[step]}, for {step_s:.0f} s"
        if trouble is not None:
            since_s = activity.elapsed_s(trouble.since_s)
            return "waiting", f"for {since_s:.0f} s, tried {trouble.tries} times: {trouble.cause}"
        if (away := activity.away) is not None:
            since_s = activity.elapsed_s(away.since_s)
            return "waiting", f"for {since_s:.0f} s, tried {away.tries} times: {away.cause}"
        if behind_since_s is not None and distance:
            behind_s = activity.elapsed_s(behind_since_s)
            if behind_s > limit_s * _GIVEN_NOTHING_FACTOR:
                return "stuck", f"the source gives nothing for {behind_s:.0f} s, and {distance} are still to be read"
            return "working", f"{distance} are still to be read"
        if distance or activity.waiting:
            return "working", "batches are read and committed"
        return "idle", "everything is read and committed"
