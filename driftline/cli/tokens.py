"""``driftline tokens``: make, list and revoke the tokens that an API asks for."""

import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from driftline.errors import SettingsError

File = Annotated[Path | None, typer.Option("--file", help="The list of tokens, as the part's tokens_file names it.")]
DAY_S = 86400.0


def create(
    name: Annotated[str, typer.Option(help="Who it is for; shown in refusals, never secret.")],
    scope: Annotated[
        list[str], typer.Option(help="What it may do; give it once per scope, 'tokens scopes' lists them.")
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="NAMESPACE/MODEL it is for, * stands for anything; all when left out.")
    ] = None,
    expires_in_days: Annotated[float | None, typer.Option(help="Days until it expires; never when left out.")] = None,
    file: File = None,
) -> None:
    """Make a token and print it, once: only its SHA-256 is kept.

    With --file the entry is added to the list, which a running part follows. Without, the entry is printed, to be put
    into a secret.
    """
    from driftline.access import (
        AccessBook,
        Grant,
        TokenEntry,
        digest_of,
        entry_yaml,
        model_faults,
        new_token,
        scope_faults,
    )

    models = tuple(model or ("*",))
    if faults := [*scope_faults(scope), *model_faults(models)]:
        raise SettingsError("tokens create", faults)
    token = new_token()
    expires_s = None if expires_in_days is None else time.time() + expires_in_days * DAY_S
    entry = TokenEntry(Grant(name, frozenset(scope), models), digest_of(token), expires_s)
    if file is None:
        typer.echo(entry_yaml([entry]), nl=False)
    else:
        book = _read(file) if file.exists() else AccessBook()
        if any(each.grant.name == name for each in book.entries):
            raise SettingsError("tokens create", [f"{file} has a token '{name}' already; revoke it first"])
        _write(file, entry_yaml([*book.entries, entry]))
    # On its own, so that a pipe gets the token and nothing else where the entry went into a file.
    typer.echo("the token, shown once:", err=True)
    typer.echo(token)


def list_tokens(file: Annotated[Path, typer.Option("--file", help="The list of tokens.")]) -> None:
    """Show who has which scopes, for which models, until when."""
    for entry in _read(file).entries:
        until = "" if entry.expires_s is None else f"  until {datetime.fromtimestamp(entry.expires_s, UTC):%Y-%m-%d}"
        scopes, models = ", ".join(sorted(entry.grant.scopes)), ", ".join(entry.grant.models)
        typer.echo(f"{entry.grant.name}  {scopes}  for {models}{until}")


def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")],
    file: Annotated[Path, typer.Option("--file", help="The list of tokens.")],
) -> None:
    """Take a token out of the list; a running part follows at its next request."""
    from driftline.access import entry_yaml

    book = _read(file)
    left = [entry for entry in book.entries if entry.grant.name != name]
    if len(left) == len(book.entries):
        known = ", ".join(entry.grant.name for entry in book.entries) or "none"
        raise SettingsError("tokens revoke", [f"{file} has no token '{name}'; there are {known}"])
    _write(file, entry_yaml(left))
    typer.echo(f"revoked '{name}'")


def scopes() -> None:
    """List the scopes and what each allows."""
    from driftline.access import SCOPES

    for scope, meaning in SCOPES.items():
        typer.echo(f"{scope:<20} {meaning}")


def _read(file: Path):  # type: ignore[no-untyped-def]
    from driftline.access import AccessBook

    try:
        return AccessBook.parse(file.read_text(encoding="utf-8"), str(file))
    except OSError as error:
        raise SettingsError("tokens", [f"{file} cannot be read: {error.strerror}"]) from error


def _write(file: Path, text: str) -> None:
    """All or nothing, for its owner alone: a part may be reading it now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as output:
        output.write(text)
    Path(unfinished).replace(file)
