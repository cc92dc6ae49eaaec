"""From the rounds of the sidecar benchmark to its figures: medians, ratios with their spread, the table for people."""

import statistics
from collections.abc import Sequence
from typing import Any

#: By contender and figure: the values of all rounds of a point. A contender that cannot do the point is not there.
Values = dict[str, dict[str, list[float]]]
#: By point.
Rounds = dict[str, Values]
#: By contender and point: the medians.
Table = dict[str, dict[str, dict[str, float]]]

_COLUMNS = (
    ("CPU us/req", "cpu_us"),
    ("of nginx", "cpu_vs_nginx"),
    ("children", "children_cpu_us"),
    ("per shipped", "cpu_us_per_shipped"),
    ("req/s", "requests_per_s"),
    ("p50 us", "p50_us"),
    ("p99 us", "p99_us"),
    ("+p50", "added_p50_us"),
    ("+p99", "added_p99_us"),
    ("RSS MiB", "rss_mib"),
    ("peak", "peak_mib"),
    ("logged", "logged_share"),
    ("stolen", "stolen_share"),
)


def table_of(rounds: Rounds) -> Table:
    """The median of each figure, with what each contender adds to the latency without a proxy."""
    table: Table = {}
    for point, contenders in rounds.items():
        for name, figures in contenders.items():
            found = {figure: statistics.median(values) for figure, values in figures.items()}
            if "cpu_us" in found:
                found["cpu_vs_nginx"] = statistics.median(cpu_ratios(rounds, point, name))
            for percentile in ("p50_us", "p99_us"):
                found[f"added_{percentile}"] = found[percentile] - statistics.median(contenders["direct"][percentile])
            table.setdefault(name, {})[point] = found
    return table


def cpu_ratios(rounds: Rounds, point: str, name: str, against: str = "nginx") -> list[float]:
    """What a request cost one contender, in times of what it cost another in the same round; empty: not measured."""
    ours, theirs = (rounds.get(point, {}).get(each, {}).get("cpu_us", []) for each in (name, against))
    return [one / other for one, other in zip(ours, theirs, strict=False)]


def middle(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Between which bounds the middle half of the values lies, how far they go, and how many they are.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    {'lowest': 1.0, 'lower': 2.0, 'upper': 4.0, 'highest': 5.0, 'rounds': 5}
    """
    if not values:
        return {}
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"lowest": min(values), "lower": lower, "upper": upper, "highest": max(values), "rounds": len(values)}


def shown(table: Table) -> str:
    """The table for people, point by point."""
    lines = [f"{'':<14}{'':<26}" + "".join(f"{title:>13}" for title, _ in _COLUMNS)]
    for point in dict.fromkeys(point for found in table.values() for point in found):
        for name, found in table.items():
            if point not in found:
                continue
            cells = (found[point].get(figure) for _, figure in _COLUMNS)
            line = "".join(f"{'-' if cell is None else f'{cell:,.4g}':>13}" for cell in cells)
            lines.append(f"{point:<14}{name:<26}{line}")
    return "\n".join(lines)


def spreads(rounds: Rounds, points: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """By point and contender: the quartiles of its paired ratios to nginx, and of nginx its own microseconds."""
    return {
        point: {
            name: quartiles(rounds[point][name]["cpu_us"] if name == "nginx" else cpu_ratios(rounds, point, name))
            for name in rounds[point]
            if name != "direct"
        }
        for point in points
        if point in rounds
    }
