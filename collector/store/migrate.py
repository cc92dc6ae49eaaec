"""Bringing a database to this version's schema, and back."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from collector.store.database import connect, reading, writing
from collector.store.file_space import let_shrink
from driftline.errors import SettingsError

#: Of processes that start at once the others wait for the first. "drft" and "migr" in ASCII.
_LOCK = 0x647266746D696772


def revisions(url: str) -> tuple[str | None, list[str]]:
    """What the database is at, None where it is empty, and all revisions that this version knows, the oldest first."""
    engine = connect(url)
    try:
        with reading(engine) as connection:
            return _at(connection), _known(_config())
    finally:
        engine.dispose()


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database to ``revision`` (forward); safe to call at every start.

    Raises SettingsError for a database that a later version has brought further than this one knows.
    """
    _run_alembic(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Take the database back to ``revision``; ``base`` empties it."""
    _run_alembic(url, lambda config: command.downgrade(config, revision))


def _run_alembic(url: str, action: Callable[[Config], None]) -> None:
    config = _config()
    engine = connect(url)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _require_known(_at(connection), _known(config))
            config.attributes["connection"] = connection
            action(config)
        let_shrink(engine)
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _at(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _known(config: Config) -> list[str]:
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def _require_known(revision: str | None, known: list[str]) -> None:
    if revision is not None and revision not in known:
        newest = known[-1]
        fault = (
            f"the database's schema is at revision '{revision}', and the newest that this version knows is '{newest}': "
            f"a later version was here. Run that one, or go back with it ('driftline migrate --to {newest}')"
        )
        raise SettingsError("store", [fault])
