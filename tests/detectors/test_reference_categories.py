"""Categories of a reference: it expects as many unseen values as windows have, by enumeration and simulation."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from detectors.baselines.reference import build_reference
from detectors.counts.binning import place
from detectors.counts.layout import ColumnLayout
from detectors.counts.reference_bins import MAXIMUM_CATEGORIES
from detectors.counts.reference_categories import CHOOSING, known_categories
from detectors.online.column_shares import watched_shares
from detectors.online.e_pooled import EPooled
from detectors.online.share_bounds import bounds
from detectors.statistics.evidence import ColumnSample
from detectors.statistics.two_proportions import two_proportions
from detectors.univariate.chi_square import chi_square
from driftline.monitors import parse_monitor
from driftline.results import ALL_ROWS

Counts = NDArray[np.int64]
BUDGET = 0.01


def shares(kind: str, categories: int) -> NDArray[np.float64]:
    falling = np.ones(categories) if kind == "alike" else 1.0 / np.arange(1, categories + 1)
    return falling / falling.sum()


def named(counts: Counts) -> dict[str | None, int]:
    return {f"c{code:05d}": count for code, count in enumerate(counts.tolist()) if count}


def reference_and_bins(drawn: Counts, rng: np.random.Generator) -> tuple[Counts, dict[str, int]]:
    rows = [name for name, count in named(drawn).items() for _ in range(count)]
    known = known_categories(rows, rng)
    return known.left(known.whole, rng), {name: code for code, name in enumerate(known.names)}


def test_the_expected_share_of_unseen_values_is_what_a_row_sees_by_enumeration() -> None:
    """All references of four rows: what counts as unseen, and the chance that three others lack a row's value."""
    chances, rows = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}, 4
    expected = 0.0
    for drawn in itertools.product(chances, repeat=rows):
        known = known_categories(drawn, np.random.default_rng(1))
        likely = np.prod([chances[name] for name in drawn])
        expected += likely * known.left(known.whole, np.random.default_rng(1))[-2] / rows
    assert expected == pytest.approx(sum(chance * (1.0 - chance) ** (rows - 1) for chance in chances.values()))


@pytest.mark.parametrize(("rows", "window"), [(300, 100), (2000, 500), (10_000, 10_000)])
@pytest.mark.parametrize("categories", [300, 1000, 5000])
@pytest.mark.parametrize("kind", ["alike", "zipf"])
def test_windows_like_the_reference_are_within_the_budget(kind: str, categories: int, rows: int, window: int) -> None:
    rng, law = np.random.default_rng((categories, rows)), shares(kind, categories)
    found: list[tuple[float | None, float | None]] = []
    for _ in range(25):
        before, codes = reference_and_bins(rng.multinomial(rows, law), rng)
        for _ in range(12):
            now = np.array(place(named(rng.multinomial(window, law)), codes))
            sample = ColumnSample("c", "categorical", before, now)
            unseen = two_proportions(int(now[-2]), sample.current_rows, int(before[-2]), sample.reference_rows)
            found.append((chi_square(sample).p_value, unseen.p_value))
    alarms = (np.array(found, dtype=float) <= BUDGET).mean(axis=0)
    # Windows of one reference share its luck: 300 of them say as much as about 100 apart.
    assert (alarms <= BUDGET + 3.0 * np.sqrt(BUDGET / 100)).all(), alarms


def test_what_changes_among_many_categories_is_found_as_by_a_reference_that_chose_nothing() -> None:
    rng, law = np.random.default_rng(3), shares("zipf", 1000)
    moved = 0.96 * law
    moved[5] += 0.04
    found = np.zeros(2)
    for _ in range(60):
        drawn = rng.multinomial(10_000, law)
        ours, codes = reference_and_bins(drawn, rng)
        independent = np.array(place(named(rng.multinomial(10_000, law)), codes))
        now = np.array(place(named(rng.multinomial(500, moved)), codes))
        for number, before in enumerate((ours, independent)):
            found[number] += (chi_square(ColumnSample("c", "categorical", before, now)).p_value or 0.0) <= BUDGET
    assert 10 < found[1] < 55
    assert found[0] >= found[1] - 6


MONITOR = """
model: m
task: binary
columns: [{name: town, type: categorical, required: true}, {name: kind, type: categorical}]
segments: [kind]
"""


def test_segments_lose_the_rows_that_chose_and_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(8)
    towns = rng.integers(0, 900, 6000).astype(str).astype(object)
    towns[rng.random(6000) < 0.1] = None
    frame = pd.DataFrame({"town": towns, "kind": rng.choice(["a", "b"], 6000), "prediction": rng.choice([0, 1], 6000)})
    monitor = parse_monitor(MONITOR, "m.yaml")
    reference = build_reference(frame, monitor)
    layout = reference.layout
    counts = {name: layout.counts(vector, 0) for name, vector in reference.counts.items()}
    assert len(layout.columns[0].categories) == MAXIMUM_CATEGORIES
    whole = Counter(towns)
    for name, count in zip(layout.columns[0].categories, counts[ALL_ROWS], strict=False):
        assert 0 <= count <= whole[name]
    # About a fifth chose, of each kind of value and in each segment.
    for part, rows in [(ALL_ROWS, 6000), *((f"kind={kind}", int((frame.kind == kind).sum())) for kind in "ab")]:
        assert counts[part].sum() == pytest.approx((1.0 - CHOOSING) * rows, abs=4.0 * np.sqrt(rows * CHOOSING))
        assert layout.counts(reference.counts[part], 1).sum() == rows  # the other column has all of its rows
        assert layout.invalid(reference.counts[part], 0) == pytest.approx(counts[part][-1], abs=60)
    assert build_reference(frame.sample(frac=1.0, random_state=1), monitor).version == reference.version


@pytest.mark.parametrize("categories", [50, 200])
def test_the_most_frequent_of_many_alike_raise_no_alarm(categories: int) -> None:
    """Sequential tests watch the fifteen most frequent: a test that counted them on the rows that chose them alarms."""
    rng, began, law = np.random.default_rng(9), 0, shares("alike", categories)
    column = ColumnLayout("c", "categorical", categories=tuple(f"{code:03d}" for code in range(categories)))
    for _ in range(15):
        counts = np.append(rng.multinomial(2000, law), [0, 0])
        watched, before = watched_shares(column, counts, rng)
        test = EPooled(bounds(before.hits, before.rows), 1000.0)
        state = test.start()
        for _ in range(60):
            state = test.step(state, watched.of(np.append(rng.multinomial(300, law), [0, 0])))
        began += state.alarms
    assert began <= 2  # 0.9 are expected at most
