"""The benchmarks' runner: reads closing lines, writes figures as measured, and says what failed."""

from datetime import UTC, datetime

import pytest

from benchmarks.run_all import closing_line, page

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
