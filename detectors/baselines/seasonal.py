"""The same hour of the same weekday in the weeks before: for traffic that is another at night and on Sundays.

Weeks in which the window was called drifted, or had no rows, are passed over; twice as many as wanted are looked
through. Hours and weekdays are those of the monitor's time zone, whose clocks may change. Windows themselves lie where
they lie, in UTC: of each week those count whose local time is off by half a window at most. A window of an hour so has
none in a week that lacks its hour, and two in a week that has its hour twice.

>>> from driftline.results import StreamKey
>>> key = WindowKey(StreamKey("n", "m", "1", "stable"), "", 1209600.0, 1213200.0)
>>> candidates(key, ReferenceSpec(path="f", baseline="seasonal", windows=3))[:3]
[604800.0, 0.0, -604800.0]
"""

from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from driftline.monitor_detectors import WEEK_S, ReferenceSpec
from driftline.results import WindowKey

LOOKED_THROUGH = 2
_WEEK = timedelta(weeks=1)


def candidates(key: WindowKey, spec: ReferenceSpec) -> list[float]:
    """Starts of the windows that may be part of it, newest first."""
    zone = ZoneInfo(spec.time_zone)
    weeks = range(1, LOOKED_THROUGH * spec.windows + 1)
    return [start_s for week in weeks for start_s in _at_the_same_local_time(key, week, zone)]


def _at_the_same_local_time(key: WindowKey, week: int, zone: tzinfo) -> list[float]:
    """Starts of the windows that lay ``week`` weeks before by the clocks of ``zone``, the later one first."""
    size_s, in_utc_s = key.end_s - key.start_s, key.start_s - week * WEEK_S
    middle = datetime.fromtimestamp(key.start_s + size_s / 2, zone)
    then, wanted_s = middle.replace(tzinfo=None) - week * _WEEK, in_utc_s + _ahead_s(middle)
    found = []
    # A local time that came twice has two offsets from UTC, both right; one that never came has two that are wrong.
    for fold in (1, 0):
        moved_s = _ahead_s(middle) - _ahead_s(then.replace(tzinfo=zone, fold=fold))
        start_s = in_utc_s + round(moved_s / size_s) * size_s
        local_s = start_s + _ahead_s(datetime.fromtimestamp(start_s + size_s / 2, zone))
        if abs(local_s - wanted_s) <= size_s / 2 and start_s not in found:
            found.append(start_s)
    return found


def _ahead_s(moment: datetime) -> float:
    """How far the clocks of its zone are ahead of UTC, in seconds."""
    offset = moment.utcoffset()
    return 0.0 if offset is None else offset.total_seconds()
