"""What every detector of all columns together promises: one list of tests, run over the table of them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.evaluating.table_catalogue import TABLE_CATALOGUE, TableEntry
from detectors.statistics.table_sample import Drawn, TableEvidence, TableSample

DOCS = Path(__file__).parents[3] / "docs"
OURS = [entry for entry in TABLE_CATALOGUE if ":" not in entry.name]
PERMUTATIONS = 199

every_one = pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)


def rows(seed: int, count: int, together: float = 0.0, columns: int = 3) -> NDArray[np.float64]:
    found = np.random.default_rng(seed).normal(size=(count, columns))
    found[:, 1] = together * found[:, 0] + np.sqrt(1.0 - together**2) * found[:, 1]
    return found


def ask(
    entry: TableEntry, before: NDArray[np.float64], now: NDArray[np.float64], seed: int = 0, as_one: int = 1
) -> TableEvidence:
    """``as_one``: so many neighbours of the rows that these were drawn from say as much as one."""
    names = tuple(f"x{place}" for place in range(before.shape[1]))
    drawn = [Drawn(2 * len(rows), as_one) for rows in (before, now)]
    sample = TableSample(names, before, now, reference_drawn=drawn[0], current_drawn=drawn[1])
    return entry.detect(sample, np.random.default_rng(seed), PERMUTATIONS)


def assert_sound(found: TableEvidence) -> None:
    assert np.isfinite(found.evidence.statistic)
    if found.evidence.p_value is not None:
        assert 0.0 <= found.evidence.p_value <= 1.0
    if found.effect is not None:
        assert 0.0 <= found.effect.lower <= found.effect.value <= found.effect.upper <= 1.0
    assert not found.telling or sum(each.share for each in found.telling) == pytest.approx(1.0)
    assert list(found.telling) == sorted(found.telling, key=lambda each: -each.share)


# How many rows hang together is told beside the rows, which were drawn by chance and have no order.
hanging = pytest.mark.parametrize("as_one", [1, 12], ids=["independent", "hanging together"])


@hanging
@every_one
def test_the_order_of_the_rows_does_not_matter(entry: TableEntry, as_one: int) -> None:
    before, now = rows(1, 1500), rows(2, 300, together=0.4)
    now[::7, 2] = np.nan
    shuffler = np.random.default_rng(3)
    mixed = shuffler.permutation(before), shuffler.permutation(now)
    assert ask(entry, before, now, as_one=as_one) == ask(entry, *mixed, as_one=as_one)


@hanging
@every_one
def test_repeats_with_one_seed_are_equal(entry: TableEntry, as_one: int) -> None:
    before, now = rows(1, 3000), rows(2, 2600, together=0.1)
    assert ask(entry, before, now, seed=4, as_one=as_one) == ask(entry, before, now, seed=4, as_one=as_one)


@every_one
def test_columns_that_only_go_together_are_found(entry: TableEntry) -> None:
    found = ask(entry, rows(1, 800), rows(2, 600, together=0.95))
    assert_sound(found)
    assert found.evidence.p_value is not None
    assert found.evidence.p_value <= 0.005
    assert found.effect is not None
    assert found.effect.value > 0.01
    if entry.name == "domain_classifier":
        assert {found.telling[0].column, found.telling[1].column} == {"x0", "x1"}


@every_one
def test_a_column_that_goes_missing_is_found(entry: TableEntry) -> None:
    now = rows(2, 600)
    now[:, 2] = np.nan
    found = ask(entry, rows(1, 800), now)
    assert found.evidence.p_value is not None
    assert found.evidence.p_value <= 0.005


# Those that are counted have simulations of their own.
@pytest.mark.parametrize("entry", [entry for entry in OURS if not entry.counted], ids=lambda entry: entry.name)
def test_without_a_change_alarms_keep_to_their_rate(entry: TableEntry) -> None:
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(80):
        values = rng.standard_t(3, size=(240, 3))
        values[rng.random((240, 3)) < 0.05] = np.nan
        sample = TableSample(("a", "b", "c"), values[:140], values[140:])
        p_value = entry.detect(sample, rng, 59).evidence.p_value
        assert p_value is not None
        p_values.append(p_value)
    # A tenth of them: eight, and no more than four and a half standard deviations above that.
    assert np.count_nonzero(np.array(p_values) <= 0.1) <= 20


ODD = {
    "empty": np.empty((0, 3)),
    "one row": np.zeros((1, 3)),
    "two rows": np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0]]),
    "constant": np.full((200, 3), 7.0),
    "all missing": np.full((200, 3), np.nan),
    "infinite": np.where(rows(6, 200) > 1.0, np.inf, np.where(rows(6, 200) < -1.0, -np.inf, rows(6, 200))),
    "all infinite": np.full((200, 3), np.inf),
    "enormous": rows(7, 200) * 1e307,
    "tiny": rows(7, 200) * 1e-308,
    "one column missing": np.where([False, False, True], np.nan, rows(8, 200)),
    "ones and zeros": (rows(9, 200) > 1.0).astype(np.float64),
    "no columns": np.empty((200, 0)),
}


@every_one
@pytest.mark.parametrize("now", ODD)
@pytest.mark.parametrize("before", ["ordinary", "one row", "constant", "all missing", "infinite", "no columns"])
@pytest.mark.filterwarnings("error")
def test_odd_rows_are_answered(entry: TableEntry, before: str, now: str) -> None:
    width = ODD[now].shape[1]
    expected = rows(10, 200)[:, :width] if before == "ordinary" else ODD[before]
    if expected.shape[1] == width:
        assert_sound(ask(entry, expected, ODD[now]))
        assert_sound(ask(entry, expected, ODD[now], as_one=50))


@every_one
@pytest.mark.parametrize(("before", "now"), [("empty", "ordinary"), ("ordinary", "empty"), ("one row", "one row")])
def test_too_few_rows_are_not_enough_evidence(entry: TableEntry, before: str, now: str) -> None:
    given = {**ODD, "ordinary": rows(11, 200)}
    assert ask(entry, given[before], given[now]).evidence.p_value is None


@every_one
def test_equal_rows_are_no_drift(entry: TableEntry) -> None:
    for same in (ODD["constant"], ODD["all missing"], ODD["infinite"]):
        p_value = ask(entry, same, same).evidence.p_value
        assert p_value is None or p_value > 0.5


@every_one
def test_many_rows_are_looked_at_in_part(entry: TableEntry) -> None:
    assert_sound(ask(entry, rows(12, 60_000), rows(13, 60_000)))


@every_one
def test_an_embedding_is_taken_as_it_comes(entry: TableEntry) -> None:
    before, now = rows(14, 400, columns=16), rows(15, 400, columns=16)
    now[:, :8] += 0.5
    sample = TableSample(tuple(f"e{place}" for place in range(16)), before, now, embedding=True)
    found = entry.detect(sample, np.random.default_rng(0), PERMUTATIONS)
    assert_sound(found)
    assert found.evidence.p_value is not None
    if entry.name != "pca_reconstruction":  # what moves within the plane of its components is not its business
        assert found.evidence.p_value <= 0.005


@every_one
def test_every_one_has_its_page_and_its_line_in_the_manual(entry: TableEntry) -> None:
    page = (DOCS / "detectors" / f"{entry.name}.md").read_text()
    assert page.startswith(f"# `{entry.name}`")
    assert len(page.splitlines()) <= 25
    assert f"[`{entry.name}`](detectors/{entry.name}.md)" in (DOCS / "detectors.md").read_text()
