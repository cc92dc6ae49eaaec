"""What people get wrong on the command line: one sentence each, with field and value and no traceback; and its help."""

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detectors.counts.frames import load_frame
from driftline.cli.app import main
from driftline.cli.moments import moment_s
from driftline.cli.report_files import report_file
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


@pytest.mark.parametrize(
    ("form", "out", "fault"),
    [
        ("pdf", None, "--format is 'pdf', not one of html, json, markdown"),
        (None, "week.pdf", r"week.pdf ends in none of .html, .json, .md; or say --format"),
        ("json", "week.html", "week.html is called html, --format says json; change one of them"),
        (None, "", "is a directory; name a file in it"),
    ],
)
def test_a_report_that_would_not_be_what_its_name_says_is_refused(
    form: str | None, out: str | None, fault: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=fault):
        report_file("report", ["html", "json", "markdown"], form, None if out is None else tmp_path / out)


def test_a_report_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SettingsError, match=r"taken/week\.html cannot be written: "):
        report_file("report", ["html"], None, tmp_path / "taken" / "week").write("x")


def test_init_writes_what_is_found_as_a_monitor_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.csv"
    pd.DataFrame({"age": [row % 90 for row in range(300)]}).to_csv(file, index=False)
    with pytest.raises(SystemExit) as ended:
        main(["init", "--reference", str(file), "--out", str(tmp_path / "monitors" / "fraud")])
    assert ended.value.code == 0
    assert (tmp_path / "monitors" / "fraud.yaml").is_file()
    capsys.readouterr()
    refused = ["init", "--reference", str(file), "--out"]
    assert "m.json ends in none of .yaml, .yml" in told([*refused, str(tmp_path / "m.json")], capsys)
    assert f"is a directory; name a file in it, as {tmp_path}/train.yaml" in told([*refused, str(tmp_path)], capsys)
    assert "exists already" in told([*refused, str(tmp_path / "monitors" / "fraud")], capsys)


