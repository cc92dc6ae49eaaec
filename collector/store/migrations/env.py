"""Alembic's way into the store: the connection, with its transaction, is handed over by ``database``."""

from alembic import context
from sqlalchemy import Connection

from collector.store.schema import metadata

_connection: Connection = context.config.attributes["connection"]
context.configure(connection=_connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False)
context.run_migrations()
