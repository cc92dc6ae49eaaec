"""The model-quality board: drift, accuracy with its interval and coverage, outliers, labels."""

from dashboards.board_options import ANNOTATIONS, DRIFT_STATES, STATE_STEPS, VARIABLES, BoardOptions
from dashboards.panels import GREEN, GREY, ORANGE, RED, YELLOW, BoardSpec, PanelSpec, Query, RowSpec
from dashboards.queries import age, bottom, increase, quantile, rate, select, share_of, top, total
from driftline import names

_ALL_ROWS = f'{names.SEGMENT}=""'
_STREAM = "{{model}} {{version}} {{variant}}"


def model_quality(options: BoardOptions) -> BoardSpec:
    """Whether inputs, predictions and accuracy are what they were."""
    return BoardSpec(
        uid="driftline-model-quality",
        title="driftline / Model quality",
        description="Have inputs, predictions or accuracy moved?",
        rows=(
            RowSpec("Accuracy", (*_accuracy(), *_accuracy_test())),
            RowSpec("Drift", _drift()),
            RowSpec("Outliers and windows", _windows()),
            RowSpec("Labels", (*_labels(), *_segment_labels())),
        ),
        annotations=ANNOTATIONS,
        variables=VARIABLES,
        time_from="now-7d",
        refresh="1m",
        links=options.links(),
    )


def _accuracy() -> tuple[PanelSpec, ...]:
    scopes = ((names.PERFORMANCE, "value"), (names.PERFORMANCE_LOWER, "lower"), (names.PERFORMANCE_UPPER, "upper"))
    return (
        PanelSpec(
            "Accuracy with its 95 % interval",
            "On predictions whose labels arrived, newest window. A wide interval means few labels; two intervals that "
            "overlap are no proof of a change.",
            "timeseries",
            "short",
            tuple(
                Query(top(12, select(metric, _ALL_ROWS)), f"{_STREAM} {{{{metric}}}} {end}") for metric, end in scopes
            ),
            decimals=3,
            width=16,
            height=9,
            no_value="no labels have arrived yet",
        ),
        PanelSpec(
            "Label coverage",
            "Share of the window's predictions that have a label. Below the expected coverage accuracy is provisional.",
            "timeseries",
            "percentunit",
            (Query(select(names.LABEL_COVERAGE, _ALL_ROWS), _STREAM),),
            ((None, RED), (0.2, YELLOW), (0.8, GREEN)),
            minimum=0.0,
            maximum=1.0,
            height=9,
        ),
        PanelSpec(
            "Correct predictions, as labels arrive",
            "Share of predictions judged correct among the labels that arrived.",
            "timeseries",
            "percentunit",
            (Query(share_of(names.JUDGED_PREDICTIONS, 'outcome="correct"', *names.STREAM), _STREAM),),
            width=24,
            height=6,
            maximum=1.0,
        ),
    )


def _drift() -> tuple[PanelSpec, ...]:
    legend = "{{column}} ({{detector}}) " + _STREAM
    return (
        PanelSpec(
            "Drift state per column",
            "Verdict over time; the thirty columns that moved most.",
            "state",
            "none",
            (Query(top(30, select(names.DRIFT_STATE, _ALL_ROWS)), legend),),
            STATE_STEPS,
            width=14,
            height=11,
            values=DRIFT_STATES,
        ),
        PanelSpec(
            "Largest effects",
            "How far columns moved, 0 to 1. The monitor's margin (0.1 unless set) is what counts as drift.",
            "bargauge",
            "percentunit",
            (Query(top(20, select(names.DRIFT_EFFECT, _ALL_ROWS)), legend),),
            ((None, GREEN), (0.1, ORANGE), (0.25, RED)),
            minimum=0.0,
            decimals=2,
            width=10,
            height=11,
        ),
        PanelSpec(
            "Drifted columns",
            "Number of columns drifted in the newest window.",
            "timeseries",
            "short",
            (Query(top(20, select(names.DRIFTED_COLUMNS, _ALL_ROWS)), _STREAM),),
            minimum=0.0,
            decimals=0,
            width=12,
        ),
        PanelSpec(
            "Smallest p-values",
            "Chance of such a difference without drift. Read beside the effect.",
            "table",
            "sci",
            (Query(f"bottomk(20, {select(names.DRIFT_P_VALUE, _ALL_ROWS)})"),),
            width=12,
        ),
        PanelSpec(
            "False-alarm budget spent",
            "Alarms of sequential tests in the budget's time, and levels of control across windows, as shares of what "
            "the monitor allows. 1: all that may be false is spent; 0 as well where a monitor asks for neither.",
            "timeseries",
            "percentunit",
            (Query(_or_nothing(names.ALARM_BUDGET_SPENT), "{{detector}} {{segment}} " + _STREAM),),
            minimum=0.0,
            width=24,
        ),
    )


def _or_nothing(metric: names.Metric) -> str:
    """The metric; 0 for streams whose monitors do not ask for what it tells."""
    found = select(metric)
    nothing = f"0 * {select(names.WINDOW_ROWS, _ALL_ROWS)} unless on ({', '.join(names.STREAM)}) {found}"
    return f"{top(20, found)} or {nothing}"


