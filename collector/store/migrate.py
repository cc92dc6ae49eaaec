"""Bringing a database to this version's schema, and back."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from collector.store.database import connect, writing
from collector.store.file_space import let_shrink

#: Of processes that start at once the others wait for the first. "drft" and "migr" in ASCII.
_LOCK = 0x647266746D696772


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database to ``revision`` (forward); safe to call at every start."""
    _run_alembic(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Take the database back to ``revision``; ``base`` empties it."""
    _run_alembic(url, lambda config: command.downgrade(config, revision))


def _run_alembic(url: str, action: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = connect(url)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config.attributes["connection"] = connection
            action(config)
        let_shrink(engine)
    finally:
        engine.dispose()
