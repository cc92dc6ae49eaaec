"""The benchmarks' runner: reads closing lines, writes figures as measured, and says what failed."""

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks.builds import CHECKOUT, PACKAGES, code_of, differences, other_build
from benchmarks.detection_nab import Stream, best, score
from benchmarks.detection_tcpd import cover, f1
from benchmarks.false_alarms_streams import STREAMS
from benchmarks.run_all import closing_line, kept, page
from benchmarks.sidecar_contenders import Cores, descendants, process
from benchmarks.sidecar_figures import cpu_ratios, middle, quartiles
from tests.parts.processes import wait_until

RESULT = (
    '{"benchmark": "path", "figures": {"a_s": 0.5, "n": {"x": 12345.6}}, '
    '"against": {"b_s": 2}, "machine": {"cores": 2}}'
)


def test_the_last_line_counts() -> None:
    assert closing_line(f"warming up\n{RESULT}\n\n")["figures"] == {"a_s": 0.5, "n": {"x": 12345.6}}


@pytest.mark.parametrize("output", ["", "done", RESULT + "\nbye", '{"benchmark": "x"}'])
def test_anything_else_at_the_end_is_a_failure(output: str) -> None:
    with pytest.raises(ValueError, match=r"last line is not JSON|closing line lacks"):
        closing_line(output)


def test_our_own_programs_run_the_code_of_this_checkout(tmp_path: Path) -> None:
    environ = {**os.environ, **code_of(Path(sys.executable))}
    asked = [sys.executable, "-c", "import logger_sidecar; print(logger_sidecar.__file__)"]
    said = subprocess.run(asked, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == str(CHECKOUT / "logger_sidecar" / "__init__.py")


def test_an_environment_with_other_code_is_found_out(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for root in (ours, theirs):
        for package in PACKAGES:
            (root / package).mkdir(parents=True)
            (root / package / "same.py").write_text("1\n")
    (ours / "collector" / "changed.pyx").write_text("1\n")
    (theirs / "collector" / "changed.pyx").write_text("2\n")
    (ours / "alerts" / "new.py").write_text("")
    (theirs / "serving" / "gone.py").write_text("")
    (theirs / "serving" / "built.so").write_text("")
    assert list(differences(theirs, ours)) == ["collector/changed.pyx", "serving/gone.py", "alerts/new.py"]


@pytest.mark.parametrize(
    ("python", "fault"), [("/nowhere/python", "No such file"), ("/bin/false", "cannot import driftline")]
)
def test_no_environment_at_all_is_said(python: str, fault: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=fault):
        other_build(python)


def test_a_run_of_some_keeps_the_sections_of_the_others() -> None:
    before = "# Results\n\nOld.\n\n## a\n\n1\n\n### inner\n\n## b\n\n2\n"
    now = "# Results\n\nNew.\n\n## b\n\n3\n\n## c\n\n4\n"
    assert kept(before, now) == "# Results\n\nNew.\n\n## a\n\n1\n\n### inner\n\n## b\n\n3\n\n## c\n\n4\n"


def test_tables_are_shown_as_tables() -> None:
    result = {**closing_line(RESULT), "tables": [{"title": "Who", "head": ["x", "y"], "rows": [["one", 2]]}]}
    text = page([result], [], datetime(2026, 1, 2, tzinfo=UTC))
    assert "### Who\n\n| x | y |\n| --- | --- |\n| one | 2 |\n" in text


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_without_change_is_drawn_as_it_says(name: str) -> None:
    stream = replace(STREAMS[name], rows=40)
    reference, windows = stream.draw(seed=1, windows=2)
    again, _ = stream.draw(seed=1, windows=2)
    for column, values in reference.items():
        assert values.shape == (400,)
        assert windows[column].shape == (2, 40)
        assert np.array_equal(values, again[column], equal_nan=values.dtype.kind == "f")


def test_the_page_shows_both_sides_and_what_failed() -> None:
    text = page([closing_line(RESULT)], ["sidecar"], datetime(2026, 1, 2, tzinfo=UTC))
    assert "on 2026-01-02" in text
    for line in (
        "| driftline | a_s | 0.5 |",
        "| driftline | n.x | 12346 |",
        "| against | b_s | 2 |",
        "Machine: cores 2.",
    ):
        assert line in text
    assert "`sidecar` failed in this run and has no figures." in text


def test_changes_are_scored_as_the_papers_of_the_benchmarks_have_it() -> None:
    marks = {"a": {0, 50}, "b": {0, 50, 80}, "c": {0}}
    # Nobody says anything: precision 1; recall 1/2, 1/3 and 1; one piece covers each of theirs by its length.
    assert f1(marks, {0}, 5) == pytest.approx(2 * (11 / 18) / (1 + 11 / 18))
    assert cover(marks, {0}, 100) == pytest.approx((0.5 + (0.25 + 0.09 + 0.04) + 1.0) / 3)
    assert f1({"a": {0, 50}}, {0, 54, 56}, 5) == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))
    assert cover({"a": {0, 50}}, {0, 50}, 100) == 1.0


def test_a_stream_of_anomalies_is_scored_by_when_something_is_said() -> None:
    stream = Stream("s", np.zeros(1000), ((400, 499),), 150)
    worth = {place: score([stream], [np.arange(1000) == place]) for place in (10, 300, 400, 499, 505, 900)}
    assert worth[10] == 0.0  # there to learn from
    assert worth[400] == pytest.approx(100.0)
    assert 50.0 < worth[499] < 55.0
    assert worth[300] == worth[900] == pytest.approx(-5.5)
    assert worth[900] < worth[505] < 0.0
    assert best([stream], [np.where(np.arange(1000) == 400, 1.0, 0.1)]) == pytest.approx(100.0)


def test_a_ratio_is_of_what_was_measured_in_the_same_round() -> None:
    ours = {"cpu_us": [30.0, 10.0, 22.0], "p50_us": [9.0, 9.0, 9.0], "p99_us": [9.0, 9.0, 9.0]}
    rounds = {
        "1k": {"direct": {**ours, "cpu_us": []}, "nginx": {**ours, "cpu_us": [20.0, 10.0, 20.0]}, "sidecar": ours},
    }
    assert cpu_ratios(rounds, "1k", "sidecar") == [1.5, 1.0, 1.1]
    assert middle(cpu_ratios(rounds, "1k", "sidecar")) == 1.1
    assert middle(cpu_ratios(rounds, "1k", "sidecar_compiled")) is None
    assert quartiles([1.5, 1.0, 1.1]) == {"lowest": 1.0, "lower": 1.05, "upper": 1.3, "highest": 1.5, "rounds": 3}


def test_helpers_are_moved_and_the_proxy_stays() -> None:
    usable = sorted(os.sched_getaffinity(0))
    cores = Cores(str(usable[0]), str(usable[-1]))
    with process(["sh", "-c", "sh -c 'sleep 60; :' & wait"], None) as pid:
        wait_until(lambda: len(descendants(pid)) == 2, what="both helpers")
        cores.move_helpers(pid)
        assert [os.sched_getaffinity(helper) for helper in descendants(pid)] == [{usable[-1]}, {usable[-1]}]
        assert os.sched_getaffinity(pid) == set(usable)
