"""The command ``driftline``: its sub-commands, and one place where errors become a sentence and an exit code."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

import typer

from driftline import __version__
from driftline.cli import (
    analyze,
    backtest,
    build,
    check,
    completeness,
    deadletters,
    demo,
    erase,
    labels,
    migrate,
    run,
    tokens,
    up,
)
from driftline.errors import DriftlineError, FaultsError

app = typer.Typer(
    name="driftline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "Log every inference of your models, watch inputs, predictions and accuracy for drift, and page when an "
        "objective is at risk.\n\n"
        "First steps: [bold]driftline demo[/bold] shows the whole path on one machine in two minutes; "
        "[bold]driftline init[/bold] writes a monitor from your training data; [bold]driftline up[/bold] watches your "
        "model server with it; [bold]driftline doctor[/bold] walks the chain and names the broken link.\n\n"
        "Settings come from options, the environment (DRIFTLINE_*) and defaults, in this order."
    ),
)
alerts = typer.Typer(no_args_is_help=True, help="Burn-rate rules, Alertmanager configuration, embedded evaluation.")
dashboards = typer.Typer(no_args_is_help=True, help="Grafana boards and the web pages.")
labels_app = typer.Typer(no_args_is_help=True, help="Send what turned out to be true.")
letters_app = typer.Typer(no_args_is_help=True, help="What the collector could not use: list, show, replay.")
tokens_app = typer.Typer(no_args_is_help=True, help="Who may do what over HTTP: make, list and revoke tokens.")
reference = typer.Typer(no_args_is_help=True, help="What is expected: build references, and check that they are fit.")

_ONE_MACHINE = "On one machine"
_PARTS = "Parts, one process each"
_FILES = "Files and reports"
app.add_typer(alerts, name="alerts", rich_help_panel=_PARTS)
app.add_typer(dashboards, name="dashboards", rich_help_panel=_PARTS)
app.add_typer(labels_app, name="labels", rich_help_panel=_FILES)
app.add_typer(letters_app, name="deadletters", rich_help_panel=_FILES)
app.add_typer(tokens_app, name="tokens", rich_help_panel=_FILES)
app.add_typer(reference, name="reference", rich_help_panel=_FILES)
app.command("demo", rich_help_panel=_ONE_MACHINE)(demo.demo)
app.command("up", rich_help_panel=_ONE_MACHINE)(up.up)
app.command("doctor", rich_help_panel=_ONE_MACHINE)(check.doctor)
app.command("completeness", rich_help_panel=_ONE_MACHINE)(completeness.completeness)
app.command("serve", rich_help_panel=_PARTS)(run.serve)
app.command("sidecar", rich_help_panel=_PARTS)(run.sidecar)
app.command("collector", rich_help_panel=_PARTS)(run.collector)
app.command("detectors", rich_help_panel=_PARTS)(run.detectors)
app.command("init", rich_help_panel=_FILES)(build.init)
app.command("inject", rich_help_panel=_FILES)(build.inject)
app.command("erase", rich_help_panel=_FILES)(erase.erase)
app.command("migrate", rich_help_panel=_FILES)(migrate.migrate)
app.command("analyze", rich_help_panel=_FILES)(analyze.analyze)
app.command("backtest", rich_help_panel=_FILES)(backtest.backtest)
app.command("report", rich_help_panel=_FILES)(build.report)
app.command("schema", rich_help_panel=_FILES)(build.schema)
alerts.command("build")(build.alerts_build)
alerts.command("check")(build.alerts_check)
alerts.command("evaluate")(run.alerts_evaluate)
dashboards.command("build")(build.dashboards_build)
dashboards.command("serve")(run.dashboards_serve)
labels_app.command("send")(labels.send)
letters_app.command("list")(deadletters.list_letters)
letters_app.command("show")(deadletters.show)
letters_app.command("replay")(deadletters.replay)
tokens_app.command("create")(tokens.create)
tokens_app.command("list")(tokens.list_tokens)
tokens_app.command("revoke")(tokens.revoke)
tokens_app.command("scopes")(tokens.scopes)
labels_app.command("upload")(labels.upload)
reference.command("build")(build.reference_build)
reference.command("check")(build.reference_check)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, of this process where none is given; DriftlineErrors end as one message on stderr and exit
    code 2.
    """
    _end_with_parent(os.environ.get("DRIFTLINE_PARENT_PID"))
    try:
        app(args=arguments)
    except DriftlineError as error:
        typer.secho(f"driftline: {_told(error)}", fg="red", err=True)
        sys.exit(2)
    sys.exit(0)


def _told(error: DriftlineError) -> str:
    """Several faults a line each, so that none is overlooked."""
    if isinstance(error, FaultsError) and len(error.faults) > 1:
        return "\n  ".join([f"{error.subject}:", *error.faults])
    return str(error)


def _end_with_parent(parent_pid: str | None) -> None:
    """Stop when the supervisor that started this process is gone, even if it was killed -9."""
    if parent_pid is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent_pid):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
