"""What every part of a monitor is made of: how durations and shares are written, and that nothing unknown is said."""

from difflib import get_close_matches
from typing import Annotated, Final
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from driftline.durations import parse_duration


def _to_seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _above_zero(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than zero")
    return value


#: Seconds, written as ``30s``, ``6h`` or ``1d``.
Duration = Annotated[
    float,
    BeforeValidator(_to_seconds, json_schema_input_type=str | float),
    AfterValidator(_above_zero),
]
Share = Annotated[float, Field(gt=0, lt=1)]


def parse_alarm_rate(text: str) -> tuple[float, float]:
    """How many, and in how many seconds; raises ValueError.

    >>> parse_alarm_rate("1 per 90d")
    (1.0, 7776000.0)
    """
    number, _, period = text.partition(" per ")
    try:
        count = float(number)
    except ValueError:
        count = 0.0
    if not period or not 0 < count < float("inf"):
        raise ValueError(f"'{text}' is not a number and a time, such as '1 per 90d'")
    return count, parse_duration(period)


def _an_alarm_rate(text: str) -> str:
    parse_alarm_rate(text)
    return text


#: How many in how long, written as ``1 per 90d``.
AlarmRate = Annotated[str, AfterValidator(_an_alarm_rate)]


UTC_ZONE: Final = "UTC"
#: What a machine's own files call its setting: another zone on another machine.
_OF_THE_MACHINE = frozenset({"localtime", "posixrules"})


def _a_time_zone(name: str) -> str:
    known = available_timezones() - _OF_THE_MACHINE
    if name not in known:
        near = get_close_matches(name, sorted(known), 1)
        hint = f", such as {near[0]}" if near else ", such as Europe/Berlin or UTC"
        raise ValueError(f"must be the name of an IANA time zone{hint}")
    return name


#: A name of the IANA time zone database.
TimeZone = Annotated[str, AfterValidator(_a_time_zone)]


class Part(BaseModel):
    """A part of a monitor, as its file has it. What is written out again can be read in again."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)
