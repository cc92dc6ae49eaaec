"""``driftline migrate``: the schema of the store's database, forward and back."""

from typing import Annotated

import typer

from driftline import names
from driftline.errors import SettingsError

_NEWEST, _EMPTY = "newest", "base"


def migrate(
    database_url: Annotated[
        str, typer.Option(help="SQLAlchemy URL of the store.", envvar="DRIFTLINE_DATABASE_URL")
    ] = names.DATABASE_URL,
    to: Annotated[str, typer.Option(help="A revision, or 'newest'; 'base' removes every table.")] = _NEWEST,
    yes: Annotated[bool, typer.Option("--yes", help="Go back, too: what later revisions added is lost.")] = False,
) -> None:
    """Bring the store's schema forward, as every part does when it starts, or back, for an earlier version."""
    from collector.store.migrate import downgrade, revisions
    from collector.store.migrate import migrate as forward

    at, known = revisions(database_url)
    target = known[-1] if to == _NEWEST else to
    if target not in (*known, _EMPTY):
        raise SettingsError("migrate", [f"--to is '{to}'; there are {_EMPTY}, {', '.join(known)} and {_NEWEST}"])
    order = [_EMPTY, *known]
    back = at in known and order.index(target) < order.index(at)
    if back and not yes:
        fault = f"the schema is at '{at}', and going back to '{target}' loses what came since; --yes does it"
        raise SettingsError("migrate", [fault])
    if back:
        downgrade(database_url, target)
    else:
        forward(database_url, target)
    typer.echo(f"schema: {at or 'empty'} -> {target}")
