"""The windows before: what changed against the last days, whatever training data looked like.

The newest undrifted windows, but for the ``skip`` newest of all: a change that takes several windows to come would else
be part of what it is compared with. As windows that were called drifted are left out, a lasting change stays drifted
until they have left the span that is looked through (four times as many as wanted); then the file is what remains.

>>> from driftline.results import StreamKey
>>> key = WindowKey(StreamKey("n", "m", "1", "stable"), "", 7200.0, 10800.0)
>>> candidates(key, ReferenceSpec(path="f", windows=1, minimum_windows=1))
[0.0, -3600.0, -7200.0, -10800.0]
"""

from driftline.monitor_detectors import ReferenceSpec
from driftline.results import WindowKey

#: Windows looked through for each one wanted: quiet nights and drifted days are passed over.
LOOKED_THROUGH = 4


def candidates(key: WindowKey, spec: ReferenceSpec) -> list[float]:
    """Starts of the windows that may be part of it, newest first."""
    size_s = key.end_s - key.start_s
    newest = spec.skip + 1
    return [key.start_s - place * size_s for place in range(newest, newest + LOOKED_THROUGH * spec.windows)]
