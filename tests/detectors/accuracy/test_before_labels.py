"""What a window says of accuracy before its labels, with the first of them, and when accuracy changed."""

import re

import numpy as np
import pytest

from detectors.accuracy.before_labels import FEWEST_LABELS
from detectors.baselines.reference import Reference, build_reference, load_reference
from detectors.counts.frames import judged_rows, window_rows
from detectors.counts.summary import WindowState
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from driftline.monitors import Monitor
from driftline.results import Result, StreamKey, Verdict, WindowKey
from tests.parts.scored_rows import frame_of, monitor, rows_of

KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
MONITOR = monitor()
BRIDGE = default_bridge()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return build_reference(frame_of(*rows_of(10_000, np.random.default_rng(0))), MONITOR)


def state_of(reference: Reference, share: float, rows: int = 3000, watched: Monitor = MONITOR, **how: float) -> bytes:
    rng = np.random.default_rng(1)
    frame = frame_of(*rows_of(rows, rng, **how))
    frame["label"] = frame["label"].where(rng.random(len(frame)) < share)
    columns = window_rows(frame, watched)
    judged = judged_rows(frame, columns, watched)
    assert judged is not None
    engine = StatisticsEngine({watched.name: reference})
    return engine.judge(watched, engine.observe(watched, None, columns), judged.labelled(judged.weight > 0))


def results_of(reference: Reference, state: bytes) -> dict[str, Result]:
    found = Evaluator(MONITOR, reference, BRIDGE).evaluate(KEY, WindowState.from_bytes(state))
    return {result.detector: result for result in found.results if result.kind == "performance"}


def test_without_labels_metrics_are_estimated_and_say_so(reference: Reference) -> None:
    found = results_of(reference, state_of(reference, 0.0))
    assert found["accuracy"].verdict is Verdict.NOT_ENOUGH_EVIDENCE
    estimates = {f"estimated_{name}" for name in ("accuracy", "precision", "recall", "f1", "auc")}
    assert set(found) == {"accuracy", "label_shift", *estimates}
    for name in estimates:
        assert found[name].verdict is Verdict.OK, found[name].reason
        assert "estimated without labels" in found[name].reason
        assert found[name].coverage is None
        assert found[name].sample_size == 3000
        assert found[name].statistic == pytest.approx(found[name].reference_value, abs=0.04)


def test_the_first_labels_correct_and_enough_of_them_need_no_help(reference: Reference) -> None:
    few = results_of(reference, state_of(reference, 0.05))
    assert few["corrected_accuracy"].sample_size >= FEWEST_LABELS
    assert few["corrected_accuracy"].coverage == pytest.approx(0.05, abs=0.02)
    some = results_of(reference, state_of(reference, 0.3))
    assert {name for name in some if "_" in name} == {"corrected_accuracy", "calibration_error", "log_loss"}
    every = results_of(reference, state_of(reference, 1.0))
    assert {name for name in every if "_" in name} == {"calibration_error", "log_loss"}


def test_labels_that_shifted_are_told_and_the_estimate_does_not_cry(reference: Reference) -> None:
    found = results_of(reference, state_of(reference, 0.0, prior=0.6))
    assert found["label_shift"].verdict is Verdict.WARNING
    assert found["label_shift"].statistic == pytest.approx(0.6, abs=0.05)
    assert "if labels shifted" in found["estimated_accuracy"].reason


def test_harder_rows_are_estimated_to_be_worse(reference: Reference) -> None:
    rng = np.random.default_rng(2)
    score, truth = rows_of(40_000, rng)
    near = np.abs(score - 0.5) < 0.3
    frame = frame_of(score[near][:3000], truth[near][:3000])
    engine = StatisticsEngine({MONITOR.name: reference})
    found = results_of(reference, engine.observe(MONITOR, None, window_rows(frame, MONITOR)))
    assert found["estimated_accuracy"].verdict is Verdict.WARNING
    shown = float((frame["prediction"] == frame["label"]).mean())
    effect = found["estimated_accuracy"].effect
    assert effect is not None
    assert effect.lower < shown < effect.upper


def test_why_accuracy_changed_is_told_where_it_did(reference: Reference) -> None:
    found = results_of(reference, state_of(reference, 1.0, flipped=0.2))
    assert found["accuracy_change_concept"].verdict is Verdict.WARNING
    told = re.fullmatch(
        r"accuracy changed by (-[\d.]+) percentage points \(.* to .*\); "
        r"(-[\d.]+) \(.* to .*\) of it by .* \(concept shift\)",
        found["accuracy_change_concept"].reason,
    )
    assert told is not None
    assert float(told[2]) == pytest.approx(100 * found["accuracy_change_concept"].statistic, abs=0.05)
    causes = [found[f"accuracy_change_{name}"].statistic for name in ("concept", "label", "covariate")]
    assert float(told[1]) == pytest.approx(100 * sum(causes), abs=0.05)
    assert {found[f"accuracy_change_{name}"].verdict for name in ("label", "covariate")} == {Verdict.OK}


def test_a_reference_that_was_saved_gives_the_same(reference: Reference, tmp_path) -> None:
    reference.save(tmp_path / "r")
    state = state_of(reference, 0.05, flipped=0.2)
    assert results_of(load_reference(tmp_path / "r"), state) == results_of(reference, state)


def test_odd_windows_are_answered(reference: Reference) -> None:
    engine = StatisticsEngine({MONITOR.name: reference})
    frame = frame_of(*rows_of(300, np.random.default_rng(3)))
    for odd in (
        frame.assign(score=np.nan),
        frame.assign(score=np.inf),
        frame.assign(prediction=None),
        frame.assign(prediction="never seen"),
        frame.assign(score=1.0),
        frame.iloc[:1],
        frame.iloc[:0],
    ):
        for found in results_of(reference, engine.observe(MONITOR, None, window_rows(odd, MONITOR))).values():
            assert np.isfinite(found.statistic)
            assert found.effect is None or 0.0 <= found.effect.lower <= found.effect.upper <= 1.0
