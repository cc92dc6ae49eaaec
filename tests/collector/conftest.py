"""A fresh store per test, on SQLite always and on PostgreSQL where it is installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store.migrate import migrate
from collector.store.store import Store
from tests.collector.helpers import Parts
from tests.parts.postgres import PostgresServer


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store, migrated once for all tests."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """The same on PostgreSQL."""
    address = postgres_server.new_database()
    migrate(address)
    return address


@pytest.fixture
def postgres_store(postgres_server: PostgresServer, migrated_postgres: str) -> Iterator[str]:
    """The address of an empty store on PostgreSQL."""
    address = postgres_server.new_database(like=migrated_postgres)
    yield address
    postgres_server.drop_database(address)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> str:
    """The address of an empty store, on each kind of database."""
    if request.param == "postgresql":
        address: str = request.getfixturevalue("postgres_store")
        return address
    shutil.copy(migrated, tmp_path / "store.db")
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """The empty store."""
    store = Store(url, prepare=False)
    yield store
    store.close()


@pytest.fixture
def parts(store: Store, tmp_path: Path) -> Parts:
    """Everything of a collector but its source."""
    return Parts(store, directory=tmp_path)
