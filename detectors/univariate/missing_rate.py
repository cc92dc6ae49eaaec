"""Missing rate: the share of a column's values that are not there."""

from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.two_proportions import two_proportions


def missing_rate(sample: ColumnSample) -> Evidence:
    """The share, in [0, 1], with the p-value of its difference from the reference's; larger is worse."""
    hits, before = int(sample.current[-1]), int(sample.reference[-1])
    return two_proportions(hits, sample.current_rows, before, sample.reference_rows)
