"""Every outlier method that a monitor can name (``detectors.outliers``).

To add one: write its file (a :class:`~detectors.outliers.model.Scorer` and what fits it), add its entry here, its name
to ``driftline/monitor_detectors.py`` and its page to ``docs/detectors``.
"""

from detectors.outliers import hbos, isolation_forest, knn, mahalanobis
from detectors.outliers.model import Entry

CATALOGUE: tuple[Entry, ...] = (mahalanobis.ENTRY, hbos.ENTRY, isolation_forest.ENTRY, knn.ENTRY)


def method(name: str) -> Entry:
    """The method of that name; raises KeyError."""
    return {entry.name: entry for entry in CATALOGUE}[name]
