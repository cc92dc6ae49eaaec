"""False alarms of the sequential tests by simulation, the exact mean run where it is known, and onsets."""

import itertools
import math

import numpy as np
import pytest

from detectors.counts.layout import ColumnLayout
from detectors.online.betting import Betting
from detectors.online.column_shares import NAMED, column_shares
from detectors.online.contract import Counted, run
from detectors.online.e_cusum import ECusum
from detectors.online.e_shiryaev_roberts import EShiryaevRoberts
from detectors.online.entries import SHARE_TESTS, ShareEntry
from detectors.online.share_bounds import ShareBounds, bounds, exactly
from detectors.online.share_test import SIZES

EVERY = pytest.mark.parametrize("entry", SHARE_TESTS, ids=lambda entry: entry.name)


def alarms(test, windows) -> int:
    state = test.start()
    for seen in windows:
        state = test.step(state, seen)
    return state.alarms


@EVERY
def test_false_alarms_stay_within_the_promise(entry: ShareEntry) -> None:
    rng, shares = np.random.default_rng(20), np.array([0.1, 0.4])
    test = entry.make(exactly(shares), 40.0, 1)
    count = sum(
        alarms(test, (Counted(rng.binomial(80, shares).astype(float), 80) for _ in range(100))) for _ in range(60)
    )
    # 6000 windows / 40 = 150 expected at most; runs between alarms vary no more than exponential ones.
    assert count <= 150 + 4 * math.sqrt(150)


@EVERY
def test_a_small_reference_raises_no_more_alarms_than_a_large_one_is_allowed(entry: ShareEntry) -> None:
    rng, count = np.random.default_rng(21), 0
    for _ in range(40):
        reference = rng.binomial(150, [0.1, 0.4]).astype(float)
        test = entry.make(bounds(reference, 150, confidence=0.99), 40.0, 1)
        windows = [Counted(rng.binomial(500, [0.1, 0.4]).astype(float), 500) for _ in range(60)]
        count += alarms(test, windows)
    assert count <= 40 * 60 / 40 + 4 * math.sqrt(60)


def test_the_shares_of_a_small_reference_taken_for_exact_raise_alarms_for_ever() -> None:
    """Why bounds are needed: the same streams against the reference's own shares."""
    rng, alarmed = np.random.default_rng(21), 0
    for _ in range(20):
        reference = rng.binomial(150, [0.1, 0.4]) / 150
        test = EShiryaevRoberts(exactly(reference), 1000.0)
        windows = [Counted(rng.binomial(500, [0.1, 0.4]).astype(float), 500) for _ in range(60)]
        alarmed += alarms(test, windows) > 0
    assert alarmed >= 10  # 20 * 60 / 1000 = 1.2 would be allowed


def test_rows_that_come_in_tens_break_the_promise_unless_the_test_is_told() -> None:
    def stream(rng: np.random.Generator) -> list[Counted]:
        return [Counted(np.array([10.0 * rng.binomial(20, 0.2)]), 200) for _ in range(50)]

    rng = np.random.default_rng(22)
    streams = [stream(rng) for _ in range(30)]  # 1500 windows; threshold 300: 5 false alarms are allowed
    told = EShiryaevRoberts(exactly(np.array([0.2])), 300.0, together=10)
    not_told = EShiryaevRoberts(exactly(np.array([0.2])), 300.0)
    assert sum(alarms(told, each) for each in streams) <= 5 + 4 * math.sqrt(5)
    assert sum(alarms(Betting(exactly(np.array([0.2])), 300.0), each) for each in streams) <= 5 + 4 * math.sqrt(5)
    assert sum(alarms(not_told, each) for each in streams) > 50


