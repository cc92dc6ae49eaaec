"""What every detector of one column promises, held for each by its standing in the catalogue."""

import inspect
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.adapters import alibi as alibi_adapter
from detectors.adapters import evidently as evidently_adapter
from detectors.baselines.reference import Reference, build_reference, load_reference
from detectors.counts.frames import window_rows
from detectors.counts.summary import Section, WindowState, merge
from detectors.evaluating.catalogue import CATALOGUE, Detector, Entry
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluated, Evaluator, default_bridge
from detectors.statistics.columns import alongside
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.two_proportions import two_proportions
from driftline.monitors import Monitor, parse_monitor
from driftline.results import WHOLE_WINDOW, Result, StreamKey, Verdict, WindowKey
from tests.detectors.conformance.windows import REFERENCE_ROWS, WINDOWS, reference_frame
from tests.parts.column_samples import build


def _share_of_bin(place: int) -> Detector:
    """As a window's quality is judged: one bin's share of the rows beside the reference's."""

    def detect(sample: ColumnSample) -> Evidence:
        now, before = int(sample.current[place]), int(sample.reference[place])
        return two_proportions(now, sample.current_rows, before, sample.reference_rows)

    return detect


#: What every window is asked for, whatever a monitor names; it warns and never says drift.
QUALITY = (
    Entry("missing_rate", ("numeric", "categorical"), _share_of_bin(-1)),
    Entry("unseen_rate", ("categorical",), _share_of_bin(-2)),
)
OURS = [entry for entry in CATALOGUE if ":" not in entry.name]
EVERYONE = [*OURS, *QUALITY]
ADAPTERS = [
    pytest.param(
        entry,
        marks=[
            pytest.mark.extras,
            pytest.mark.skipif(
                not (alibi_adapter if entry.name.startswith("alibi") else evidently_adapter).AVAILABLE,
                reason="the library is not installed",
            ),
        ],
        id=entry.name,
    )
    for entry in CATALOGUE
    if ":" in entry.name
]
every_entry = pytest.mark.parametrize("entry", EVERYONE, ids=lambda entry: entry.name)
every_detector = pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
DOCS = Path(__file__).parents[3] / "docs"
BILLION = 1_000_000_000


# --- one sample -------------------------------------------------------------------------------------------------------
def samples(kinds: tuple[str, ...]) -> list[tuple[NDArray[np.int64], NDArray[np.int64], str]]:
    """A usual column and odd ones: all rows in one bin, that of missing among them, and a single row."""
    odd = []
    for place, rows in ((0, 100), (1, 100), (5, 100), (9, 100), (10, 100), (11, 100), (4, 1), (11, 1)):
        one = np.zeros(12, dtype=np.int64)
        one[place] = rows
        odd.append(one)
    usual = np.array([1, 40, 30, 20, 80, 70, 3, 2, 1, 0, 0, 5])
    return [(before, now, kind) for kind in kinds for before in [usual, *odd] for now in [usual, *odd]]


def p_of(entry: Entry, sample: ColumnSample) -> float:
    found = entry.detect(sample).p_value
    assert found is not None
    return found


@pytest.mark.filterwarnings("error")
@every_entry
def test_it_answers_every_sample_with_finite_evidence_and_leaves_it_alone(entry: Entry) -> None:
    for before, now, kind in samples(entry.kinds):
        kept = before.copy(), now.copy()
        found = entry.detect(build(before, now, kind))
        assert np.isfinite(found.statistic)
        assert found.statistic >= 0.0
        assert found.p_value is not None
        assert 0.0 <= found.p_value <= 1.0
        assert found.direction == "larger_is_worse"
        assert np.array_equal(before, kept[0])
        assert np.array_equal(now, kept[1])
        assert entry.detect(build(before, now, kind)) == found


@pytest.mark.parametrize("entry", ADAPTERS)
def test_an_adapter_answers_every_sample_or_says_that_it_has_no_p_value(entry: Entry) -> None:
    usual = samples(entry.kinds)[0][0]
    for before, now, kind in samples(entry.kinds):
        if before is usual or now is usual:
            found = entry.detect(build(before, now, kind))
            assert np.isfinite(found.statistic)
            assert found.p_value is None or 0.0 <= found.p_value <= 1.0


@every_detector
def test_it_finds_nothing_between_equal_samples(entry: Entry) -> None:
    for before, _, kind in samples(entry.kinds):
        found = entry.detect(build(before, before, kind))
        assert found.statistic == pytest.approx(0.0, abs=1e-9)
        assert found.p_value is not None
        assert found.p_value > 0.9


@every_detector
def test_it_is_surer_of_a_larger_shift(entry: Entry) -> None:
    before = np.array([0, 400, 400, 400, 400, 400, 400, 400, 400, 0, 0, 0])
    for kind in entry.kinds:
        p_values = []
        for shift in (0, 10, 40, 100):
            now = before // 4 + np.array([0, -shift, -shift, 0, 0, 0, 0, shift, shift, 0, 0, 0])
            p_values.append(p_of(entry, build(before, now, kind)))
        assert p_values == sorted(p_values, reverse=True)
        assert p_values[-1] < 1e-10


