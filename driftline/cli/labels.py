"""``driftline labels send`` and ``upload``: lines, one label by hand, or a file with a bar that shows how far it is."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.api import authorization
from driftline.cli.ports import HOST, Ports

if TYPE_CHECKING:
    import httpx

_LINES = (".ndjson", ".jsonl")
_POLL_S = 0.2
Url = Annotated[str, typer.Option(help="The collector's address.")]
_URL = f"http://{HOST}:{Ports().collector}"


def send(
    file: Annotated[
        Path | None, typer.Argument(help="Newline-delimited JSON (.ndjson, .jsonl); anything else as 'upload' does.")
    ] = None,
    url: Url = _URL,
    request_id: Annotated[str | None, typer.Option(help="One label by hand: the request id.")] = None,
    key: Annotated[str | None, typer.Option(help="One label by hand: the business key, in its place.")] = None,
    value: Annotated[str | None, typer.Option(help="One label by hand: what turned out to be true.")] = None,
    model: Annotated[str | None, typer.Option(help="One label by hand: the model.")] = None,
    namespace: Annotated[str, typer.Option(help="One label by hand: the namespace.")] = "default",
    row: Annotated[int, typer.Option(help="One label by hand: the row within the request.")] = 0,
) -> None:
    """Send labels to the collector and print what became of them."""
    from driftline.cli import wiring
    from driftline.errors import SettingsError

    if file is not None and file.suffix not in _LINES:
        upload(file, url=url)
    elif file is not None:
        _send_lines(url, file)
    elif (request_id or key) and model:
        label = {
            "request_id": request_id or "",
            "key": key or "",
            "value": value,
            "model": model,
            "namespace": namespace,
            "row": row,
            "observed_at_s": wiring.clock()(),
        }
        response = _ask("POST", f"{url}/v1/labels", json=label, timeout=30)
        typer.echo(response.text)
        _exit_if_refused(response)
    else:
        raise SettingsError("labels send", ["give a FILE, or --request-id (or --key) with --value and --model"])


def upload(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet.", exists=True, dir_okay=False)],
    url: Url = _URL,
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
    with file.open("rb") as content:
        headers = {"content-type": "application/octet-stream", "x-filename": file.name}
        response = _ask(
            "POST", f"{url}/v1/labels/upload", params=mapping, content=content, headers=headers, timeout=600
        )
    if response.status_code != 202:
        typer.echo(response.text)
        raise typer.Exit(1)
    upload_id = response.json()["id"]
    typer.echo(f"upload {upload_id}")
    if wait:
        _show(_follow(url, upload_id))


def _follow(url: str, upload_id: str) -> dict[str, Any]:
    """The upload once it has ended, with a bar until then."""
    place = f"{url}/v1/uploads/{upload_id}"
    found: dict[str, Any] = _ask("GET", place, timeout=30).json()
    with typer.progressbar(length=max(found["size_bytes"], 1), label="joining") as bar:
        while found["state"] in ("waiting", "working"):
            bar.update(max(0, found["bytes_read"] - bar.pos))
            time.sleep(_POLL_S)
            found = _ask("GET", place, timeout=30).json()
        bar.update(max(0, found["bytes_read"] - bar.pos))
    return found


def _show(found: dict[str, Any]) -> None:
    typer.echo(f"{found['rows_read']} rows: {_counts(found['outcomes'])}")
    for fault in found["faults"]:
        column = f" {fault['column']} '{fault['value']}'" if fault["column"] else ""
        typer.echo(f"  line {fault['line']}:{column}: {fault['fault']}")
    if found["refused"] > len(found["faults"]):
        typer.echo(f"  and {found['refused'] - len(found['faults'])} more")
    if found["state"] != "done":
        typer.echo(f"{found['state']}: {found['error'] or ''}")
    if found["state"] != "done" or found["refused"] == found["rows_read"] > 0:
        raise typer.Exit(1)


def _send_lines(url: str, file: Path) -> None:
    """A file of lines, streamed; the collector answers when it has taken all of them."""
    with file.open("rb") as content:
        headers = {"content-type": "application/x-ndjson"}
        response = _ask("POST", f"{url}/v1/labels", content=content, headers=headers, timeout=600)
    typer.echo(response.text)
    _exit_if_refused(response)


def _counts(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items())) or "none"


def _exit_if_refused(response: "httpx.Response") -> None:
    if response.status_code >= 400:
        raise typer.Exit(1)


def _ask(method: str, url: str, **arguments: Any) -> "httpx.Response":
    import httpx

    from driftline.errors import UnavailableError

    headers = {**authorization(), **arguments.pop("headers", {})}
    try:
        return httpx.request(method, url, headers=headers, **arguments)
    except httpx.HTTPError as error:
        raise UnavailableError("collector", f"{url}: {error}") from error