def test_evidence_is_what_the_formula_says_by_hand() -> None:
    """Every bet of every start written out, on four windows of two shares."""
    null, rows = np.array([0.2, 0.6]), [10, 7, 12, 9]
    hits = [np.array([2.0, 6.0]), np.array([3.0, 1.0]), np.array([5.0, 5.0]), np.array([0.0, 9.0])]

    def ratio(share: int, *, up: bool, size: float, at: int) -> float:
        p = null[share] if up else 1 - null[share]
        q = p * math.exp(size) / (1 - p + p * math.exp(size))
        hit = hits[at][share] if up else rows[at] - hits[at][share]
        return (q / p) ** hit * ((1 - q) / (1 - p)) ** (rows[at] - hit)

    bets = list(itertools.product((0, 1), (True, False), SIZES))
    summed = best = 0.0
    for share, up, size in bets:
        starts = [math.prod(ratio(share, up=up, size=size, at=at) for at in range(first, 4)) for first in range(4)]
        summed += sum(starts) / len(bets)
        best += max(starts) / len(bets)
    for test, expected in ((EShiryaevRoberts(exactly(null), 1e9), summed), (ECusum(exactly(null), 1e9), best)):
        state = test.start()
        for seen, count in zip(hits, rows, strict=True):
            state = test.step(state, Counted(seen, count))
        assert test.evidence(state) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.07, 0.5, 1.0])
def test_a_bet_earns_nothing_on_average_under_every_null_share_by_enumeration(share: float) -> None:
    rows, bound = 6, 0.5
    test = EShiryaevRoberts(exactly(np.array([bound])), 1e9)
    spread = Betting(exactly(np.array([bound])), 1e9)
    chances = [math.comb(rows, hits) * share**hits * (1 - share) ** (rows - hits) for hits in range(rows + 1)]
    for each in (test, spread, EShiryaevRoberts(exactly(np.array([bound])), 1e9, together=3)):
        capital = np.array([np.exp(each.earned(np.array([float(hits)]), rows)) for hits in range(rows + 1)])
        means = np.array(chances) @ capital
        up, down = means[: len(SIZES)], means[len(SIZES) :]
        assert share > bound or (up <= 1 + 1e-12).all()
        assert share < bound or (down <= 1 + 1e-12).all()


def test_bounds_are_all_right_as_often_as_they_say() -> None:
    rng, shares = np.random.default_rng(23), np.array([0.0, 0.02, 0.3, 0.5, 0.99])
    right = 0
    for _ in range(2000):
        found = bounds(rng.binomial(120, shares).astype(float), 120, confidence=0.9)
        right += bool(((found.lower <= shares) & (shares <= found.upper)).all())
    assert right / 2000 >= 0.9 - 4 * math.sqrt(0.09 / 2000)


def test_the_onset_is_found_and_its_range_holds_the_truth_nine_times_in_ten() -> None:
    rng, held, off = np.random.default_rng(24), 0, []
    for _ in range(60):
        shares = [0.2] * 25 + [0.3] * 60
        test = ECusum(exactly(np.array([0.2])), 1000.0)
        state = test.start()
        for share in shares:
            state = test.step(state, Counted(np.array([float(rng.binomial(60, share))]), 60))
            if test.alarm(state):
                break
        onset = test.onset(state)
        assert onset is not None
        held += onset.earliest <= 25 <= onset.latest
        off.append(abs(onset.at - 25))
    assert held >= 48
    assert np.median(off) <= 3


def test_numbers_are_watched_at_the_tenths_of_the_reference_and_beside_them() -> None:
    column = ColumnLayout("x", "numeric", cuts=np.arange(1.0, 20.0))
    reference = np.concatenate(([2], np.full(20, 10), [3, 5]))
    watched = column_shares(column, reference)
    assert watched.names[0] == "values below 1"  # half a tenth
    assert watched.names[-3:] == ("minus infinity", "infinity", "missing values")
    seen = watched.of(reference)
    assert seen.rows == 210
    assert seen.hits.tolist() == [12.0, *(22.0 + 20 * step for step in range(9)), 192.0, 2.0, 3.0, 5.0]
    assert watched.ladders.sum(axis=1).tolist() == pytest.approx([1.0, 1.0])
    assert (watched.ladders[:, -3:] == 0.0).all()
    assert (watched.ladders[:, :-3] > 0.0).all()


def test_the_tails_of_numbers_are_watched_to_their_ends() -> None:
    column = ColumnLayout("x", "numeric", cuts=np.arange(0.0, 1001.0))
    reference = np.concatenate(([0], [0], np.full(1000, 5), [0], [0, 0]))
    names = column_shares(column, reference).names
    assert names[:4] == ("values below 0", "values below 5", "values below 20", "values below 50")
    assert names[-7:-3] == ("values below 950", "values below 980", "values below 995", "values below 1000")
    assert column_shares(column, np.zeros_like(reference)).names[-1] == "missing values"


