"""``driftline erase``: what is stored of a request or a person goes, everywhere, and it is kept who asked."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from driftline.cli.api import COLLECTOR, Url, request_json
from driftline.errors import SettingsError


def erase(
    model: Annotated[list[str], typer.Option(help="NAMESPACE/MODEL, or the model's name; once per model.")],
    request_id: Annotated[str | None, typer.Option(help="Erase every row of this request.")] = None,
    subject: Annotated[str | None, typer.Option(help="Erase every row about this subject.")] = None,
    namespace: Annotated[str, typer.Option(help="The namespace of models that are given without one.")] = "default",
    url: Url = COLLECTOR,
) -> None:
    """Erase what is stored of a request or a subject; the token in DRIFTLINE_TOKEN needs the scope data:erase."""
    if (request_id is None) == (subject is None):
        raise SettingsError("erase", ["give one of --request-id and --subject"])
    chosen = {"request_id": request_id} if request_id is not None else {"subject": subject}
    for each in model:
        where, _, name = each.rpartition("/")
        body = {"model": name, "namespace": where or namespace, **chosen}
        if len(model) > 1:
            typer.echo(f"{where or namespace}/{name}")
        _tell(request_json("DELETE", f"{url}/v1/data", body=body, timeout_s=600.0), f"{where or namespace}/{name}")


def _tell(answer: Mapping[str, Any], model: str) -> None:
    found = {kind: count for kind, count in answer["removed"].items() if count}
    for kind, count in found.items():
        typer.echo(f"{count:>10,}  {kind}")
    if not found:
        typer.echo(f"nothing of it is stored for '{model}'; what comes later will not be kept")
    for note in answer["notes"]:
        typer.echo(note)
    if answer["waiting_uploads"]:
        typer.echo(
            f"{answer['waiting_uploads']} uploaded files of labels wait; rows of it are left out when they are joined"
        )
    typer.echo(f"audit entry {answer['audit_id']}")
