"""``driftline erase``: what is stored of a request or a person goes, everywhere, and it is kept who asked."""

from typing import Annotated

import typer

from driftline.cli.api import ask
from driftline.cli.ports import HOST, Ports
from driftline.errors import SettingsError


def erase(
    model: Annotated[str, typer.Option(help="The model.")],
    request_id: Annotated[str | None, typer.Option(help="Erase every row of this request.")] = None,
    subject: Annotated[str | None, typer.Option(help="Erase every row about this subject.")] = None,
    namespace: Annotated[str, typer.Option(help="The model's namespace.")] = "default",
    url: Annotated[str, typer.Option(help="The collector's address.")] = f"http://{HOST}:{Ports().collector}",
) -> None:
    """Erase what is stored of a request or a subject; the token in DRIFTLINE_TOKEN needs the scope data:erase."""
    if (request_id is None) == (subject is None):
        raise SettingsError("erase", ["give one of --request-id and --subject"])
    chosen = {"request_id": request_id} if request_id is not None else {"subject": subject}
    answer = ask("DELETE", f"{url}/v1/data", body={"model": model, "namespace": namespace, **chosen}, timeout_s=600.0)
    for kind, count in answer["removed"].items():
        typer.echo(f"{count:>10,}  {kind}")
    if answer["waiting_uploads"]:
        typer.echo(
            f"{answer['waiting_uploads']} uploaded files of labels wait; rows of it are left out when they are joined"
        )
    typer.echo(f"audit entry {answer['audit_id']}")
