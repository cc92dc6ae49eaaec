"""What the sequential tests of shares are made of: bets, what they earn, and what becomes of an alarm.

Each watched share is bet on in both directions and at seven sizes: at most ``upper`` against odds that are
``exp(d)`` times those of ``upper``, d from 1/8 to 8 in doublings, and the same for at least ``lower``. Under the null
hypothesis (each share within its bounds, given all that came before) no bet is expected to earn:

    rows, each counted:  e = exp(d * hits / k) / (1 - p + p * exp(d)) ** (rows / k)
    the window's share:  e = (1 + x * (exp(d) - 1)) / (1 + p * (exp(d) - 1)),  x = hits / rows

Bets on one share see one cut through a column. Shares that are nested, as those of the values below each of several
cuts, are bet on together, too: on a *ladder* each share that a row hits raises it by a part of its height h in [0, 1],

    rows, each counted:  e = exp(d * sum of h) / (largest mean of exp(d * h) within all bounds) ** rows

so that a change that moves many bins a little earns on all of them at once.

The first takes rows as independent; ``k`` (``together``) rows may hang together as they like, because the k-th root of
a product of k factors is expected to be at most 1 where each factor is (Hoelder). The second takes the window as one
observation in [0, 1] and asks nothing of its rows: a bet of size ``(exp(d) - 1) / (1 + p * (exp(d) - 1))`` on it.

A test adds up bets that began at every window so far (Shiryaev-Roberts) or keeps the best of them (CUSUM); the weighted
mean over all bets is an *e-detector*: its expectation at any stopping time is at most the expected number of windows.
So of ``m`` windows without change, ``m / threshold`` are expected to begin a false alarm, at most, however the bets
hang together. An alarm stands until its share is back, on evidence as strong as that which raised it: until the bet
that earned most on it since the change began has lost a factor of ``threshold``. Then the test begins anew.

Sources: J. Shin, A. Ramdas, A. Rinaldo, E-detectors: a nonparametric framework for sequential change detection, 2022
(definition 2.2, theorem 2.4, section 3); I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by
betting, 2020; G. Lorden, Procedures for reacting to a change in distribution, 1971.
"""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from detectors.online.contract import Counted, Onset
from detectors.online.share_bounds import ShareBounds

