"""Where the programs of the real parts are, under the names and in the places that distributions give them."""

import shutil
import sys
from pathlib import Path

from tests.parts.missing import MissingPartError

# Debian puts servers here, which is not on everyone's path.
_MORE_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin")


def find_program(part: str, names: tuple[str, ...], package: str) -> Path:
    """The first of ``names`` that is installed; raises MissingPartError that names Debian's ``package``."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path=":".join(_MORE_PLACES))
        if found is not None:
            return Path(found)
    raise MissingPartError(part, f"apt-get install {package}, or put {names[0]} on the path")


def find_uv() -> Path:
    """uv: beside the interpreter, as in the environments that the Makefile makes, else on the path.

    Raises MissingPartError.
    """
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise MissingPartError("uv", "pip install uv, into this environment or onto the path")
    return Path(found)


def find_java() -> Path:
    """The Java runtime that Kafka runs on."""
    return find_program("Java", ("java",), "default-jre-headless")


def find_prometheus() -> Path:
    """The Prometheus server."""
    return find_program("Prometheus", ("prometheus",), "prometheus")


def find_promtool() -> Path:
    """The checker of Prometheus rules and configurations."""
    return find_program("promtool", ("promtool",), "prometheus")


def find_alertmanager() -> Path:
    """The Alertmanager, which Debian calls prometheus-alertmanager."""
    return find_program("Alertmanager", ("prometheus-alertmanager", "alertmanager"), "prometheus-alertmanager")


def find_amtool() -> Path:
    """The checker of Alertmanager configurations."""
    return find_program("amtool", ("amtool",), "prometheus-alertmanager")


def find_chromium() -> Path:
    """A Chromium that runs headless."""
    return find_program("Chromium", ("chromium", "chromium-browser", "google-chrome"), "chromium")


def find_wrk() -> Path:
    """The HTTP load generator wrk."""
    return find_program("wrk", ("wrk",), "wrk")


def find_postgres_programs() -> Path:
    """The folder that holds ``initdb`` and ``postgres``, of the newest PostgreSQL installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if debian:
        return debian[-1].parent
    return find_program("PostgreSQL", ("postgres",), "postgresql").resolve().parent
