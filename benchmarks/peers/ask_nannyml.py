"""NannyML with its defaults: ``UnivariateDriftCalculator`` (Jensen-Shannon, limits at three standard deviations)."""

import nannyml
import pandas as pd
from asking import Answers, Columns, frame_columns, main


def decide(reference: Columns, windows: list[Columns]) -> Answers:
    """Every window is a chunk; the limits come from chunks of the same size of the reference."""
    rows = len(next(iter(windows[0].values())))
    calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference), chunk_size=rows)
    calculator.fit(pd.DataFrame(frame_columns(reference)))
    together = pd.concat([pd.DataFrame(frame_columns(window)) for window in windows], ignore_index=True)
    found = calculator.calculate(together).filter(period="analysis").to_df()
    alerts = found.loc[:, [column for column in found.columns if column[-1] == "alert"]]
    for _, row in alerts.iterrows():
        yield [bool(flag) for flag in row], None


main(decide)
