"""The schema goes forward and back, and the migrations say what the tables say."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from collector.store.database import connect
from collector.store.migrate import downgrade, migrate
from collector.store.partitions import is_partition
from collector.store.schema import metadata
from driftline.errors import SettingsError


def found_tables(url: str) -> set[str]:
    engine = connect(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def not_a_partition(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name is None or not is_partition(name)


def test_upgrade_and_downgrade_and_upgrade_again(url: str) -> None:
    assert set(metadata.tables) < found_tables(url)
    downgrade(url, "base")
    assert found_tables(url) == {"alembic_version"}
    migrate(url)
    migrate(url)
    assert set(metadata.tables) < found_tables(url)


def test_the_migrations_make_exactly_the_tables_of_the_schema(url: str) -> None:
    engine = connect(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": not_a_partition})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


@pytest.mark.parametrize("address", ["mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_an_address_of_another_kind_is_refused_by_name(address: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither sqlite:///PATH nor postgresql"):
        connect(address)
