"""``driftline labels send`` and ``upload``: lines, one label by hand, or a file with a bar that shows how far it is."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from driftline.cli.api import COLLECTOR, Url, request_json
from driftline.errors import DriftlineError, SettingsError

_LINES = (".ndjson", ".jsonl")
#: So many bytes of lines are one request: some ten thousand labels, a second or two of work.
_PIECE_BYTES = 1024 * 1024
_POLL_S = 0.2
_FAULTS_SHOWN = 100
#: Every label was refused: still an answer that says why, one by one.
_ALL_REFUSED = 422


def send(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Newline-delimited JSON (.ndjson, .jsonl); anything else as 'upload' does.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    url: Url = COLLECTOR,
    request_id: Annotated[str | None, typer.Option(help="One label by hand: the request id.")] = None,
    key: Annotated[str | None, typer.Option(help="One label by hand: the business key, in its place.")] = None,
    value: Annotated[str | None, typer.Option(help="One label by hand: what turned out to be true.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="One label by hand: take it back.")] = False,
    model: Annotated[str, typer.Option(help="The model: of a label by hand, or of CSV and Parquet without one.")] = "",
    namespace: Annotated[str, typer.Option(help="The model's namespace.")] = "default",
    row: Annotated[int, typer.Option(help="One label by hand: the row within the request.")] = 0,
) -> None:
    """Send labels to the collector and print what became of them."""
    from driftline.cli import wiring

    by_hand = bool(request_id or key)
    if file is not None and not by_hand:
        if file.suffix in _LINES:
            _send_lines(url, file)
        else:
            upload(file, url=url, model=model, namespace=namespace)
    elif file is None and by_hand and model and (value is not None) != withdraw:
        label = {
            "request_id": request_id or "",
            "key": key or "",
            "value": value,
            "model": model,
            "namespace": namespace,
            "row": row,
            "observed_at_s": wiring.clock()(),
        }
        answer = request_json("POST", f"{url}/v1/labels", body=label, also=[_ALL_REFUSED])
        _tell(
            1, answer["refused"], answer["outcomes"], [fault for each in answer["faults"] for fault in each["faults"]]
        )
    else:
        raise SettingsError(
            "labels send",
            ["give a FILE, or --request-id (or --key) with --model and either --value or --withdraw"],
        )


def upload(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet.", exists=True, dir_okay=False)],
    url: Url = COLLECTOR,
    request_id_column: Annotated[str, typer.Option(help="Column with the request id.")] = "request_id",
    key_column: Annotated[str, typer.Option(help="Column with the business key, in its place.")] = "key",
    label_column: Annotated[str, typer.Option(help="Column with the true value; empty withdraws.")] = "value",
    row_column: Annotated[str, typer.Option(help="Column with the row within the request.")] = "row",
    time_column: Annotated[
        str, typer.Option(help="Column with the time the truth was known: seconds or ISO 8601.")
    ] = "observed_at_s",
    model_column: Annotated[str, typer.Option(help="Column with the model.")] = "model",
    model: Annotated[str, typer.Option(help="The model of all rows, where no column says it.")] = "",
    namespace: Annotated[str, typer.Option(help="The namespace of all rows, where no column says it.")] = "default",
    wait: Annotated[bool, typer.Option(help="Wait until the file is joined, and show how far it is.")] = True,
) -> None:
    """Upload a file of labels to the collector, which joins it in the background."""
    mapping = {
        "request_id_column": request_id_column,
        "key_column": key_column,
        "label_column": label_column,
        "row_column": row_column,
        "time_column": time_column,
        "model_column": model_column,
        "model": model,
        "namespace": namespace,
    }
    headers = {"content-type": "application/octet-stream", "x-filename": file.name}
    with file.open("rb") as content:
        begun = request_json(
            "POST", f"{url}/v1/labels/upload", mapping, timeout_s=600, content=content, headers=headers
        )
    typer.echo(f"upload {begun['id']}")
    if wait:
        _show(_follow(f"{url}/v1/uploads/{begun['id']}"))


def _follow(place: str) -> Mapping[str, Any]:
    """The upload once it has ended, with a bar until then."""
    found: dict[str, Any] = request_json("GET", place)
    with typer.progressbar(length=max(found["size_bytes"], 1), label="joining") as bar:
        while found["state"] in ("waiting", "working"):
            bar.update(max(0, found["bytes_read"] - bar.pos))
            time.sleep(_POLL_S)
            found = request_json("GET", place)
        bar.update(max(0, found["bytes_read"] - bar.pos))
    return found


def _show(found: Mapping[str, Any]) -> None:
    faults = []
    for fault in found["faults"]:
        column = f" {fault['column']} '{fault['value']}'" if fault["column"] else ""
        faults.append(f"line {fault['line']}:{column}: {fault['fault']}")
    if found["state"] != "done":
        typer.echo(f"{found['state']}: {found['error'] or ''}")
    _tell(found["rows_read"], found["refused"], found["outcomes"], faults)
    if found["state"] != "done":
        raise typer.Exit(1)


def _send_lines(url: str, file: Path) -> None:
    """A file of lines, a piece after the other: however long it is, no answer is long in coming."""
    received, refused, outcomes = 0, 0, Counter[str]()
    faults: list[str] = []
    headers = {"content-type": "application/x-ndjson"}
    with typer.progressbar(length=max(file.stat().st_size, 1), label="sending") as bar:
        for before, piece in _pieces(file):
            try:
                answer = request_json(
                    "POST", f"{url}/v1/labels", timeout_s=600, content=piece, headers=headers, also=[_ALL_REFUSED]
                )
            except DriftlineError:
                typer.echo(f"\nstored up to line {before}; sending all of the file again changes nothing", err=True)
                raise
            received += answer["received"]
            refused += answer["refused"]
            outcomes.update(answer["outcomes"])
            faults += [
                f"line {before + each['line']}: {fault}" for each in answer["faults"] for fault in each["faults"]
            ]
            bar.update(len(piece))
    _tell(received, refused, outcomes, faults)


def _pieces(file: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines, about a piece's bytes of them, each with the number of lines before."""
    before = 0
    with file.open("rb") as lines:
        while piece := lines.readlines(_PIECE_BYTES):
            yield before, b"".join(piece)
            before += len(piece)


def _tell(received: int, refused: int, outcomes: Mapping[str, int], faults: Sequence[str]) -> None:
    """What became of labels, in words; exits 1 when none was taken."""
    counted = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())) or "none"
    typer.echo(f"{received} {'row' if received == 1 else 'rows'}: {counted}")
    for fault in faults[:_FAULTS_SHOWN]:
        typer.echo(f"  {fault}")
    if refused > min(len(faults), _FAULTS_SHOWN):
        typer.echo(f"  and {refused - min(len(faults), _FAULTS_SHOWN)} more")
    if outcomes.get("pending"):
        typer.echo("pending ones wait for their predictions, for as long as 'labels.timeout' of the monitor says")
    if refused == received > 0:
        raise typer.Exit(1)
