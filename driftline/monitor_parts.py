"""What every part of a monitor is made of: how durations and shares are written, and that nothing unknown is said."""

from typing import Annotated

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


class Part(BaseModel):
    """A part of a monitor, as its file has it. What is written out again can be read in again."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)
