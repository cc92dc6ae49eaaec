"""``driftline analyze``: two files compared, without any part running."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli import wiring
from driftline.cli.report_files import Out, ReportFile, format_option, report_file
from driftline.errors import SettingsError

if TYPE_CHECKING:
    from driftline.cli.analysis import Analysis

_ENGINES = ("python", "spark")
_FORMS = ("html", "json", "markdown")


def analyze(
    reference: Annotated[Path, typer.Argument(help="What is expected: training data, Parquet or CSV.")],
    current: Annotated[str, typer.Argument(help="What came: Parquet or CSV, of any size.")],
    monitor: Annotated[Path | None, typer.Option(help="Monitor file; drafted when left out.")] = None,
    target: Annotated[str | None, typer.Option(help="Column with the true value.")] = None,
    prediction: Annotated[str | None, typer.Option(help="Column with the model's prediction.")] = None,
    score: Annotated[str | None, typer.Option(help="Column with the positive class's probability.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of times: rows are cut into windows by it.")] = None,
    labels: Annotated[Path | None, typer.Option(help="File with the true values, where they lie apart.")] = None,
    key: Annotated[str, typer.Option(help="Column that labels are found by, in both files.")] = "id",
    model: Annotated[str, typer.Option(help="What the report calls the model.")] = "model",
    exact: Annotated[
        bool, typer.Option("--exact", help="A bin for every value, none rounded; both files are held in memory.")
    ] = False,
    engine: Annotated[str, typer.Option(help="Who counts: python, or spark (extra spark; of Parquet).")] = "python",
    spark_master: Annotated[str | None, typer.Option(help="As local[4]; the configured one when left out.")] = None,
    form: Annotated[str | None, format_option("html", "json", "markdown")] = None,
    out: Out = None,
    multivariate: Annotated[str, typer.Option(help="Detectors of all columns together: 'domain_classifier,mmd'.")] = "",
    evidently_report: Annotated[
        Path | None,
        typer.Option(help="Evidently's own report beside ours, an HTML file; needs driftline\\[evidently]."),
    ] = None,
    fail_on_drift: Annotated[bool, typer.Option("--fail-on-drift", help="Exit 1 when it drifted.")] = False,
) -> None:
    """Compare a file with a reference: what moved, by how much, and what it did to accuracy, in one report."""
    wiring.one_thread_per_product()
    from driftline.cli.analysis import analyze as run
    from driftline.cli.analysis import evidently_report as save_evidently
    from driftline.cli.label_files import LabelFile
    from driftline.results import Verdict

    if engine not in _ENGINES:
        raise SettingsError("analyze", [f"--engine is '{engine}', not one of {', '.join(_ENGINES)}"])
    file = report_file("analyze", _FORMS, form, out)
    found = run(
        reference,
        current,
        target=target,
        prediction=prediction,
        score=score,
        time=time,
        labels=None if labels is None else LabelFile(labels, key),
        monitor=None if monitor is None else wiring.read_monitor(monitor),
        model=model,
        engine="spark" if engine == "spark" else "python",
        spark_master=spark_master,
        exact=exact,
        multivariate=tuple(multivariate.replace(",", " ").split()),
        progress=_show,
    )
    _tell(found, file)
    if evidently_report is not None:
        save_evidently(reference, current, found.report.monitor, evidently_report)
    if fail_on_drift and found.verdict is Verdict.DRIFTED:
        raise typer.Exit(1)


def _tell(found: "Analysis", file: ReportFile) -> None:
    typer.echo(err=True)
    text = {"html": found.html, "json": found.json, "markdown": found.markdown}[file.form]()
    if file.path is None:
        typer.echo(text)
        return
    file.write(text)
    typer.echo(f"{found.report.sentence}\nwrote {file.path}", err=True)


def _show(done: int, total: int | None) -> None:
    share = f" of {total:,} ({done / total * 100:.0f} %)" if total else ""
    typer.echo(f"\r{done:,}{share} rows", nl=False, err=True)
