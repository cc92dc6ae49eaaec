"""How a monitor's false-alarm rate for a window is split over what looks at it.

Where something looks at several numbers at once, it has half and the columns the other half; its half is split evenly
over the deciding detector of all columns together and each vector.

>>> columns = [{"name": "x", "type": "numeric"}]
>>> spec = {"multivariate": ["mmd_features"], "false_alarm_rate": 0.01}
>>> both = {"model": "m", "task": "binary", "columns": columns, "detectors": spec}
>>> parts(Monitor.model_validate({**both, "vectors": [{"name": "embedding", "dimension": 8}]}))
[('the columns', 0.005), ('all columns together', 0.0025), ('embedding', 0.0025)]
"""

from driftline.monitors import Monitor


def columns_rate(monitor: Monitor) -> float:
    """The part of the false-alarm rate that is the columns' own; the rest is for what looks at several numbers."""
    return monitor.detectors.false_alarm_rate / (2.0 if _deciding(monitor) else 1.0)


def together_rate(monitor: Monitor) -> float:
    """What is left for each of those that decide, about all columns or about a vector."""
    return (monitor.detectors.false_alarm_rate - columns_rate(monitor)) / max(1, _deciding(monitor))


def parts(monitor: Monitor) -> list[tuple[str, float]]:
    """Who has which part; all of them are the whole."""
    whole = ["all columns together"] if monitor.detectors.multivariate else []
    named = [*whole, *(vector.name for vector in monitor.vectors)]
    return [("the columns", columns_rate(monitor)), *((name, together_rate(monitor)) for name in named)]


def _deciding(monitor: Monitor) -> int:
    return len(monitor.detectors.multivariate[:1]) + len(monitor.vectors)
