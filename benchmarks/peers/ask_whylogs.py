"""whylogs with its defaults: profiles, compared by ``calculate_drift_scores`` with thresholds."""

import pandas as pd
import whylogs
from asking import Answers, Columns, frame_columns, main
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores


def decide(reference: Columns, windows: list[Columns]) -> Answers:
    """The reference is profiled once; "drift" is drift, "possible drift" is not."""
    before = whylogs.log(pd.DataFrame(frame_columns(reference))).view()
    for window in windows:
        now = whylogs.log(pd.DataFrame(frame_columns(window))).view()
        scores = calculate_drift_scores(now, before, with_thresholds=True)
        yield [bool(score) and score["drift_category"] == "DRIFT" for score in scores.values()], None


main(decide)
