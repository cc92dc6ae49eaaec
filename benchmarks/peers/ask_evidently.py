"""Evidently with its defaults: ``DataDriftPreset`` of a report; the whole is drifted where half of its columns are."""

import pandas as pd
from asking import Answers, Columns, frame_columns, is_number, main
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def decide(reference: Columns, windows: list[Columns]) -> Answers:
    """One report a window: Evidently takes nothing over from one to the next."""
    numeric = [name for name, values in reference.items() if is_number(values)]
    text = [name for name in reference if name not in numeric]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=text)
    before = Dataset.from_pandas(pd.DataFrame(frame_columns(reference)), data_definition=definition)
    for window in windows:
        now = Dataset.from_pandas(pd.DataFrame(frame_columns(window)), data_definition=definition)
        found = Report([DataDriftPreset()], include_tests=True).run(now, before).dict()
        flags = [test["status"] not in ("SUCCESS", "TestStatus.SUCCESS") for test in found["tests"]]
        names = [test["id"] + test["name"] for test in found["tests"]]
        whole = [flag for flag, name in zip(flags, names, strict=True) if "Share" in name or "Count" in name]
        columns = [flag for flag, name in zip(flags, names, strict=True) if not ("Share" in name or "Count" in name)]
        yield columns, bool(whole[0]) if whole else None


main(decide)
