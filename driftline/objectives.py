"""The objectives of a monitor: what share of requests, windows or answers must be well, over one rolling period."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from driftline.monitor_parts import Duration, Part, Share

Severity = Literal["page", "ticket"]


class _Objective(Part):
    target: Share = Field(description="Share of good events over the period.")
    severity: Severity = Field("page", description="`page` or `ticket`; `ticket` keeps even fast burn from paging.")


class AvailabilitySlo(_Objective):
    """Answers that are not server errors (5xx, no answer)."""

    kind: Literal["availability"]


class LatencySlo(_Objective):
    """Answers within ``threshold``."""

    kind: Literal["latency"]
    threshold: Duration = Field(description="Must be a bound of the sidecar's latency histogram.")


class CaptureSlo(_Objective):
    """Inferences that were logged or sampled out on purpose, out of all."""

    kind: Literal["capture"]
    severity: Severity = "ticket"


class QualitySlo(_Objective):
    """Rows that pass the column rules."""

    kind: Literal["data_quality"]
    severity: Severity = "ticket"


class DriftSlo(_Objective):
    """Windows that are not drifted: drift time."""

    kind: Literal["drift"]
    severity: Severity = "ticket"


class CorrectnessSlo(_Objective):
    """Labelled predictions that were correct (classification), within ``tolerance`` (regression), or relevant
    among the first places (ranking).
    """

    kind: Literal["correctness"]
    tolerance: float | None = Field(
        None, gt=0, description="Largest absolute error that counts as correct (regression)."
    )


Slo = Annotated[
    AvailabilitySlo | LatencySlo | CaptureSlo | QualitySlo | DriftSlo | CorrectnessSlo, Field(discriminator="kind")
]


class SloSet(Part):
    """The objectives of a model over one rolling period."""

    period: Duration = Field(30 * 86400.0, description="30d or 28d.")
    objectives: tuple[Slo, ...] = ()

    @model_validator(mode="after")
    def _one_of_each(self) -> "SloSet":
        kinds = [slo.kind for slo in self.objectives]
        repeated = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if repeated:
            raise ValueError(f"objectives names {', '.join(repeated)} more than once")
        return self
