"""The errors of driftline.

::

    DriftlineError
      PermanentError          the same input will fail again: dead-letter it, refuse it, do not retry
        EventError            an event or label breaks its contract (all faults in one)
        DecodeError           a payload cannot become columns
        MonitorError          a monitor file is wrong (all faults in one)
        SettingsError         a setting is wrong (all faults in one)
        ReferenceDataError    a reference cannot be built or does not fit its monitor
      TransientError          the same input may pass later: retry with a bound
        UnavailableError      a part (broker, database, server) is not there now

Retry logic everywhere asks only one question: permanent or transient.
"""

import copyreg
from collections.abc import Sequence
from typing import Any


class DriftlineError(Exception):
    """Base of all errors raised on purpose by driftline; each can be pickled, and so raised in another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An error is made again of its message and attributes: its own arguments are not those of its base.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class PermanentError(DriftlineError):
    """The same input will fail again."""


class TransientError(DriftlineError):
    """The same input may pass later."""


class FaultsError(PermanentError):
    """Several faults found in one thing; the message lists every one of them."""

    def __init__(self, subject: str, faults: Sequence[str]) -> None:
        self.subject = subject
        self.faults = tuple(faults)
        super().__init__(f"{subject}: {'; '.join(self.faults)}")


class EventError(FaultsError):
    """An event or label breaks its contract."""


class MonitorError(FaultsError):
    """A monitor file is wrong; each fault names file, path, value and, where close, the valid name."""


class SettingsError(FaultsError):
    """A setting is wrong; each fault names key, value and what would be right."""


class ReferenceDataError(PermanentError):
    """A reference cannot be built from its data, or does not fit its monitor."""


class DecodeError(PermanentError):
    """A payload cannot become columns.

    ``reason`` is a bounded word for counters, ``detail`` says which field and value.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class UnavailableError(TransientError):
    """A part is not there now. ``part`` names it, ``detail`` says what was tried, the message both."""

    def __init__(self, part: str, detail: str) -> None:
        self.part = part
        self.detail = detail
        super().__init__(f"{part} is unavailable: {detail}")