def _windows() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Outlier rows",
            "Share of rows beyond the outlier threshold; about the monitor's outlier rate (1 %) is normal.",
            "timeseries",
            "percentunit",
            (Query(select(names.OUTLIER_RATIO, _ALL_ROWS), _STREAM),),
            ((None, GREEN), (0.03, YELLOW), (0.1, RED)),
            minimum=0.0,
        ),
        PanelSpec(
            "Windows by verdict",
            "Closed windows in the time shown by their first verdict.",
            "bargauge",
            "short",
            (Query(total(increase(names.WINDOWS_EVALUATED), "verdict"), "{{verdict}}"),),
            ((None, GREY),),
            minimum=0.0,
            decimals=0,
        ),
        PanelSpec(
            "Detectors' last look",
            "Age of each model's newest evaluation. Growing: the detectors do not run, and silence means nothing.",
            "stat",
            "s",
            (Query(age(names.DETECTORS_LAST_RUN, "namespace", "model"), "{{namespace}}/{{model}}"),),
            ((None, GREEN), (900.0, YELLOW), (3600.0, RED)),
        ),
    )


def _labels() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Labels by outcome",
            "Labels per second: joined, pending (no prediction yet), duplicate, corrected, withdrawn, expired.",
            "timeseries",
            "cps",
            (Query(total(rate(names.LABELS), "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Label delay",
            "From prediction to label, half and nineteen of twenty.",
            "timeseries",
            "s",
            tuple(
                Query(quantile(share, names.LABEL_DELAY, "model"), f"p{share * 100:.0f} {{{{model}}}}")
                for share in (0.5, 0.95)
            ),
            minimum=0.0,
        ),
        PanelSpec(
            "Label maturity",
            "Share of the newest closed window's labels that should have come by now, by the delays of earlier ones. "
            "Where coverage is far below it, labels are missing and not just late.",
            "timeseries",
            "percentunit",
            (Query(select(names.LABEL_MATURITY, _ALL_ROWS), _STREAM),),
            minimum=0.0,
            maximum=1.0,
            no_value="too little is known of delays yet",
        ),
        PanelSpec(
            "Windows without final accuracy",
            "Closed windows whose labels are still to come.",
            "timeseries",
            "short",
            (Query(select(names.IMMATURE_WINDOWS, _ALL_ROWS), _STREAM),),
            minimum=0.0,
            decimals=0,
        ),
        PanelSpec(
            "Labels that wait for a prediction",
            "Kept until their prediction comes or labels.timeout has passed; bounded by labels.maximum_waiting.",
            "timeseries",
            "short",
            (Query(select(names.LABELS_WAITING), "{{model}}"),),
            minimum=0.0,
            decimals=0,
        ),
        PanelSpec(
            "Rows in the newest window",
            "Windows below the monitor's minimum are answered 'not enough evidence'.",
            "timeseries",
            "short",
            (Query(select(names.WINDOW_ROWS, _ALL_ROWS), _STREAM),),
            minimum=0.0,
            decimals=0,
        ),
    )


def _accuracy_test() -> tuple[PanelSpec, ...]:
    legend = "{{segment}} " + _STREAM
    return (
        PanelSpec(
            "Evidence that accuracy fell",
            "Of the sequential test over all windows whose labels are complete, logarithmic: 1 is an alarm; 0 as well "
            "where a monitor asks for no test.",
            "timeseries",
            "percentunit",
            (Query(_or_nothing(names.ACCURACY_EVIDENCE), legend),),
            minimum=0.0,
        ),
        PanelSpec(
            "Alarms that accuracy fell",
            "1 while an alarm stands.",
            "timeseries",
            "short",
            (Query(_or_nothing(names.ACCURACY_ALARM), legend),),
            minimum=0.0,
            maximum=1.0,
            decimals=0,
        ),
    )


def _segment_labels() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Labels by segment: in, and due by now",
            "The segments of which least is in, newest windows, and what should be by the segment's own delays. All "
            "rows have no name. A segment that lags behind makes the accuracy of all rows that of the others.",
            "timeseries",
            "percentunit",
            (
                Query(bottom(12, select(names.LABEL_COVERAGE)), f"{_STREAM} {{{{segment}}}} in"),
                Query(bottom(12, select(names.LABEL_MATURITY)), f"{_STREAM} {{{{segment}}}} due"),
            ),
            minimum=0.0,
            maximum=1.0,
            no_value="too little is known of labels yet",
        ),
        PanelSpec(
            "Delay of labels, by segment",
            "Within this time half, and nineteen of twenty, of the labels come, those still to come included.",
            "timeseries",
            "s",
            (Query(top(24, select(names.LABEL_DELAY_EXPECTED)), "{{model}} {{segment}} {{share}}"),),
            minimum=0.0,
            no_value="too little is known of delays yet",
        ),
        PanelSpec(
            "Windows without final accuracy, by segment",
            "Closed windows whose labels are still to come; the segments with most of them. Without a name: all rows.",
            "timeseries",
            "short",
            (Query(top(12, select(names.IMMATURE_WINDOWS)), f"{_STREAM} {{{{segment}}}}"),),
            minimum=0.0,
            decimals=0,
        ),
    )