@pytest.mark.filterwarnings("error")
@every_detector
def test_of_billions_of_rows_equal_shares_are_equal_and_a_thousandth_is_certain(entry: Entry) -> None:
    shares = np.array([0, 100, 100, 100, 100, 100, 100, 100, 100, 0, 0, 200])
    moved = np.array([0, 101, 101, 101, 101, 99, 99, 99, 99, 0, 0, 200])
    for kind in entry.kinds:
        for before, now in ((shares * BILLION // 1000, shares * (BILLION // 500)), (shares, shares * BILLION)):
            same = entry.detect(build(before, now, kind))
            assert same.statistic == pytest.approx(0.0, abs=1e-3)
            assert same.p_value == pytest.approx(1.0, abs=0.1)
        found = entry.detect(build(shares * BILLION, moved * BILLION, kind))
        assert np.isfinite(found.statistic)
        assert found.p_value is not None
        assert found.p_value < 1e-12


def null_counts(shape: str, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A reference of 3,000 rows and a window of 400 of one distribution, on twelve bins."""
    shares = {
        "even": np.array([0, *[0.125] * 8, 0, 0, 0]),
        "one large bin": np.array([0, 0.7, 0.1, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01, 0, 0, 0]),
        "a long tail and missing": np.array([0.01, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.003, 0.002, 0.0, 0.1]),
    }[shape]
    return rng.multinomial(3000, shares / shares.sum()), rng.multinomial(400, shares / shares.sum())


@pytest.mark.parametrize("shape", ["even", "one large bin", "a long tail and missing"])
@every_entry
def test_it_keeps_its_false_alarms_where_nothing_moved(entry: Entry, shape: str) -> None:
    rng = np.random.default_rng(7)
    for kind in entry.kinds:
        p_values = [p_of(entry, build(*null_counts(shape, rng), kind)) for _ in range(600)]
        for rate in (0.05, 0.01):
            alarms = float(np.mean(np.array(p_values) <= rate))
            # Four standard errors of 600 draws above; the asymptotic laws are allowed a tenth.
            assert alarms <= rate * 1.1 + 4.0 * np.sqrt(rate * (1 - rate) / 600), kind


@every_detector
def test_several_columns_at_once_are_answered_as_each_alone(entry: Entry) -> None:
    if entry.of_columns is None:
        return
    rng = np.random.default_rng(9)
    for kind in entry.kinds:
        apart = [build(before, now, kind) for before, now, drawn in samples(entry.kinds) if drawn == kind]
        for bins in (4, 30, 300):
            shares = np.concatenate((rng.dirichlet(np.ones(bins)), [0.01]))
            shares /= shares.sum()
            apart.append(build(rng.multinomial(5000, shares), rng.multinomial(700, shares), kind))
        for found, sample in zip(entry.of_columns(alongside(apart)), apart, strict=True):
            alone = entry.detect(sample)
            assert (found.statistic, found.p_value) == pytest.approx((alone.statistic, alone.p_value), rel=1e-12)
            assert found.direction == alone.direction


# --- whole windows ----------------------------------------------------------------------------------------------------
def monitor(minimum_rows: int = 50) -> Monitor:
    """One that names every detector of ours for the columns it can look at."""
    numeric, categorical = (
        ", ".join(entry.name for entry in OURS if kind in entry.kinds) for kind in ("numeric", "categorical")
    )
    return parse_monitor(
        f"""
model: every
task: regression
columns:
  - {{name: x, type: numeric, maximum: 99, required: true}}
  - {{name: few, type: numeric}}
  - {{name: same, type: numeric}}
  - {{name: c, type: categorical}}
prediction: {{column: said}}
reference: {{path: every.parquet}}
detectors: {{numeric: [{numeric}], categorical: [{categorical}]}}
windows: {{size: 1h, minimum_rows: {minimum_rows}}}
""",
        "every.yaml",
    )


KEY = WindowKey(StreamKey("default", "every", "1", "stable"), "", 0.0, 3600.0)


@cache
def reference() -> Reference:
    return build_reference(reference_frame(), monitor())


@cache
def evaluator(minimum_rows: int = 50) -> Evaluator:
    return Evaluator(monitor(minimum_rows), reference(), default_bridge())


@cache
def state_of(window: str, order: int = 0, parts: int = 1) -> bytes:
    """The counted window, its rows in another order, in parts that are merged."""
    frame = WINDOWS[window]()
    places = np.random.default_rng(order).permutation(len(frame)) if order else np.arange(len(frame))
    engine = StatisticsEngine({monitor().name: reference()})
    states = []
    for part in np.array_split(places, parts):
        rows = window_rows(frame.iloc[part], monitor())
        states.append(WindowState.from_bytes(engine.observe(monitor(), None, rows)))
    return merge(states).to_bytes()


@cache
def evaluated(window: str, minimum_rows: int = 50) -> Evaluated:
    return evaluator(minimum_rows).evaluate(KEY, WindowState.from_bytes(state_of(window)))


def of(entry: Entry, found: Evaluated) -> list[Result]:
    return [result for result in found.results if result.detector == entry.name]


def columns(entry: Entry) -> set[str]:
    kinds = {"x": "numeric", "few": "numeric", "same": "numeric", "said": "numeric", "c": "categorical"}
    return {name for name, kind in kinds.items() if kind in entry.kinds}


def assert_answered(result: Result) -> None:
    assert result.reason
    if result.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        return
    assert np.isfinite(result.statistic)
    assert result.p_value is not None
    assert 0.0 <= result.p_value <= 1.0
    assert result.effect is not None
    assert -1.0 <= result.effect.lower <= result.effect.value <= result.effect.upper <= 1.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("minimum_rows", [1, 50])
@every_entry
def test_every_window_is_answered_or_said_to_be_too_little(entry: Entry, minimum_rows: int) -> None:
    for window in WINDOWS:
        found = of(entry, evaluated(window, minimum_rows))
        few = len(WINDOWS[window]()) < minimum_rows
        assert {result.column for result in found} == (shown_of_few(entry) if few else columns(entry)), window
        for result in found:
            assert_answered(result)
            assert (result.verdict is Verdict.NOT_ENOUGH_EVIDENCE) == few, window


def shown_of_few(entry: Entry) -> set[str]:
    """Where there are too few rows for any detector, a column is answered under the name of the one that decides."""
    if entry in QUALITY:
        return columns(entry)
    return {"ks": columns(entry), "psi": {"c"}}.get(entry.name, set())


@every_entry
def test_neither_order_nor_parts_nor_bytes_nor_a_second_time_change_an_answer(entry: Entry, tmp_path: Path) -> None:
    live = of(entry, evaluated("half missing"))
    assert live
    assert state_of("half missing", order=3, parts=5) == state_of("half missing")
    reference().save(tmp_path / "reference.npz")
    again = Evaluator(monitor(), load_reference(tmp_path / "reference.npz"), default_bridge())
    assert of(entry, again.evaluate(KEY, WindowState.from_bytes(state_of("half missing")))) == live


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("window", ["like the reference", "unseen", "half missing", "infinite"])
@every_entry
def test_a_billion_rows_are_answered(entry: Entry, window: str) -> None:
    state = WindowState.from_bytes(state_of(window))
    times = BILLION // REFERENCE_ROWS
    large = WindowState(
        {name: Section(section.values * times, section.sums) for name, section in state.sections.items()}
    )
    grown = replace(reference(), counts={name: counts * times for name, counts in reference().counts.items()})
    for judge in (evaluator(), Evaluator(monitor(), grown, default_bridge())):
        found = of(entry, judge.evaluate(KEY, large))
        assert {result.column for result in found} == columns(entry)
        for result in found:
            assert_answered(result)
            assert result.verdict is not Verdict.NOT_ENOUGH_EVIDENCE
    if entry in QUALITY:
        return
    expected = Verdict.OK if window == "like the reference" else Verdict.DRIFTED
    # The same shares of a billion rows on both sides differ by what chance did to a few thousand: too little to matter.
    verdicts = {result.verdict for result in found if result.column in ("x", "c")}
    assert verdicts <= ({Verdict.WARNING, Verdict.OK} if expected is Verdict.OK else set(Verdict))


def test_the_windows_without_change_are_quiet_and_those_with_one_are_not() -> None:
    """Else all of the above would hold of a detector that never says anything."""
    for window, wanted in {"like the reference": Verdict.OK, "constant": Verdict.DRIFTED}.items():
        (whole,) = [
            result
            for result in evaluated(window).results
            if (result.column, result.detector) == (WHOLE_WINDOW, "window")
        ]
        assert whole.verdict is wanted


# --- what people read -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_it_says_what_it_does(entry: Entry) -> None:
    assert isinstance(inspect.getdoc(entry.detect), str)
    assert list(inspect.signature(entry.detect).parameters) == ["sample"]


@pytest.mark.parametrize("entry", EVERYONE, ids=lambda entry: entry.name)
def test_it_has_a_short_page_that_the_list_links_to(entry: Entry) -> None:
    page = (DOCS / "detectors" / f"{entry.name}.md").read_text()
    assert page.startswith("# `" + entry.name + "`")
    assert len(page.splitlines()) <= 25
    for heading in ("**When.**", "**When not.**", "**Cost.**", "**Source.**"):
        assert heading in page
    assert f"](detectors/{entry.name}.md)" in (DOCS / "detectors.md").read_text()
