"""Which results a page shows: pure choices among a stream's results."""

from collections.abc import Iterable, Sequence

from driftline.results import ALL_ROWS, WHOLE_WINDOW, Kind, Result, Verdict

#: The measure that a classification's correctness objective is about.
ACCURACY = "accuracy"

#: Windows of performance results shown, newest first.
PERFORMANCE_WINDOWS = 4
#: Segments shown beside them, the worst first.
WORST_SEGMENTS = 6


def bad_since(results: Iterable[Result], kind: Kind, target: float | None = None) -> float | None:
    """Start of the newest unbroken run of bad windows, by the results of one kind on all rows.

    Walks back from the newest bad window and stops at the first good one; windows without enough evidence say
    nothing either way. A window's accuracy is bad below the objective's ``target``; other results are bad by their
    verdict: drift by that of the whole window, the others from a warning on. None where no window is bad.
    """
    bad: dict[float, bool] = {}
    for result in results:
        telling = result.kind == kind and result.window.segment == ALL_ROWS
        if telling and result.verdict is not Verdict.NOT_ENOUGH_EVIDENCE and _tells(result, target):
            began_s = result.window.start_s
            bad[began_s] = bad.get(began_s, False) or _is_bad(result, target)
    start_s: float | None = None
    for at_s in sorted(bad, reverse=True):
        if bad[at_s]:
            start_s = at_s
        elif start_s is not None:
            break
    return start_s


def _tells(result: Result, target: float | None) -> bool:
    if result.kind == "drift":
        return result.column == WHOLE_WINDOW
    return result.kind != "performance" or target is None or result.detector == ACCURACY


def _is_bad(result: Result, target: float | None) -> bool:
    if result.kind == "performance" and target is not None:
        return result.statistic < target
    if result.kind == "drift":
        return result.verdict is Verdict.DRIFTED
    return result.verdict in (Verdict.WARNING, Verdict.DRIFTED)


def largest_effects(results: Iterable[Result], since_s: float, limit: int) -> tuple[Result, ...]:
    """The drifted columns of windows that end after ``since_s``, each once, largest effect first; then segments.

    A third of ``limit`` is kept for segments: a column that moved everywhere moved in every segment too, and would
    otherwise crowd the other columns out.
    """
    best: dict[tuple[str, str], Result] = {}
    for result in results:
        moved = result.kind != "performance" and result.verdict is Verdict.DRIFTED and result.window.end_s > since_s
        key = (result.window.segment, result.column)
        # Results about a whole window only sum the columns up.
        if moved and result.column and (key not in best or _size(result) > _size(best[key])):
            best[key] = result
    ordered = sorted(best.values(), key=lambda result: (-_size(result), result.window.segment, result.column))
    overall = [result for result in ordered if result.window.segment == ALL_ROWS]
    parts = [result for result in ordered if result.window.segment != ALL_ROWS]
    shown_parts = parts[: max(limit // 3, limit - len(overall))]
    return (*overall[: limit - len(shown_parts)], *shown_parts)


def main_explanation(results: Iterable[Result]) -> Result | None:
    """Of the newest window whose change of accuracy is explained, the values of a column that make most."""
    found = [result for result in results if result.kind == "explanation" and result.verdict is Verdict.WARNING]
    of_values = [result for result in found if not is_of_whole_column(result)]
    return max(of_values or found, key=lambda each: (each.window.start_s, abs(each.statistic)), default=None)


def is_of_whole_column(explanation: Result) -> bool:
    """Whether an explanation is of how a column is mixed, not of some of its values."""
    return explanation.detector.endswith("_by_column")


def newest_performance(results: Sequence[Result]) -> tuple[Result, ...]:
    """Performance on all rows, newest window first, then the worst segments of the newest window that has any."""
    performance = [
        result
        for result in results
        if result.kind == "performance" and result.verdict is not Verdict.NOT_ENOUGH_EVIDENCE
    ]
    starts = sorted({result.window.start_s for result in performance}, reverse=True)[:PERFORMANCE_WINDOWS]
    overall = [
        result
        for start_s in starts
        for result in performance
        if result.window.start_s == start_s and result.window.segment == ALL_ROWS
    ]
    return (*overall, *_worst_segments(performance, overall))


def _worst_segments(performance: Sequence[Result], overall: Sequence[Result]) -> list[Result]:
    parts = [result for result in performance if result.window.segment != ALL_ROWS]
    if not parts:
        return []
    newest_s = max(result.window.start_s for result in parts)
    # One measure, so that segments compare: the one the window on all rows lists first.
    measure = overall[0].detector if overall else parts[0].detector
    newest = [result for result in parts if result.window.start_s == newest_s and result.detector == measure]
    return sorted(newest, key=_badness, reverse=True)[:WORST_SEGMENTS]


def _badness(result: Result) -> float:
    return result.statistic if result.direction == "larger_is_worse" else -result.statistic


def _size(result: Result) -> float:
    return 0.0 if result.effect is None else abs(result.effect.value)
