"""What explains a change of accuracy: parts that add up, causes that are found, intervals that hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.accuracy.explaining import BY_COLUMN, BY_SEGMENT, explanations
from detectors.accuracy.explanation import Groups, explain
from detectors.counts.performance_counts import PerformanceLayout, count_judged
from detectors.counts.summary import Section
from driftline.columns import JudgedBatch
from driftline.results import Result, StreamKey, Verdict, WindowKey

KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
LAYOUT = PerformanceLayout("binary")
COUNTS = st.lists(st.tuples(st.integers(0, 500), st.floats(0.0, 1.0)), min_size=3, max_size=3)


def groups(cells: list[tuple[int, float]]) -> Groups:
    rows = np.array([float(count) for count, _ in cells])
    hits = np.array([round(count * share) for count, share in cells], dtype=np.float64)
    return Groups(rows, hits, hits)


@settings(max_examples=60, deadline=None)
@given(COUNTS, COUNTS)
def test_parts_add_up_to_the_change_whatever_the_groups(first, second) -> None:
    before, now = groups([*first, (1, 1.0)]), groups([*second, (1, 0.0)])
    found = explain(before, now, np.random.default_rng(0))
    change = now.total.sum() / now.rows.sum() - before.total.sum() / before.rows.sum()
    assert found.change.value == pytest.approx(change, abs=1e-12)
    assert found.mix.value + found.inside.value == pytest.approx(change, abs=1e-12)
    assert sum(part.whole.value for part in found.parts) == pytest.approx(change, abs=1e-12)
    for part in found.parts:
        assert part.whole.value == pytest.approx(part.mix.value + part.inside.value, abs=1e-12)
        assert part.whole.lower <= part.whole.value <= part.whole.upper


def test_the_split_is_kitagawas_by_hand() -> None:
    found = explain(groups([(60, 0.9), (40, 0.5)]), groups([(30, 0.9), (70, 0.4)]), np.random.default_rng(0))
    # Shares .6/.4 then .3/.7, means .9/.5 then .9/.4; overall .74 then .55.
    assert [part.inside.value for part in found.parts] == pytest.approx([0.0, 0.55 * -0.1])
    assert [part.mix.value for part in found.parts] == pytest.approx([-0.3 * (0.9 - 0.645), 0.3 * (0.45 - 0.645)])


def section(rows: int, right: int) -> Section:
    truth = np.array(["1"] * right + ["0"] * (rows - right), dtype=object)
    said = np.full(rows, "1", dtype=object)
    return count_judged(LAYOUT, JudgedBatch(said, np.full(rows, np.nan), truth, np.ones(rows, dtype=np.int64)))


def told(before: dict[str, tuple[int, int]], now: dict[str, tuple[int, int]]) -> list[Result]:
    reference = {name: section(*cell) for name, cell in before.items()}
    window = {name: section(*cell) for name, cell in now.items()}
    return explanations(KEY, LAYOUT, reference, window.get, ["carrier"])


BEFORE = {"": (3000, 2700), "carrier=AA": (1000, 900), "carrier=UA": (1500, 1350)}


def test_the_segment_that_broke_is_named_with_its_share() -> None:
    found = told(BEFORE, {"": (1500, 1200), "carrier=AA": (500, 300), "carrier=UA": (750, 675)})
    column, worst = found[0], found[1]
    assert (column.detector, column.column, worst.detector, worst.column) == (
        BY_COLUMN,
        "carrier",
        BY_SEGMENT,
        "carrier=AA",
    )
    assert worst.statistic == pytest.approx(-0.1)
    assert worst.verdict is Verdict.WARNING
    assert "right in 60 %, before in 90 %" in worst.reason
    assert column.reason.startswith("accuracy changed by -10 percentage points (")
    assert worst.reason.startswith("carrier=AA makes -10 percentage points (")
    assert "of accuracy's change of -10: " in worst.reason
    assert "inside its values, which carrier does not explain" in column.reason
    assert sum(result.statistic for result in found[1:]) == pytest.approx(-0.1)
    assert {result.column for result in found[1:]} == {"carrier=AA", "carrier=UA", "other carrier"}


def test_a_change_of_mix_is_told_as_one() -> None:
    before = {"": (3000, 2100), "carrier=AA": (1500, 1350), "carrier=UA": (1500, 750)}
    found = told(before, {"": (1500, 810), "carrier=AA": (150, 135), "carrier=UA": (1350, 675)})
    assert found[0].statistic == pytest.approx(-0.16)
    assert found[0].verdict is Verdict.WARNING


def test_nothing_is_explained_where_nothing_changed_or_little_is_known() -> None:
    assert told(BEFORE, BEFORE) == []
    assert told(BEFORE, {"": (90, 20)}) == []
    assert told({"carrier=AA": (1000, 900)}, {"": (900, 20)}) == []
    assert told(BEFORE, {"": (1500, 1300)}) == []


@pytest.mark.slow
def test_intervals_hold_the_true_parts() -> None:
    rng = np.random.default_rng(1)
    shares, later = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    means, means_later = np.array([0.9, 0.8, 0.7]), np.array([0.9, 0.6, 0.7])

    def drawn(size: int, share: np.ndarray, mean: np.ndarray) -> Groups:
        rows = rng.multinomial(size, share)
        hits = rng.binomial(rows, mean).astype(np.float64)
        return Groups(rows.astype(np.float64), hits, hits)

    huge = 1e9
    truth = explain(
        Groups(huge * shares, huge * shares * means, huge * shares * means),
        Groups(huge * later, huge * later * means_later, huge * later * means_later),
        rng,
    )
    runs, covered = 300, np.zeros(5)
    for _ in range(runs):
        found = explain(drawn(2000, shares, means), drawn(600, later, means_later), rng)
        pairs = [(found.mix, truth.mix), (found.inside, truth.inside)]
        pairs += [(mine.whole, theirs.whole) for mine, theirs in zip(found.parts, truth.parts, strict=True)]
        covered += [mine.lower <= theirs.value <= mine.upper for mine, theirs in pairs]
    assert (covered / runs >= 0.95 - 4.0 * np.sqrt(0.05 * 0.95 / runs)).all(), covered / runs
