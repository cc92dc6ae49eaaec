"""Unseen rate: the share of a categorical column's values that the reference does not know."""

from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.two_proportions import two_proportions


def unseen_rate(sample: ColumnSample) -> Evidence:
    """The share, in [0, 1], with the p-value of its difference from the reference's; larger is worse."""
    hits, before = int(sample.current[-2]), int(sample.reference[-2])
    return two_proportions(hits, sample.current_rows, before, sample.reference_rows)
