"""alibi-detect with its defaults: ``TabularDrift`` (KS and chi-square at 5 %, Bonferroni over columns)."""

import numpy as np
from alibi_detect.cd import TabularDrift
from asking import Answers, Columns, is_number, main


def decide(reference: Columns, windows: list[Columns]) -> Answers:
    """Text is given as codes of the reference's values, missing and unseen ones as codes of their own."""
    text = [place for place, values in enumerate(reference.values()) if not is_number(values)]
    known = {name: np.unique(values) for name, values in reference.items() if not is_number(values)}
    detector = TabularDrift(_matrix(reference, known), categories_per_feature=dict.fromkeys(text))
    for window in windows:
        rows = _matrix(window, known)
        whole = detector.predict(rows, drift_type="batch")["data"]["is_drift"]
        columns = detector.predict(rows, drift_type="feature")["data"]["is_drift"]
        yield [bool(flag) for flag in columns], bool(whole)


def _matrix(columns: Columns, known: Columns) -> object:
    coded = []
    for name, values in columns.items():
        if name not in known:
            coded.append(values)
            continue
        places = np.searchsorted(known[name], values).clip(max=len(known[name]) - 1)
        coded.append(np.where(known[name][places] == values, places, len(known[name])).astype(float))
    return np.column_stack(coded)


main(decide)
