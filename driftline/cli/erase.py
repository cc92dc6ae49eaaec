"""``driftline erase``: what is stored of a request or a person goes, everywhere, and it is kept who asked."""

from typing import Annotated

import typer

from driftline.cli.api import COLLECTOR, Url, ask
from driftline.errors import SettingsError


def erase(
    model: Annotated[str, typer.Option(help="The model.")],
    request_id: Annotated[str | None, typer.Option(help="Erase every row of this request.")] = None,
    subject: Annotated[str | None, typer.Option(help="Erase every row about this subject.")] = None,
    namespace: Annotated[str, typer.Option(help="The model's namespace.")] = "default",
    url: Url = COLLECTOR,
) -> None:
    """Erase what is stored of a request or a subject; the token in DRIFTLINE_TOKEN needs the scope data:erase."""
    if (request_id is None) == (subject is None):
        raise SettingsError("erase", ["give one of --request-id and --subject"])
    chosen = {"request_id": request_id} if request_id is not None else {"subject": subject}
    answer = ask("DELETE", f"{url}/v1/data", body={"model": model, "namespace": namespace, **chosen}, timeout_s=600.0)
    found = {kind: count for kind, count in answer["removed"].items() if count}
    for kind, count in found.items():
        typer.echo(f"{count:>10,}  {kind}")
    if not found:
        typer.echo(f"nothing of it is stored for '{namespace}/{model}'; what comes later will not be kept")
    if answer["waiting_uploads"]:
        typer.echo(
            f"{answer['waiting_uploads']} uploaded files of labels wait; rows of it are left out when they are joined"
        )
    typer.echo(f"audit entry {answer['audit_id']}")
