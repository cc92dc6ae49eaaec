"""Results as columns are the same results."""

from dataclasses import replace

from driftline.result_columns import ResultColumns, joined
from driftline.results import Interval, Result, StreamKey, Verdict, WindowKey

KEY = WindowKey(StreamKey("default", "flights", "1", "stable"), "", 0.0, 3600.0)
FIRST = Result(KEY, "x", "ks", "drift", 0.1, "larger_is_worse", Verdict.OK, "as expected", 100, p_value=0.4)
OTHERS = [
    Result(
        KEY, "x", "psi", "drift", 0.2, "larger_is_worse", Verdict.WARNING, "moved", 100, 1000, 1e-9, Interval(1, 0, 2)
    ),
    Result(
        KEY, "", "accuracy", "performance", 0.9, "smaller_is_worse", Verdict.OK, "good", 50, 9, None, None, 0.5, 0.8
    ),
]


def test_results_come_back_as_they_were_put_in():
    found = ResultColumns.of(KEY, [FIRST, *OTHERS])
    assert list(found) == [FIRST, *OTHERS]
    assert (found[0], found[-1], found[1:], len(found)) == (FIRST, OTHERS[-1], OTHERS, 3)
    assert found == [FIRST, *OTHERS]
    assert found != [FIRST]
    assert found != OTHERS[0]
    assert ResultColumns.of(KEY, found) is found


def test_parts_are_joined_in_their_order_and_stay_as_they_were():
    head, tail = ResultColumns.of(KEY, [FIRST]), ResultColumns.of(KEY, OTHERS)
    assert joined(KEY, (head, [], tail, [FIRST])) == [FIRST, *OTHERS, FIRST]
    assert (head, tail) == ([FIRST], OTHERS)
    assert not joined(KEY, [])


def test_some_results_are_replaced_and_the_others_are_not_touched():
    found = ResultColumns.of(KEY, [FIRST, *OTHERS])
    (place,) = found.places("performance", "")
    worse = replace(OTHERS[1], verdict=Verdict.WARNING, reason="worse")
    assert found.replaced({place: worse}) == [FIRST, OTHERS[0], worse]
    assert found == [FIRST, *OTHERS]
    assert found.places("drift", "y") == []