#: Log odds ratios that are bet on.
SIZES = np.array([0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
#: Observations that a state remembers, to tell when a change began.
REMEMBERED = 128
#: Odds at which a start counts as unlikely beside another.
ODDS = 20.0
_NEVER = -math.inf
_ROUNDING = 1e-12
# Beyond it, powers of e leave float64.
_LARGEST = 709.0


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm that stands: the bet that raised it, since when, and the hits of every share and the rows since then.

    Per size of bet on that share, in that direction: ``earned`` since the change began, and ``lost`` from its best.
    """

    bet: int
    onset: Onset
    hits: tuple[float, ...]
    rows: int
    earned: tuple[float, ...]
    lost: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ShareState:
    """What a test of shares knows: capital per bet, the newest observations, and the alarm that stands.

    ``logs``: of the capital, weights included; ``hits`` has shape (remembered, shares), ``rows`` (remembered,);
    ``alarms`` counts those that began. ``learnt``: what a test adds to its reference, hits of every share and then the
    rows; empty for those that add nothing.
    """

    seen: int
    alarms: int
    logs: NDArray[np.float64]
    hits: NDArray[np.float64]
    rows: NDArray[np.int64]
    standing: tuple[float, ...] = ()
    learnt: tuple[float, ...] = ()

    @property
    def alarm(self) -> Standing | None:
        """The alarm that stands, None without one."""
        if not self.standing:
            return None
        bet, at, earliest, latest, back, rows, *others = self.standing
        onset = Onset(int(at), int(earliest), int(latest), bool(back))
        sizes = len(SIZES)
        earned, lost, hits = others[:sizes], others[sizes : 2 * sizes], others[2 * sizes :]
        return Standing(int(bet), onset, tuple(hits), int(rows), tuple(earned), tuple(lost))


def _packed(found: Standing) -> tuple[float, ...]:
    onset = found.onset
    since = (onset.at, onset.earliest, onset.latest, onset.reaches_back)
    return tuple(float(part) for part in (found.bet, *since, found.rows, *found.earned, *found.lost, *found.hits))


@dataclass(frozen=True, slots=True)
class ShareTest:
    """A test of several shares at once; ``threshold`` at least 1. Subclasses say how bets of many starts are joined."""

    bounds: ShareBounds
    threshold: float
    together: int = 1
    _rises: NDArray[np.float64] = field(init=False, repr=False)
    _size: NDArray[np.float64] = field(init=False, repr=False)
    _cost: NDArray[np.float64] = field(init=False, repr=False)
    _weights: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Bets lie as (direction, size, share or ladder); those down are bets up on the rows that do not hit.
        rises = self.bounds.rises()
        count = len(self.bounds.upper) + len(rises)
        size = np.broadcast_to(SIZES[None, :, None], (2, len(SIZES), count))
        cost = self._costs(np.stack((self.bounds.upper, 1.0 - self.bounds.lower)), rises)
        # Where any share is allowed there is nothing to bet on.
        with np.errstate(divide="ignore"):
            weights = np.log(self._first_capital(cost < size * (1.0 - _ROUNDING)))
        object.__setattr__(self, "_rises", rises)
        object.__setattr__(self, "_size", size)
        object.__setattr__(self, "_cost", cost)
        object.__setattr__(self, "_weights", weights.ravel())

    # --- the contract ---------------------------------------------------------------------------------------------
    def start(self) -> ShareState:
        """Nothing seen."""
        shares = len(self.bounds.upper)
        return ShareState(0, 0, self._nothing(), np.empty((0, shares)), np.empty(0, dtype=np.int64))

    def step(self, state: ShareState, seen: Counted) -> ShareState:
        """One window, or one event, further; one without rows says nothing of any share."""
        rows = max(int(seen.rows), 0)
        hits = np.fmin(np.fmax(seen.hits, 0.0), float(rows))  # what is no number hits nothing
        earned = self.earned(hits, rows, state.learnt)
        standing = state.alarm
        state = ShareState(
            seen=state.seen + 1,
            alarms=state.alarms,
            logs=state.logs if standing else self._joined(state.logs) + earned,
            hits=np.concatenate((state.hits[-REMEMBERED + 1 :], hits[None])),
            rows=np.concatenate((state.rows[-REMEMBERED + 1 :], (rows,))),
            standing=state.standing,
            learnt=state.learnt if standing else self._learning(state.learnt, hits, rows),
        )
        if standing is not None:
            return self._stand(state, standing, earned, hits)
        if self.log_evidence(state) < math.log(self.threshold):
            return state
        raised = self._raised(state)
        # What came since the change is not what was expected.
        learnt = self._learning(state.learnt, -np.array(raised.hits), -raised.rows)
        return replace(state, alarms=state.alarms + 1, standing=_packed(raised), learnt=learnt)

    def alarm(self, state: ShareState) -> bool:
        """Whether an alarm stands."""
        return bool(state.standing)

    def evidence(self, state: ShareState) -> float:
        """The e-detector's value: the mean capital over all bets; an alarm begins when it reaches the threshold."""
        return math.exp(min(self.log_evidence(state), _LARGEST))

    def log_evidence(self, state: ShareState) -> float:
        """The natural logarithm of the evidence; minus infinity before the first window."""
        top = float(state.logs.max(initial=_NEVER))
        return top if top == _NEVER else top + math.log(float(np.exp(state.logs - top).sum()))

    def onset(self, state: ShareState) -> Onset | None:
        """The most likely start of the change, and starts at most twenty times less likely."""
        standing = state.alarm
        return None if standing is None else standing.onset

    @property
    def learns(self) -> bool:
        """Whether what it sees becomes part of what it expects."""
        return False

    # --- what a bet is ----------------------------------------------------------------------------------------------
    def earned(self, hits: NDArray[np.float64], rows: int, learnt: tuple[float, ...] = ()) -> NDArray[np.float64]:
        """Per bet, the logarithm of what one observation multiplies its capital by, after what was ``learnt``."""
        if rows <= 0:
            return np.zeros(self._weights.shape)
        heights = np.concatenate((hits, self._rises @ hits))
        sides = np.concatenate((heights, rows - heights)).reshape(2, 1, -1)
        return self._earned(sides, rows, self._costs_after(learnt, hits, rows)).ravel()

    def _earned(self, hits: NDArray[np.float64], rows: int, cost: NDArray[np.float64]) -> NDArray[np.float64]:
        return (hits * self._size - rows * cost) / min(self.together, rows)

    def _costs_after(self, _learnt: tuple[float, ...], _hits: NDArray[np.float64], _rows: int) -> NDArray[np.float64]:
        """What a row costs each bet; the bounds alone say it."""
        return self._cost

    def _learning(self, learnt: tuple[float, ...], _hits: NDArray[np.float64], _rows: int) -> tuple[float, ...]:
        """What is known after one more observation; nothing here."""
        return learnt

    def _costs(self, null: NDArray[np.float64], rises: NDArray[np.float64]) -> NDArray[np.float64]:
        """Per bet, the logarithm of the most that a row's factor may be expected to be; ``null``: shape (2, shares)."""
        alone = np.log1p(null[:, None, :] * np.expm1(SIZES)[None, :, None])
        ladders = [_ladder_costs(null, rise) for rise in rises]
        return np.concatenate((alone, *(each[:, :, None] for each in ladders)), axis=2)

    def _first_capital(self, possible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What each bet that is possible begins with, 1 in all."""
        return possible / max(1, int(possible.sum()))

    def _joined(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    # --- alarms -----------------------------------------------------------------------------------------------------
    def _nothing(self) -> NDArray[np.float64]:
        return np.full(self._weights.shape, _NEVER)

    def _raised(self, state: ShareState) -> Standing:
        bet = int(np.argmax(state.logs))
        # What each size of this bet would have earned from each remembered start until now.
        seen = zip(state.hits, state.rows.tolist(), strict=True)
        per_window = [self._sizes(bet, self.earned(*each, state.learnt)) for each in seen]
        since = np.cumsum(np.array(per_window)[::-1], axis=0)[::-1]
        best = since[:, self._place(bet)]
        likely, first = np.flatnonzero(best >= best.max() - math.log(ODDS)), state.seen - len(best)
        at = int(np.argmax(best))
        onset = Onset(first + at, first + int(likely[0]), first + int(likely[-1]), bool(likely[0] == 0 and first > 0))
        hits, rows = tuple(state.hits[at:].sum(axis=0).tolist()), int(state.rows[at:].sum())
        return Standing(bet, onset, hits, rows, tuple(since[at].tolist()), (0.0,) * len(SIZES))

    def _stand(
        self, state: ShareState, standing: Standing, earned: NDArray[np.float64], hits: NDArray[np.float64]
    ) -> ShareState:
        newest = self._sizes(standing.bet, earned)
        lost = np.maximum(np.array(standing.lost), 0.0) - newest
        total = np.array(standing.earned) + newest
        if lost[int(np.argmax(total))] >= math.log(self.threshold):
            return replace(state, logs=self._nothing(), hits=state.hits[:0], rows=state.rows[:0], standing=())
        further = Standing(
            standing.bet,
            standing.onset,
            tuple((np.array(standing.hits) + hits).tolist()),
            standing.rows + int(state.rows[-1]),
            tuple(total.tolist()),
            tuple(lost.tolist()),
        )
        return replace(state, standing=_packed(further))

    def _place(self, bet: int) -> int:
        return int(np.unravel_index(bet, self._size.shape)[1])

    def _sizes(self, bet: int, earned: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of what all bets earned, that of all sizes of one bet; shape (sizes,)."""
        direction, _size, share = np.unravel_index(bet, self._size.shape)
        sizes: NDArray[np.float64] = earned.reshape(self._size.shape)[direction, :, share]
        return sizes


def _ladder_costs(null: NDArray[np.float64], rise: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of the largest mean of ``exp(d * height)`` within the bounds; shape (directions, sizes).

    That mean is 1 plus, for each step, what it adds times the share of rows that reach it: largest where every share is
    at its bound. A larger share has the larger bound, so that the bounds tell the order of the steps; those who miss
    shares climb the ladder from its other end.
    """
    climbed = np.flatnonzero(rise)
    rises, found = tuple(rise[climbed].tolist()), []
    for bounds in null[:, climbed]:
        steps = np.argsort(-bounds, kind="stable")
        found.append(np.log(1.0 + _added(rises, steps.tobytes()) @ bounds[steps]))
    return np.array(found)


# Nested shares have one order, whatever their size: it is worked out once.
@lru_cache(maxsize=1024)
def _added(rises: tuple[float, ...], steps: bytes) -> NDArray[np.float64]:
    """What each step, in this order (of int64), adds to ``exp(d * height)``; shape (sizes, steps)."""
    heights = np.cumsum(np.array(rises)[np.frombuffer(steps, dtype=np.intp)])
    return np.diff(np.exp(SIZES[:, None] * heights[None, :]), prepend=1.0, axis=1)
