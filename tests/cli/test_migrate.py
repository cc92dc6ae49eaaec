"""The schema forward and back by command, and what is said of one that this version does not know."""

from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from collector.store.database import connect, writing
from collector.store.migrate import revisions
from collector.store.store import Store
from driftline.cli.app import app
from driftline.errors import SettingsError

RUNNER = CliRunner()


def run(url: str, *arguments: str) -> str:
    result = RUNNER.invoke(app, ["migrate", "--database-url", url, *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_the_schema_goes_forward_and_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    newest = revisions(url)[1][-1]
    assert run(url) == f"schema: empty -> {newest}\n"
    before = revisions(url)[1][-2]
    with pytest.raises(SettingsError, match=f"at '{newest}', and going back to '{before}' loses what came since"):
        run(url, "--to", before)
    assert run(url, "--to", before, "--yes") == f"schema: {newest} -> {before}\n"
    assert revisions(url)[0] == before
    assert run(url) == f"schema: {before} -> {newest}\n"
    with pytest.raises(SettingsError, match="--to is '12'; there are base, 0001, "):
        run(url, "--to", "12")


def test_a_database_of_a_later_version_is_told_by_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    Store(url).close()
    engine = connect(url)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    newest = revisions(url)[1][-1]
    for start in (lambda: Store(url), lambda: run(url), lambda: run(url, "--to", "base", "--yes")):
        with pytest.raises(SettingsError, match=rf"revision '9999'.*driftline migrate --to {newest}"):
            start()
