"""Metrics of rankings from sums over queries, each with a 95 % interval.

A query is the unit: its candidates are judged together, so they say as much as one observation, and only queries are
counted. Each metric is a mean over the queries that have a relevant candidate; the share of those that have none is a
metric of its own, because no order of candidates could have helped them.

Each lies in [0, 1] and gets the interval of as many tosses as scatter as much (``bounded_mean.py``): the skew of rare
losses is in it, a hit rate has its exact interval, and thirty perfect answers do not make the next one certain.
"""

from detectors.accuracy.measure import Measure
from detectors.counts import ranking_counts as at
from detectors.counts.performance_counts import PerformanceLayout
from detectors.counts.summary import Section
from detectors.statistics.bounded_mean import bounded_mean, exact_share

#: Fewer judged queries give no verdict, however many rows they have.
FEWEST_QUERIES = 30


def main_metric(layout: PerformanceLayout) -> str:
    """The metric that stands for a ranking's quality."""
    return f"ndcg@{layout.ranking.cutoff}"


def ranking_measures(layout: PerformanceLayout, section: Section) -> tuple[Measure, ...]:
    """Every metric, NDCG first; none without a judged query."""
    values = section.values
    queries, barren = int(values[at.QUERIES]), max(0, int(values[at.BARREN]))
    if queries <= 0:
        return ()
    cutoff = layout.ranking.cutoff
    names = {"ndcg": main_metric(layout), "precision": f"precision@{cutoff}", "hit_rate": f"hit_rate@{cutoff}"}
    measures = [
        Measure(names.get(name, name), bounded_mean(queries, *_sums(section, place)), "smaller_is_worse")
        for place, name in enumerate(at.METRICS)
    ]
    nothing = Measure("nothing_relevant_rate", exact_share(barren, queries + barren), "larger_is_worse")
    return (*measures, nothing)


def _sums(section: Section, place: int) -> tuple[float, float]:
    total, squares = section.values[at.SUMS_AT + 2 * place : at.SUMS_AT + 2 * place + 2].tolist()
    return total / at.RANK_STEPS, squares / at.RANK_STEPS**2


def told_labels(section: Section, rows: int) -> str:
    """On how many queries and labels metrics rest, in words."""
    values = section.values
    counts = [
        (f"{max(0, int(values[place]))} {what}", int(values[place]))
        for place, what in (
            (at.PARTIAL, "only partly labelled"),
            (at.BARREN, "with nothing relevant"),
            (at.UNUSABLE, "with scores or labels that cannot be used"),
        )
    ]
    others = ", ".join(text for text, count in counts if count > 0)
    labelled = f"{max(0, int(values[at.LABELLED]))} of {rows} rows have labels"
    return f"{max(0, int(values[at.QUERIES]))} judged queries{f' ({others} left out)' if others else ''}; {labelled}"
