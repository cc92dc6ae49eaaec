"""``driftline backtest``: which pages would have fired, before anybody is woken by them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline import names
from driftline.cli import wiring
from driftline.cli.moments import FORMS, moment_s
from driftline.cli.report_files import Out, ReportFile, format_option, report_file
from driftline.errors import MonitorError, SettingsError

if TYPE_CHECKING:
    from driftline.cli.backtesting import Backtest, Plan


def backtest(
    monitor: Annotated[str, typer.Argument(help="NAMESPACE/MODEL of a monitor, or the path of its file.")],
    since: Annotated[str | None, typer.Option(help=f"First moment, {FORMS}; everything when left out.")] = None,
    until: Annotated[str | None, typer.Option(help="Last moment, likewise.")] = None,
    files: Annotated[list[Path] | None, typer.Option(help="Parquet or CSV of rows, instead of the store.")] = None,
    time: Annotated[str, typer.Option(help="Column of times in the files.")] = "time",
    payloads: Annotated[
        str | None,
        typer.Option(help="Directory or address of the collector's payload files: count the stored rows anew."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Try this too: PATH=VALUE in the monitor, as detectors.minimum_effect=0.05."),
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=+5@TIME, =*1.2@TIME, =missing:0.3@TIME or =to:VALUE:0.3@TIME: would it be found?"),
    ] = None,
    changed_at: Annotated[str | None, typer.Option(help="When something is known to have changed.")] = None,
    null_windows: Annotated[
        int, typer.Option(help="Windows drawn from the reference to estimate false alarms.", min=0, max=100_000)
    ] = 200,
    monitors: Annotated[Path, typer.Option(help="Directory of monitor files.", envvar="DRIFTLINE_MONITORS")] = Path(
        "monitors"
    ),
    data_dir: Annotated[Path, typer.Option(help="Where references are kept.")] = wiring.DEFAULT_DATA_DIR,
    database_url: Annotated[
        str, typer.Option(help="SQLAlchemy URL of the store.", envvar="DRIFTLINE_DATABASE_URL")
    ] = names.DATABASE_URL,
    form: Annotated[str | None, format_option("text", "markdown", "html", "json")] = None,
    out: Out = None,
) -> None:
    """Replay stored windows, or files, under a monitor: the pages that would have fired, their delay, false alarms."""
    from detectors.offline.injection import parse_injection

    wiring.one_thread_per_product()
    from driftline.cli import backtest_report
    from driftline.cli.backtesting import Plan, backtest_files

    if files and payloads:
        raise SettingsError("backtest", ["give --files or --payloads, not both"])
    report = report_file("backtest", list(backtest_report.FORMS), form, out)
    file = _monitor_file(monitor, monitors)
    if file.reference_path is None:
        raise MonitorError(file.monitor.name, ["names no reference; nothing can be called drifted"])
    clock = wiring.clock()
    first_s, last_s = moment_s("since", since, clock), moment_s("until", until, clock)
    plan = Plan(
        since_s=-math.inf if first_s is None else first_s,
        until_s=math.inf if last_s is None else last_s,
        changed_at_s=moment_s("changed-at", changed_at, clock),
        injections=tuple(parse_injection(each) for each in inject or ()),
        null_windows=null_windows,
    )
    if files:
        found = backtest_files(file.monitor, file.reference_path, files, time, plan, set_ or ())
    else:
        found = _of_the_store(file, database_url, payloads, data_dir / "references", plan, set_ or ())
    _tell(backtest_report.FORMS[report.form](found), report)


def _of_the_store(
    file: wiring.MonitorFile,
    database_url: str,
    payloads: str | None,
    references: Path,
    plan: "Plan",
    changes: Sequence[str],
) -> "Backtest":
    """Of its windows, or of the payload files that it has registered."""
    from driftline.cli.backtesting import backtest_payloads, backtest_stored

    store, source = wiring.existing_store(database_url), file.reference_path
    if payloads is None or source is None:
        reference = wiring.load_references({file.monitor.name: file}, references)[file.monitor.name]
        return backtest_stored(file.monitor, reference, store, plan, changes)
    root = payloads if "://" in payloads else Path(payloads)
    return backtest_payloads(file.monitor, source, store, root, plan, changes)


def _tell(text: str, report: ReportFile) -> None:
    if report.path is None:
        typer.echo(text, nl=False)
        return
    report.write(text)
    typer.echo(f"wrote {report.path}", err=True)


def _monitor_file(name: str, directory: Path) -> wiring.MonitorFile:
    path = Path(name)
    if path.suffix in wiring.MONITOR_ENDINGS:
        return wiring.MonitorFile(wiring.read_monitor(path), path)
    found = wiring.load_monitor_files(directory)
    if name not in found:
        raise MonitorError(str(directory), [f"has no monitor '{name}'; there are {', '.join(found)}"])
    return found[name]
