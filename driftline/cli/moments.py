"""Moments as people write them on the command line."""

import re
from datetime import UTC, datetime

from driftline.clock import Clock
from driftline.durations import parse_duration
from driftline.errors import SettingsError

#: What help texts say of a moment.
FORMS = "like 2026-11-21, 2026-11-21T18:00 (UTC where it says no other zone), or 2h for so long ago"


def moment_s(option: str, text: str | None, clock: Clock) -> float | None:
    """Seconds since the epoch; None for None. Raises SettingsError with the option and what it was given.

    >>> moment_s("since", "1970-01-02T01:00+01:00", lambda: 0.0), moment_s("since", "2h", lambda: 9000.0)
    (86400.0, 1800.0)
    """
    if text is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?(ms|s|m|h|d|w)", text):
        return clock() - parse_duration(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"--{option}", [f"'{text}' is no moment; write it {FORMS}"]) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
