"""The same hour of the same weekday in the weeks before: for traffic that is another at night and on Sundays.

Weeks in which the window was called drifted, or had no rows, are passed over; twice as many as wanted are looked
through. Hours are those of UTC: where clocks change, two weeks in a year are compared an hour off.

>>> from driftline.results import StreamKey
>>> key = WindowKey(StreamKey("n", "m", "1", "stable"), "", 1209600.0, 1213200.0)
>>> candidates(key, ReferenceSpec(path="f", baseline="seasonal", windows=3))[:3]
[604800.0, 0.0, -604800.0]
"""

from driftline.monitor_detectors import WEEK_S, ReferenceSpec
from driftline.results import WindowKey

LOOKED_THROUGH = 2


def candidates(key: WindowKey, spec: ReferenceSpec) -> list[float]:
    """Starts of the windows that may be part of it, newest first."""
    return [key.start_s - week * WEEK_S for week in range(1, LOOKED_THROUGH * spec.windows + 1)]
