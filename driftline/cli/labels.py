"""``driftline labels send``: labels from a CSV, Parquet or NDJSON file, or one by hand, to the collector."""

from pathlib import Path
from typing import Annotated

import typer

from driftline.cli.api import authorization
from driftline.cli.ports import HOST, Ports


def send(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="CSV or Parquet with request_id, value, model and, optionally, "
            "row, observed_at_s, namespace; or NDJSON."
        ),
    ] = None,
    url: Annotated[str, typer.Option(help="The collector's address.")] = f"http://{HOST}:{Ports().collector}",
    request_id: Annotated[str | None, typer.Option(help="One label by hand: the request id.")] = None,
    value: Annotated[str | None, typer.Option(help="One label by hand: what turned out to be true.")] = None,
    model: Annotated[str | None, typer.Option(help="One label by hand: the model.")] = None,
    namespace: Annotated[str, typer.Option(help="One label by hand: the namespace.")] = "default",
    row: Annotated[int, typer.Option(help="One label by hand: the row within the request.")] = 0,
) -> None:
    """Send labels to the collector and print what became of them."""
    import httpx

    from driftline.cli import wiring
    from driftline.errors import SettingsError, UnavailableError

    try:
        if file is not None:
            response = _send_file(url, file)
        elif request_id and model:
            label = {
                "request_id": request_id,
                "value": value,
                "model": model,
                "namespace": namespace,
                "row": row,
                "observed_at_s": wiring.clock()(),
            }
            response = httpx.post(f"{url}/v1/labels", json=label, headers=authorization(), timeout=30)
        else:
            raise SettingsError("labels send", ["give a FILE, or --request-id with --value and --model"])
    except httpx.HTTPError as error:
        raise UnavailableError("collector", f"{url}: {error}") from error
    typer.echo(response.text)
    if response.status_code >= 400:
        raise typer.Exit(1)


def _send_file(url: str, file: Path):  # type: ignore[no-untyped-def]
    import httpx

    if file.suffix in (".ndjson", ".jsonl"):
        headers = {"content-type": "application/x-ndjson", **authorization()}
        return httpx.post(f"{url}/v1/labels", content=file.read_bytes(), headers=headers, timeout=300)
    with file.open("rb") as content:
        return httpx.post(
            f"{url}/v1/labels/upload", files={"file": (file.name, content)}, headers=authorization(), timeout=300
        )
