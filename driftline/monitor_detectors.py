"""The parts of a monitor that say what windows are compared with, how, and how sure the answer must be."""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from driftline.monitor_parts import UTC_ZONE, AlarmRate, Duration, Part, Share, TimeZone, parse_alarm_rate
from driftline.objectives import Severity

WEEK_S = 7 * 86400.0
#: Where a number is left to what the reference shows.
AUTO: Final = "auto"
#: How many neighbouring rows count as one.
RowsTogether = Annotated[int, Field(ge=1)] | Literal["auto"]


class ReferenceSpec(Part):
    """What is expected: a Parquet or CSV file with the monitor's columns, the prediction and, if known, the label."""

    path: str = Field(description="Relative to the monitor file.")
    label: str | None = Field(None, description="Column of the file with the true value.")
    predictions: bool = Field(
        True,
        description="False where the file holds no answers of the model: answers are then stored and judged by labels, "
        "but not tested for drift.",
    )
    baseline: Literal["fixed", "rolling", "seasonal", "variant"] = Field(
        "fixed",
        description="What windows are compared with: `fixed`, the file; `rolling`, the windows before; `seasonal`, the "
        "windows of the same hour and weekday in the weeks before; `variant`, another variant's same window. The file "
        "always gives the bins, and is what remains while there are too few windows.",
    )
    time_zone: TimeZone = Field(
        UTC_ZONE,
        description="Whose hours and weekdays a seasonal baseline goes by, such as `Europe/Berlin`: windows keep to "
        "UTC, and those of the same local time are compared, on both sides of a change of the clocks.",
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

    @model_validator(mode="after")
    def _only_a_season_has_hours(self) -> "ReferenceSpec":
        if self.time_zone != UTC_ZONE and self.baseline != "seasonal":
            raise ValueError(f"time_zone {self.time_zone} is for baseline: seasonal (found {self.baseline})")
        return self


class WindowSpec(Part):
    """How event time is cut."""

    size: Duration = Field(86400.0, description="Length of a window, such as 1h or 1d; aligned to the epoch, UTC.")
    lateness: Duration = Field(3600.0, description="How long after its end a window still waits for late events.")
    minimum_rows: int = Field(100, ge=1, description="Windows with fewer rows are answered 'not enough evidence'.")


class OverTimeSpec(Part):
    """What every sequential test over windows is told: its budget for false alarms, and what is no change."""

    false_pages: AlarmRate = Field(
        "1 per 90d",
        description="False alarms that may be expected of one stream, over all that is tested of it and all segments: "
        "a number and the time it is for.",
    )
    confidence: Share = Field(
        0.99, description="How sure the ranges of shares are that the reference, a sample, leaves open."
    )
    margin: float = Field(0.0, ge=0, lt=1, description="Differences of shares up to here are no change to the tests.")
    rows_together: RowsTogether = Field(
        AUTO,
        description="Rows that may hang together, such as those of one client or batch; 1: none do; `auto`: as many as "
        "in the reference.",
    )
    restart: Duration = Field(
        365 * 86400.0, description="The tests begin anew at multiples of this, counted from 1970: nothing older counts."
    )

    @property
    def pages(self) -> float:
        """False alarms that may be expected in ``period_s``."""
        return parse_alarm_rate(self.false_pages)[0]

    @property
    def period_s(self) -> float:
        """The time that ``pages`` is for, in seconds."""
        return parse_alarm_rate(self.false_pages)[1]

    @property
    def seconds_per_page(self) -> float:
        """Seconds to a false alarm, on average at least."""
        return self.period_s / self.pages


class OnlineSpec(OverTimeSpec):
    """Sequential tests of columns over a stream's windows, with a promise about false alarms."""

    tests: tuple[str, ...] = Field(
        (),
        description="`e_cusum`, `e_shiryaev_roberts`, `e_pooled`, `betting`; the first one decides. After it, for "
        "comparison and without a promise: `adwin`, `page_hinkley`, `kswin`, `ddm`, `hddm_a`, `hddm_w`. None: no "
        "sequential tests.",
    )


class AccuracyTestSpec(OverTimeSpec):
    """A sequential test of accuracy over a stream's windows, each once its labels have come."""

    test: Literal["e_cusum", "e_shiryaev_roberts", "e_pooled", "betting"] | None = Field(
        None, description="Which test says that accuracy fell. None: no sequential test."
    )
    floor: Share | None = Field(
        None,
        description="Smallest accuracy that is well enough: share of right predictions, mean of `ndcg@K` (ranking), "
        "share of errors within `tolerance` (regression). Without it what the reference's labels show is expected.",
    )
    tolerance: float | None = Field(
        None,
        gt=0,
        description="Size from which on an error counts as one (regression); without it, those beyond several "
        "quantiles of the reference's errors.",
    )
    severity: Severity = Field("ticket", description="Of the alert while an alarm stands.")


class ControlSpec(Part):
    """How false alarms are kept within `false_alarm_rate`: among the columns of a window, and across windows."""

    inside: Literal["benjamini_hochberg", "benjamini_yekutieli", "e_bh"] = Field(
        "benjamini_hochberg",
        description="Among the columns of a window: `benjamini_hochberg`, for columns that are independent or move "
        "together; `benjamini_yekutieli` and `e_bh`, however they hang together, at a price.",
    )
    across: Literal["none", "lord", "saffron", "addis"] = Field(
        "none",
        description="Across the windows of a stream. `none`: `false_alarm_rate` is the share of windows without drift "
        "that may alarm. Else the share of alarms that may be false, split over the segments.",
    )
    half_life: Duration | None = Field(
        None,
        description="With it, what was spent and what was found count half after this time, and long quiet starves "
        "nothing (`lord`, `saffron`).",
    )
    restart: Duration = Field(
        365 * 86400.0, description="Control across windows begins anew at multiples of this, counted from 1970."
    )

    @model_validator(mode="after")
    def _what_fades_can(self) -> "ControlSpec":
        if self.half_life is not None and self.across not in ("lord", "saffron"):
            raise ValueError(f"half_life is for across: lord or saffron (found {self.across})")
        return self


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
    kept_rows: int = Field(
        0,
        ge=0,
        le=5000,
        description="Rows of a window, and of the reference, that detectors of `multivariate` look at which need rows. "
        "So many rows of each segment lie in the reference's artefact then; 0: none, and no answer of them on traffic.",
    )
    explained_rows: int = Field(
        5000,
        ge=0,
        le=50_000,
        description="Labelled rows of a window of traffic that are looked at to say on which columns' values accuracy "
        "changed, where it did; 0: none, and only segments are told of.",
    )
    compared_rows: int = Field(
        2500,
        ge=100,
        le=100_000,
        description="Rows of either side that `mmd` and `energy` look at at most, chosen by chance: more see smaller "
        "changes, in time that grows with the square. Beyond 2,500 a GPU helps.",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        description="Where `mmd` and `energy` are worked out: `auto`, on a GPU where JAX finds one (extra `jax`), else "
        "on the host; `cpu`, on the host; `gpu`, on a GPU, and without one the monitor is refused. They find the "
        "same.",
    )
    control: ControlSpec = Field(ControlSpec(), description="How false alarms are kept few, see below.")
    online: OnlineSpec = Field(OnlineSpec(), description="Tests over all windows of a stream, see below.")
    accuracy: AccuracyTestSpec = Field(
        AccuracyTestSpec(), description="A test of accuracy over all windows of a stream, see below."
    )
    outliers: Literal["mahalanobis", "hbos", "isolation_forest", "knn"] = Field(
        "mahalanobis", description="How rows are scored by how unlike the reference's they are."
    )
    outlier_rate: Share = Field(0.01, description="Share of reference rows beyond the outlier threshold.")
    rows_together: RowsTogether = Field(
        AUTO,
        description="Neighbouring rows that hang together, as those of a slow signal or of one client do: drift "
        "detectors count so many as one. With 1 they take rows as independent; `auto`: as many of each column as the "
        "reference shows, in windows of the same size, beside the hours that these are compared with.",
    )
