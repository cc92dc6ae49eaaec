"""A real PostgreSQL server, with nothing kept safe on disk, because its data live no longer than the tests."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.parts.processes import PartProcess, free_ports
from tests.parts.programs import find_postgres_programs

_USER = "postgres"
_START_TIMEOUT_S = 120.0
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=100")


class PostgresServer:
    """A server of which every test gets a fresh database.

    PostgreSQL refuses to run as root; root runs it as the user ``postgres``, in a folder that this user owns.
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        """``settings``, as ``name=value``, stand above the quick ones that tests use."""
        programs = find_postgres_programs()
        self._directory = Path(tempfile.mkdtemp(prefix="driftline-postgres-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self._directory, _USER, _USER)
            self._as_user = _become(_USER)
        self._port = free_ports(1)[0]
        self._databases = 0
        data = self._directory / "data"
        initialise = [str(programs / "initdb"), "-D", str(data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*self._as_user, *initialise], check=True, capture_output=True, timeout=300, cwd=self._directory)
        options = [option for each in (*_QUICK, *settings) for option in ("-c", each)]
        place = ["-D", str(data), "-h", "127.0.0.1", "-p", str(self._port), "-k", ""]
        command = [*self._as_user, str(programs / "postgres"), *place, *options]
        self._process = PartProcess(command, self._directory / "postgres.log", cwd=self._directory)
        self._process.wait_ready(self._answers, _START_TIMEOUT_S)

    def new_database(self, like: str | None = None) -> str:
        """Make an empty database, or a copy of the one at ``like``, to which nobody is connected; its address."""
        self._databases += 1
        name = f"test_{self._databases}"
        template = "" if like is None else f" TEMPLATE {like.rpartition('/')[2]}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}{template}")
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self._port}/{name}"

    def drop_database(self, url: str) -> None:
        """Remove a database that ``new_database`` made, closing what is still connected to it."""
        with self._connect() as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def stop(self) -> None:
        """End the server and remove its data."""
        self._process.stop(signal.SIGINT)  # "fast": ends sessions, does not wait for them
        shutil.rmtree(self._directory, ignore_errors=True)

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host="127.0.0.1", port=self._port, user=_USER, dbname=_USER, autocommit=True, connect_timeout=5
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _become(user: str) -> list[str]:
    # setpriv replaces itself by the program, so that signals reach the server; its end comes with ours.
    if shutil.which("setpriv") is not None:
        return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--pdeathsig", "KILL"]
    return ["runuser", "-u", user, "--"]
