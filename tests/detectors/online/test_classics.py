"""The classics against river 0.26.1 (BSD-3), alarm by alarm, on streams that every machine draws alike.

``ALARMS`` is what river's classes of the same names give, with these arguments: ``PageHinkley(threshold=10.0)``,
``KSWIN(window_size=60, stat_size=30)`` (whose sample is then all of the older half), ``HDDMA(two_sided_test=True)`` for
``both``, the others as they are. river's ADWIN forgets its window at an alarm, which the paper's does not: its first
alarm on each stream is compared.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from detectors.online.adwin import Adwin
from detectors.online.ddm import Ddm
from detectors.online.eddm import Eddm
from detectors.online.entries import NUMBER_TESTS, NumberEntry
from detectors.online.hddm_a import HddmA
from detectors.online.hddm_w import HddmW
from detectors.online.kswin import Kswin
from detectors.online.page_hinkley import PageHinkley
from tests.parts.state_bytes import from_bytes, to_bytes

ALARMS = {
    "ddm": [[56, 274, 571], [586, 810], [523, 650]],
    "eddm": [[334, 567, 671, 791, 905], [218, 500, 783, 937], [299, 494, 598, 721]],
    "hddm_a": [[635], [592], [624]],
    "hddm_a, both": [[635, 1098], [592, 1059], [624, 1074]],
    "hddm_w": [[672], [765], [647]],
    "page_hinkley": [[512, 1014], [507, 1005, 1462], [525, 1023]],
    "kswin": [[510, 1012], [526, 930, 1018], [355, 537, 692, 1023]],
}
FIRST_OF_ADWIN = {"errors": [671, 703, 671], "numbers": [543, 543, 543]}
TESTS = {
    "ddm": Ddm(),
    "eddm": Eddm(),
    "hddm_a": HddmA(),
    "hddm_a, both": HddmA(both_ways=True),
    "hddm_w": HddmW(),
    "page_hinkley": PageHinkley(threshold=10.0),
    "kswin": Kswin(size=60, newest=30),
}
EVERY = pytest.mark.parametrize("entry", NUMBER_TESTS, ids=lambda entry: entry.name)


def uniform(seed: int) -> list[float]:
    """1500 numbers in [0, 1) by a linear congruence, the same wherever it runs."""
    state, drawn = seed, []
    for _ in range(1500):
        state = (1103515245 * state + 12345) % 2**31
        drawn.append((state >> 8) / 2**23)
    return drawn


def errors(seed: int) -> list[float]:
    rates = [0.1] * 500 + [0.35] * 500 + [0.05] * 500
    return [float(value < rate) for value, rate in zip(uniform(seed), rates, strict=True)]


def numbers(seed: int) -> list[float]:
    return [value + (0.4 if 500 <= place < 1000 else 0.0) for place, value in enumerate(uniform(seed))]


def stream_for(name: str, seed: int) -> list[float]:
    return numbers(seed) if name in ("page_hinkley", "kswin") else errors(seed)


def fired(test, stream: list[float]) -> list[int]:
    state, found = test.start(), []
    for number, seen in enumerate(stream):
        state = test.step(state, seen)
        if test.alarm(state):
            found.append(number)
    return found


@pytest.mark.parametrize("name", TESTS)
def test_alarms_are_those_of_river(name: str) -> None:
    assert [fired(TESTS[name], stream_for(name, seed)) for seed in (1, 2, 3)] == ALARMS[name]


def test_the_first_alarms_of_adwin_are_those_of_river() -> None:
    assert [fired(Adwin(), errors(seed))[0] for seed in (1, 2, 3)] == FIRST_OF_ADWIN["errors"]
    assert [fired(Adwin(), numbers(seed))[0] for seed in (1, 2, 3)] == FIRST_OF_ADWIN["numbers"]


def test_adwin_s_window_is_what_it_holds_and_begins_near_the_change() -> None:
    test, state, stream = Adwin(), Adwin().start(), numbers(1)
    for number, seen in enumerate(stream):
        state = test.step(state, seen)
        kept = stream[number + 1 - state.width : number + 1]
        assert state.total == pytest.approx(sum(kept))
        assert sum(len(row) << size for size, row in enumerate(state.rows)) == state.width
        if number % 100 == 99:
            assert state.squares / state.width == pytest.approx(float(np.var(kept)), rel=0.02, abs=1e-9)
        if number == 800:
            assert 460 <= number + 1 - state.width <= 560
    assert max(len(row) for row in state.rows) <= 5


@pytest.mark.parametrize(("name", "reach"), [("hddm_a", 40), ("page_hinkley", 60), ("kswin", 25)])
def test_onsets_are_near_the_change(name: str, reach: int) -> None:
    test: Any = TESTS[name]
    state, found = test.start(), []
    for seen in stream_for(name, 1):
        state = test.step(state, seen)
        if test.alarm(state):
            found.append(test.onset(state))
    assert found[0] is not None
    assert abs(found[0].at - 500) <= reach


@EVERY
def test_a_classic_is_pure_goes_on_from_its_bytes_and_answers_anything(entry: NumberEntry) -> None:
    test = entry.make()
    live = kept = test.start()
    odd = [math.nan, math.inf, -math.inf, 1e300, -1e300, 0.5]
    stream = [*odd, *(errors(2)[400:700] if entry.observes != "numbers" else numbers(2)[400:700]), *odd]
    for seen in stream:
        before = to_bytes(live)
        after, again = test.step(live, seen), test.step(live, seen)
        assert to_bytes(live) == before
        assert to_bytes(after) == to_bytes(again)
        live, kept = after, test.step(from_bytes(type(kept), to_bytes(kept)), seen)
        assert to_bytes(live) == to_bytes(kept)
        assert not math.isnan(test.evidence(live))
        if not test.alarm(live):
            assert test.onset(live) is None
    assert not test.alarm(test.start())
    assert dataclasses.is_dataclass(test)


@EVERY
def test_a_constant_stream_never_alarms(entry: NumberEntry) -> None:
    for value in (0.0, 1.0):
        assert fired(entry.make(), [value] * 400) == []
