"""Every sequential test: those with a promise, and the classics, to compare them with.

To add one: write its file, add a line here; ``tests/detectors/conformance/test_online.py`` then runs over it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detectors.online.adwin import Adwin
from detectors.online.betting import Betting
from detectors.online.ddm import Ddm
from detectors.online.e_cusum import ECusum
from detectors.online.e_pooled import EPooled
from detectors.online.e_shiryaev_roberts import EShiryaevRoberts
from detectors.online.eddm import Eddm
from detectors.online.hddm_a import HddmA
from detectors.online.hddm_w import HddmW
from detectors.online.kswin import Kswin
from detectors.online.of_windows import OfWindows
from detectors.online.page_hinkley import PageHinkley
from detectors.online.share_bounds import ShareBounds
from detectors.online.share_test import ShareTest


@dataclass(frozen=True, slots=True)
class ShareEntry:
    """A test of shares with a promise: ``make(bounds, threshold, together)``."""

    name: str
    make: Callable[[ShareBounds, float, int], ShareTest]


SHARE_TESTS: tuple[ShareEntry, ...] = (
    ShareEntry("e_shiryaev_roberts", EShiryaevRoberts),
    ShareEntry("e_pooled", EPooled),
    ShareEntry("e_cusum", ECusum),
    ShareEntry("betting", Betting),
)


@dataclass(frozen=True, slots=True)
class NumberEntry:
    """A classic test of a stream of numbers, without a promise: ``make()`` is as its authors have it.

    ``observes``: errors (0 or 1), shares (in [0, 1]) or any numbers. ``of_windows``: the same over the windows of a
    column with so many watched shares, as monitors name it; None where windows' counts do not hold what it needs.
    """

    name: str
    make: Callable[[], Any]
    observes: str
    of_windows: Callable[[int], OfWindows] | None


def _mean(make: Callable[[], Any], needed: int) -> Callable[[int], OfWindows]:
    return lambda shares: OfWindows(make(), "mean", shares, needed)


def _rows(make: Callable[[], Any]) -> Callable[[int], OfWindows]:
    return lambda shares: OfWindows(make(), "rows", shares)


NUMBER_TESTS: tuple[NumberEntry, ...] = (
    # Windows are few: every one is looked at.
    NumberEntry("adwin", Adwin, "numbers", _mean(lambda: Adwin(clock=1), 11)),
    # A mean is in spreads of the reference, of which 50, summed up, would be a large change.
    NumberEntry("page_hinkley", PageHinkley, "numbers", _mean(lambda: PageHinkley(threshold=1.0), 30)),
    NumberEntry("kswin", Kswin, "numbers", _mean(Kswin, 100)),
    NumberEntry("hddm_a", HddmA, "shares", _rows(HddmA)),
    NumberEntry("hddm_w", HddmW, "shares", lambda shares: OfWindows(HddmW(), "shares", shares)),
    NumberEntry("ddm", Ddm, "errors", _rows(Ddm)),
    # It looks at the distances between errors, which need their order.
    NumberEntry("eddm", Eddm, "errors", None),
)
