"""Every sequential test: those with a promise, which monitors name, and the classics, to compare them with.

To add one: write its file, add a line here; ``tests/detectors/conformance/test_online.py`` then runs over it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detectors.online.adwin import Adwin
from detectors.online.betting import Betting
from detectors.online.ddm import Ddm
from detectors.online.e_cusum import ECusum
from detectors.online.e_shiryaev_roberts import EShiryaevRoberts
from detectors.online.eddm import Eddm
from detectors.online.hddm_a import HddmA
from detectors.online.hddm_w import HddmW
from detectors.online.kswin import Kswin
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
    ShareEntry("e_cusum", ECusum),
    ShareEntry("betting", Betting),
)


@dataclass(frozen=True, slots=True)
class NumberEntry:
    """A classic test of a stream of numbers, without a promise: ``make()`` is as its authors have it.

    ``observes``: errors (0 or 1), shares (in [0, 1]) or any numbers.
    """

    name: str
    make: Callable[[], Any]
    observes: str


NUMBER_TESTS: tuple[NumberEntry, ...] = (
    NumberEntry("adwin", Adwin, "numbers"),
    NumberEntry("page_hinkley", PageHinkley, "numbers"),
    NumberEntry("kswin", Kswin, "numbers"),
    NumberEntry("hddm_a", HddmA, "shares"),
    NumberEntry("hddm_w", HddmW, "shares"),
    NumberEntry("ddm", Ddm, "errors"),
    NumberEntry("eddm", Eddm, "errors"),
)
