"""The parts of a monitor that say what windows are compared with, how, and how sure the answer must be."""

from typing import Literal

from pydantic import Field, model_validator

from driftline.monitor_parts import Duration, Part, Share

WEEK_S = 7 * 86400.0


class ReferenceSpec(Part):
    """What is expected: a Parquet or CSV file with the monitor's columns, the prediction and, if known, the label."""

    path: str = Field(description="Relative to the monitor file.")
    label: str | None = Field(None, description="Column of the file with the true value.")
    baseline: Literal["fixed", "rolling", "seasonal", "variant"] = Field(
        "fixed",
        description="What windows are compared with: 'fixed', the file; 'rolling', the windows before; 'seasonal', the "
        "windows of the same hour and weekday in the weeks before; 'variant', another variant's same window. The file "
        "always gives the bins, and is what remains while there are too few windows.",
    )
    windows: int = Field(14, ge=1, le=100, description="Windows (seasonal: weeks) that a baseline is made of at most.")
    minimum_windows: int = Field(3, ge=1, description="With fewer of them the file is compared with.")
    skip: int = Field(
        1, ge=0, description="Newest windows that a rolling baseline leaves out, so that slow drift stays visible."
    )
    drifted: Literal["leave_out", "keep"] = Field(
        "leave_out", description="Whether windows that were called drifted may be part of a baseline."
    )
    variant: str = Field("stable", description="The variant that others are compared with.")

    @model_validator(mode="after")
    def _enough_windows_are_possible(self) -> "ReferenceSpec":
        if self.minimum_windows > self.windows:
            raise ValueError(f"minimum_windows {self.minimum_windows} is above windows {self.windows}")
        return self


class WindowSpec(Part):
    """How event time is cut."""

    size: Duration = Field(86400.0, description="Length of a window, such as 1h or 1d; aligned to the epoch, UTC.")
    lateness: Duration = Field(3600.0, description="How long after its end a window still waits for late events.")
    minimum_rows: int = Field(100, ge=1, description="Windows with fewer rows are answered 'not enough evidence'.")


class DetectorSpec(Part):
    """Which detectors look at the windows and how sure they must be."""

    numeric: tuple[str, ...] = Field(("ks", "psi", "wasserstein"), description="Detectors for numeric columns.")
    categorical: tuple[str, ...] = Field(
        ("chi_square", "jensen_shannon"), description="Detectors for categorical columns."
    )
    false_alarm_rate: Share = Field(
        0.01, description="Share of windows without drift that may be called drifted, over all columns of the window."
    )
    minimum_effect: Share = Field(
        0.1,
        description="Smallest change that matters: largest difference of the distribution functions (numeric) or total "
        "variation distance (categorical). A smaller change, however significant, is at most a warning.",
    )
    drifted_columns: int = Field(1, ge=1, description="Drifted columns that make the whole window drifted.")
    multivariate: tuple[str, ...] = Field(
        (),
        description="Detectors for all input columns together; the first one decides. Where there are any, they take "
        "half of `false_alarm_rate` and the columns the other half.",
    )
    multivariate_effect: Share = Field(
        0.05,
        description="Smallest change of all columns together that matters: share of the rows that certainly comes from "
        "elsewhere. A smaller change, however significant, is at most a warning.",
    )
    outlier_rate: Share = Field(0.01, description="Share of reference rows beyond the outlier threshold.")
