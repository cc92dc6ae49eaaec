"""What people get wrong on the command line: one sentence each, with field and value and no traceback; and its help."""

from pathlib import Path

import pandas as pd
import pytest

from driftline.cli.app import main
from driftline.cli.moments import moment_s
from driftline.errors import SettingsError


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr; anything but a message of ours is raised here."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_names_that_no_monitor_may_have_are_all_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "train.csv"
    pd.DataFrame({"age": [row % 90 for row in range(300)], "late": [0, 1] * 150}).to_csv(file, index=False)
    wanted = ["--reference", str(file), "--target", "late", "--model", "Fraud X", "--namespace", "My Team"]
    lines = told(["init", *wanted], capsys).splitlines()
    assert lines[0].startswith("driftline: a monitor of ")
    assert [line.partition(":")[0].strip() for line in lines[1:]] == ["model", "namespace"]
    assert "(found 'Fraud X')" in lines[1]
    assert "(found 'My Team')" in lines[2]


@pytest.mark.parametrize("arguments", [["inject"], ["labels", "upload"], ["labels", "send"]])
def test_a_file_that_is_not_there_is_named(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert f"{tmp_path}/none does not exist" in told([*arguments, f"{tmp_path}/none"], capsys).replace("'", "")


def test_moments_keep_the_zone_that_they_name() -> None:
    def now() -> float:
        return 1e9

    assert moment_s("since", "2026-03-01T00:00+02:00", now) == moment_s("since", "2026-02-28T22:00", now)
    assert moment_s("since", "2026-03-01", now) == moment_s("since", "2026-03-01T00:00Z", now)
    assert moment_s("since", "90m", now) == 1e9 - 5400
    assert moment_s("since", None, now) is None
    with pytest.raises(SettingsError, match="--since: 'yesterday' is no moment"):
        moment_s("since", "yesterday", now)


def test_brackets_in_help_texts_are_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["analyze", "--help"])
    assert "needs driftline[evidently]." in capsys.readouterr().out