@EVERY
@pytest.mark.parametrize("together", [1, 3])
def test_a_ladder_earns_nothing_on_average_at_the_ends_of_its_bounds_by_enumeration(
    entry: ShareEntry, together: int
) -> None:
    """Three nested shares, each at one of its bounds: all windows of three rows are written out."""
    lower, upper = np.array([0.1, 0.3, 0.5]), np.array([0.2, 0.4, 0.7])
    ladders = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    test = entry.make(ShareBounds(lower, upper, ladders), 1e9, together)
    ladder_bets = np.zeros((2, len(SIZES), 5), dtype=bool)
    ladder_bets[:, :, 3:] = True
    places, rows = np.tril(np.ones((4, 3)), -1)[:, ::-1], 3  # a row is in none, the largest, two, or all of them
    largest = np.zeros(ladder_bets.sum())
    for shares in itertools.product(*zip(lower, upper, strict=True)):
        chances = -np.diff([1.0, *shares[::-1], 0.0])
        means = np.zeros(ladder_bets.size)
        for drawn in itertools.product(range(4), repeat=rows):
            hits = places[list(drawn)].sum(axis=0)
            means += np.prod(chances[list(drawn)]) * np.exp(test.earned(hits, rows))
        assert (means <= 1 + 1e-9).all()
        largest = np.maximum(largest, means[ladder_bets.ravel()])
    if together == 1:
        assert largest.min() > 0.99  # and no more is paid for a bet than it costs, where rows are independent


@pytest.mark.parametrize("make", [EShiryaevRoberts, ECusum])
def test_what_moves_many_bins_is_found_sooner_on_a_ladder(make: type[EShiryaevRoberts] | type[ECusum]) -> None:
    below = exactly(np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 0.995]))
    steps = -np.log1p(-below.upper)  # the values at which an exponential law has so many rows below
    laddered, delays = below.with_ladders(np.diff(steps, prepend=0.0)[None] / steps[-1]), np.zeros(2)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        moved = [(rng.exponential(1.3, 20)[:, None] < steps).sum(axis=0).astype(float) for _ in range(100)]
        for place, limits in enumerate((below, laddered)):
            delays[place] += run(make(limits, 1000.0), [Counted(hits, 20) for hits in moved])[0]
    assert delays[1] < 0.95 * delays[0]


@EVERY
def test_false_alarms_of_columns_stay_within_the_promise(entry: ShareEntry) -> None:
    """Columns as monitors watch them, ladders and all, against references that are samples."""
    rng, count = np.random.default_rng(26), 0
    column = ColumnLayout("x", "numeric", cuts=np.linspace(0.0, 1.0, 101))
    for _ in range(20):
        reference = np.concatenate(([0, 0], rng.multinomial(2000, np.full(100, 0.01)), [0, 0, 0]))
        shares = column_shares(column, reference)
        before = shares.of(reference)
        test = entry.make(bounds(before.hits, before.rows).with_ladders(shares.ladders), 40.0, 1)
        windows = rng.multinomial(300, np.full(100, 0.01), 60)
        count += alarms(test, (shares.of(np.concatenate(([0, 0], each, [0, 0, 0]))) for each in windows))
    assert count <= 20 * 60 / 40 + 4 * math.sqrt(30)


def test_rare_categories_are_watched_together() -> None:
    names = tuple(f"c{number:02d}" for number in range(20))
    column = ColumnLayout("c", "categorical", categories=names)
    reference = np.concatenate((np.arange(20, 0, -1), [4, 6]))
    watched = column_shares(column, reference)
    assert watched.names == (*names[:NAMED], "rarer categories", "unseen values", "missing values")
    assert watched.of(reference).hits.tolist()[NAMED:] == [15.0, 4.0, 6.0]


def test_a_stream_of_events_stands_for_one_alarm_until_it_is_over() -> None:
    test = ECusum(exactly(np.array([0.1])), 100.0)
    quiet = [0.0] * 9 + [1.0]
    events = quiet * 3 + [1.0] * 20 + quiet * 20 + [1.0] * 20
    first, second = run(test, [Counted(np.array([event]), 1) for event in events])
    assert 30 <= first < 40
    assert 250 <= second < 260