def test_alerts_build_says_who_hears_of_alerts_and_refuses_strangers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.yaml").write_text(
        "{model: m, owner: team-a, task: binary, columns: [{name: a, type: numeric}],"
        " slos: {objectives: [{kind: drift, target: 0.9}]}}"
    )
    build = ["alerts", "build", "--monitors", str(tmp_path), "--out", str(tmp_path / "generated")]
    with pytest.raises(SystemExit) as ended:
        main(build)
    assert ended.value.code == 0
    assert "alerts of team-a" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*build, "--owner-webhook", "team-a=http://chat/a", "--heartbeat-url", "http://beat"])
    assert capsys.readouterr().err == ""
    written = (tmp_path / "generated" / "alertmanager.yaml").read_text()
    assert "url: http://chat/a" in written
    assert "url: http://beat" in written
    fault = told([*build, "--owner-webhook", "team-b=http://chat/b", "--owner-webhook", "x"], capsys)
    assert "names 'team-b', who owns no monitor; there are platform, team-a" in fault
    assert "--owner-webhook is 'x', not OWNER=URL" in fault


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("damaged.parquet", b"hello", "damaged.parquet cannot be read: "),
        ("empty.csv", b"", "empty.csv is empty"),
        ("semicolons.csv", b"age;late\n1;0\n", "its first line is 'age;late', separated by semicolons; commas are"),
        ("tabs.csv", b"age\tlate\n1\t0\n", "separated by tabs"),
        ("lacking.csv", b"late,colour\n0,red\n", "column 'age' is missing; there are late, colour"),
        ("folder.csv", None, "folder.csv is a directory"),
        ("train.txt", b"age,late\n1,0\n", "train.txt is neither .parquet nor .csv"),
    ],
)
def test_a_file_that_is_not_as_expected_says_how(
    name: str, content: bytes | None, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tmp_path / "train.csv"
    pd.DataFrame({"age": [row % 90 for row in range(300)], "late": [0, 1] * 150}).to_csv(train, index=False)
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    assert fault in told(["analyze", str(train), str(tmp_path / name), "--target", "late"], capsys)


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
@pytest.mark.parametrize("command", [["analyze", "{train}", "{twice}"], ["init", "--reference", "{twice}"]])
def test_columns_of_one_name_are_named(
    command: list[str], ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({"age": [row % 90 for row in range(300)]}).to_csv(tmp_path / "train.csv", index=False)
    files = {"train": tmp_path / "train.csv", "twice": tmp_path / f"twice.{ending}"}
    if ending == "parquet":
        pq.write_table(pa.table([pa.array([1.0, 2.0])] * 3, names=["age", "b", "age"]), files["twice"])
    else:
        content = b"age,b,age\n1,1,1\n2,2,2\n"
        files["twice"].write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    fault = told([part.format(**files) for part in command], capsys)
    assert fault.endswith(f"twice.{ending} cannot be read: several of its columns have one name: 'age'\n")


@pytest.mark.parametrize("header", ["age,,", "age,age.1,age.2", "\n\nage,NA,"])
def test_columns_without_a_name_are_not_taken_for_each_other(header: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"{header}\n1,2,3\n4,5,6\n")
    assert list(load_frame(tmp_path / "train.csv").to_numpy().ravel()) == [1, 2, 3, 4, 5, 6]


def test_a_byte_order_mark_is_no_part_of_the_first_columns_name(tmp_path: Path) -> None:
    train = tmp_path / "train.csv"
    pd.DataFrame({"age": [row % 90 for row in range(300)]}).to_csv(train, index=False, encoding="utf-8-sig")
    with pytest.raises(SystemExit) as ended:
        main(["analyze", str(train), str(train), "--out", str(tmp_path / "report.md")])
    assert ended.value.code == 0
    assert "have not drifted" in (tmp_path / "report.md").read_text()


def test_init_says_of_each_column_why_none_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"age": [1], "name": ["x"]}).to_csv(tmp_path / "one.csv", index=False)
    assert "target and outputs (age: 1 in every row; drift: true tells of any other; name: 'x' in every row" in told(
        ["init", "--reference", str(tmp_path / "one.csv")], capsys
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff\xfe", "cannot be read: 'utf-8'"),
        (b"", "holds nothing"),
        (b"hello", "holds a text"),
        (None, "is not a file"),
    ],
)
def test_a_monitor_that_cannot_be_read_is_named_by_each_command(
    content: bytes | None, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, monitor = tmp_path / "train.csv", tmp_path / "m.yaml"
    train.write_text("age\n1\n")
    if content is not None:
        monitor.write_bytes(content)
    commands = [["analyze", str(train), str(train), "--monitor", str(monitor)], ["backtest", str(monitor)]]
    if content is not None:
        commands.append(["alerts", "check", "--monitors", str(tmp_path)])
    for command in commands:
        message = told(command, capsys)
        assert "m.yaml" in message
        assert fault in message


def test_what_cannot_be_written_is_named_by_each_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, taken = tmp_path / "train.csv", tmp_path / "taken"
    pd.DataFrame({"age": [row % 90 for row in range(300)]}).to_csv(train, index=False)
    taken.write_text("a file")
    monitors = tmp_path / "monitors"
    assert f"{taken}/m.yaml cannot be written" in told(
        ["init", "--reference", str(train), "--out", f"{taken}/m.yaml"], capsys
    )
    monitors.mkdir()
    (monitors / "m.yaml").write_text("{model: m, task: binary, columns: [{name: age, type: numeric}]}")
    assert "driftline-rules.yaml cannot be written" in told(
        ["alerts", "build", "--monitors", str(monitors), "--out", str(taken)], capsys
    )


@pytest.mark.parametrize("command", [["report", "default/m"], ["backtest", "default/m"]])
def test_what_reads_a_store_that_is_not_there_names_it_and_makes_none(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = "{model: m, task: binary, columns: [{name: age, type: numeric}], reference: {path: train.csv}}"
    (tmp_path / "m.yaml").write_text(monitor)
    (tmp_path / "train.csv").write_text("age\n" + "1\n2\n" * 50)
    missing = tmp_path / "elsewhere" / "driftline.db"
    where = ["--monitors", str(tmp_path), "--database-url", f"sqlite:///{missing}"]
    assert f"there is no file '{missing}'; --database-url says where the store is" in told([*command, *where], capsys)
    assert not missing.parent.exists()


def test_a_monitor_without_objectives_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.yaml").write_text("{model: m, task: binary, columns: [{name: age, type: numeric}]}")
    with pytest.raises(SystemExit) as ended:
        main(["alerts", "check", "--monitors", str(tmp_path)])
    assert ended.value.code == 0
    assert "default/m: has no objectives (slos.objectives)" in capsys.readouterr().out
