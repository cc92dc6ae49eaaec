"""Every sequential test that a monitor can name, in one table.

To add one: write its file, add a line here; ``tests/detectors/conformance/test_online.py`` then runs over it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from detectors.online.betting import Betting
from detectors.online.e_cusum import ECusum
from detectors.online.e_shiryaev_roberts import EShiryaevRoberts
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
