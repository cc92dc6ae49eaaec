"""alibi-detect's detectors of several columns: the conformance list, as far as it can be asked of another's work."""

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.adapters import alibi
from detectors.evaluating.catalogue import check_detectors
from detectors.evaluating.table_catalogue import TABLE_CATALOGUE, TableEntry
from detectors.multivariate.mmd import mmd
from detectors.statistics.table_sample import TableEvidence, TableSample
from driftline.errors import MonitorError
from driftline.monitors import parse_monitor

THEIRS = [entry for entry in TABLE_CATALOGUE if ":" in entry.name]
PERMUTATIONS = 99
MONITOR = """
model: m
task: binary
columns: [{name: x, type: numeric}, {name: y, type: numeric}, {name: c, type: categorical}]
"""

every_one = pytest.mark.parametrize("entry", THEIRS, ids=lambda entry: entry.name)
installed = [
    pytest.mark.extras,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not alibi.TENSORFLOW, reason="alibi-detect with TensorFlow is not installed (make alibi)"),
]


@every_one
@pytest.mark.skipif(alibi.TENSORFLOW, reason="alibi-detect with TensorFlow is installed")
def test_without_tensorflow_the_extra_is_named_with_its_licence(entry: TableEntry) -> None:
    named = parse_monitor(f"{MONITOR}detectors: {{multivariate: ['{entry.name}']}}\nsegments: [c]", "m.yaml")
    with pytest.raises(MonitorError, match=r"multivariate\.0.*driftline\[alibi-tensorflow\].*licence"):
        check_detectors(named)
    with pytest.raises(MonitorError, match=r"driftline\[alibi-tensorflow\]"):
        ask(entry, rows(1, 60), rows(2, 60))


def rows(seed: int, count: int, moved: float = 0.0, share: float = 0.5) -> NDArray[np.float64]:
    """Two numbers and a category: the numbers follow the category, of which ``share`` of the rows have the second."""
    rng = np.random.default_rng(seed)
    second = rng.random(count) < share
    found = rng.normal(size=(count, 2)) + 2.0 * second[:, None]
    found[:, 0] += moved
    return np.column_stack((found, second))


def ask(entry: TableEntry, before: NDArray[np.float64], now: NDArray[np.float64], seed: int = 0) -> TableEvidence:
    sample = TableSample(("x", "y", "c=b"), before, now, context=("c=b",))
    return entry.detect(sample, np.random.default_rng(seed), PERMUTATIONS)


def p_of(found: TableEvidence) -> float:
    assert found.evidence.p_value is not None
    assert np.isfinite(found.evidence.statistic)
    if found.effect is not None:
        assert 0.0 <= found.effect.lower <= found.effect.value <= found.effect.upper <= 1.0
    return found.evidence.p_value


class TestInstalled:
    pytestmark = installed

    @every_one
    def test_a_change_is_found_and_none_is_not(self, entry: TableEntry) -> None:
        changed = ask(entry, rows(1, 240), rows(2, 200, moved=1.5))
        assert p_of(changed) <= 0.02
        assert p_of(ask(entry, rows(1, 240), rows(3, 200))) > 0.02
        if entry.name == "alibi:spot_the_diff":
            assert changed.telling[0].column == "x"
            assert changed.effect is not None
            assert changed.effect.value > 0.1

    def test_another_mix_of_segments_is_no_change_to_the_one_that_knows_of_it(self) -> None:
        found = {entry.name: p_of(ask(entry, rows(1, 240, share=0.3), rows(2, 200, share=0.7))) for entry in THEIRS}
        assert found["alibi:mmd"] <= 0.02
        assert found["alibi:context_mmd"] > 0.02

    def test_its_discrepancy_is_ours(self) -> None:
        sample = TableSample(("x", "y", "c=b"), rows(1, 240), rows(2, 200, moved=0.4))
        ours = mmd(sample, np.random.default_rng(0), 999)
        theirs = alibi.mmd(sample, np.random.default_rng(0), 999)
        assert theirs.evidence.statistic == pytest.approx(ours.evidence.statistic, abs=2e-6)
        # Two times 999 permutations of one law: within five standard errors of each other.
        p_value = ours.evidence.p_value or 0.0
        assert p_of(theirs) == pytest.approx(p_value, abs=0.002 + 5.0 * np.sqrt(2.0 * p_value * (1.0 - p_value) / 999))

    @every_one
    def test_neither_order_nor_a_second_time_change_an_answer_or_the_process(self, entry: TableEntry) -> None:
        before, now = rows(1, 80), rows(2, 60, moved=0.5)
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002
        first = ask(entry, before, now)
        assert (random.random(), np.random.random()) == (0.32383276483316237, 0.07630828937395717)  # noqa: NPY002
        shuffler = np.random.default_rng(3)
        again = ask(entry, shuffler.permutation(before), shuffler.permutation(now))
        assert again.evidence.statistic == pytest.approx(first.evidence.statistic, abs=1e-6)
        assert again.evidence.p_value == first.evidence.p_value

    @every_one
    def test_odd_rows_are_answered(self, entry: TableEntry) -> None:
        usual = rows(1, 60)
        odd = {
            "constant": np.full((60, 3), 7.0),
            "all missing": np.full((60, 3), np.nan),
            "infinite": np.where(usual > 1.0, np.inf, usual),
            "enormous": usual * 1e300,
            "one column missing": np.where([False, True, False], np.nan, usual),
        }
        for now in odd.values():
            found = ask(entry, usual, now)
            assert found.evidence.p_value is None or p_of(found) <= 1.0
        for few in (usual[:0], usual[:1]):
            assert ask(entry, usual, few).evidence.p_value is None
            assert ask(entry, few, usual).evidence.p_value is None

    def test_without_a_change_alarms_of_permutations_keep_to_their_rate(self) -> None:
        for entry in (entry for entry in THEIRS if entry.name in ("alibi:mmd", "alibi:lsdd")):
            found = [p_of(ask(entry, rows(100 + draw, 40), rows(200 + draw, 40))) for draw in range(60)]
            # A tenth of sixty: six, and four and a half standard deviations.
            assert np.count_nonzero(np.array(found) <= 0.1) <= 16, entry.name

    def test_a_monitor_may_name_them_and_needs_segments_for_one(self) -> None:
        names = ", ".join(f"'{entry.name}'" for entry in THEIRS)
        text = f"{MONITOR}detectors: {{multivariate: [{names}]}}"
        check_detectors(parse_monitor(f"{text}\nsegments: [c]", "m.yaml"))
        with pytest.raises(MonitorError, match="'alibi:context_mmd' needs segments"):
            check_detectors(parse_monitor(text, "m.yaml"))
