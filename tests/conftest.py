"""The real parts, as fixtures: started when the first test needs them, stopped for sure at the end.

Where a part lacks, the tests that need it are skipped and say how to install it; under ``DRIFTLINE_REQUIRE_ALL=1`` they
fail instead. The end of every run says which parts it used and which it lacked.
"""

import gc
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.parts import programs
from tests.parts.alertmanager import Alertmanager
from tests.parts.azurite import find_azurite
from tests.parts.http import WebhookReceiver, answers
from tests.parts.kafka import KafkaBroker
from tests.parts.missing import MissingPartError
from tests.parts.postgres import PostgresServer
from tests.parts.processes import PartProcess, free_ports
from tests.parts.prometheus import Prometheus, PrometheusFactory
from tests.parts.roll import PartsRoll
from tests.parts.stores import find_gcs_program, find_gcs_reader, find_s3_program

T = TypeVar("T")
_roll = pytest.StashKey[PartsRoll]()


def pytest_configure(config: pytest.Config) -> None:
    """Open the roll of parts; say how many examples each property is tried on."""
    config.stash[_roll] = PartsRoll()
    # The same examples each time, however slow the machine is: whether CI passes is no matter of luck. "explore" draws
    # new ones and remembers what failed.
    alike = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("quick", max_examples=15, **alike)
    settings.register_profile("thorough", max_examples=200, **alike)
    settings.register_profile("explore", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(os.environ.get("DRIFTLINE_HYPOTHESIS", "quick"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collect without looking for garbage, and never look afterwards at what is there then: it stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its roll to the session that started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["parts"] = session.config.stash[_roll].as_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take a worker's roll over."""
    node.config.stash[_roll].add(getattr(node, "workeroutput", {}).get("parts", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which real parts were used and which lacked."""
    lines = config.stash[_roll].lines()
    if lines:
        terminalreporter.section("real parts")
        for line in lines:
            terminalreporter.write_line(line)


def _need(request: pytest.FixtureRequest, part: str, make: Callable[[], T]) -> T:
    """What ``make`` makes; without the part the test is skipped or, where all are required, fails."""
    roll = request.config.stash[_roll]
    try:
        made = make()
    except MissingPartError as error:
        roll.lacked(part, error.remedy)
        if os.environ.get("DRIFTLINE_REQUIRE_ALL") == "1":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    roll.used(part)
    return made


@pytest.fixture(scope="session")
def need(request: pytest.FixtureRequest) -> Callable[[str, Callable[[], Any]], Any]:
    """``need(part, make)``: what ``make`` makes, for parts that one folder of tests alone uses."""
    return lambda part, make: _need(request, part, make)


# --- programs -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def prometheus_binary(request: pytest.FixtureRequest) -> Path:
    """The Prometheus server program."""
    return _need(request, "Prometheus", programs.find_prometheus)


@pytest.fixture(scope="session")
def promtool(request: pytest.FixtureRequest) -> Path:
    """The program that checks and tests Prometheus rules."""
    return _need(request, "promtool", programs.find_promtool)


@pytest.fixture(scope="session")
def alertmanager_binary(request: pytest.FixtureRequest) -> Path:
    """The Alertmanager program."""
    return _need(request, "Alertmanager", programs.find_alertmanager)


@pytest.fixture(scope="session")
def amtool(request: pytest.FixtureRequest) -> Path:
    """The program that checks Alertmanager configurations."""
    return _need(request, "amtool", programs.find_amtool)


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> Path:
    """The Chromium program; give it ``--headless --no-sandbox`` and a ``--user-data-dir`` of the test."""
    return _need(request, "Chromium", programs.find_chromium)


@pytest.fixture(scope="session")
def wrk_binary(request: pytest.FixtureRequest) -> Path:
    """The wrk program."""
    return _need(request, "wrk", programs.find_wrk)


@pytest.fixture(scope="session")
def s3_program(request: pytest.FixtureRequest) -> Path:
    """A server that speaks S3."""
    return _need(request, "S3 server", find_s3_program)


@pytest.fixture(scope="session")
def s3_server(s3_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that speaks S3 and that the whole session shares; use buckets of your own."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [str(s3_program), "-H", "127.0.0.1", "-p", str(port)]
    with PartProcess(command, tmp_path_factory.mktemp("s3") / "log") as process:
        process.wait_ready(lambda: answers(f"{url}/moto-api/"), 120.0)
        yield url


@pytest.fixture(scope="session")
def gcs_program(request: pytest.FixtureRequest) -> Path:
    """A server that speaks Google's storage, for what writes by its XML API."""
    return _need(request, "GCS server", find_gcs_program)


@pytest.fixture(scope="session")
def gcs_reader(request: pytest.FixtureRequest) -> Path:
    """A server that speaks Google's storage, for what lists and reads by its XML API, and does all by its JSON API."""
    return _need(request, "GCS server", find_gcs_reader)


@pytest.fixture(scope="session")
def azurite_program(request: pytest.FixtureRequest) -> Path:
    """Azurite, which speaks Azure's Blob Storage."""
    return _need(request, "Azurite", find_azurite)


# --- servers ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a broker that the whole session shares; use topics and groups of your own, and never stop it."""
    broker = _need(request, "Kafka", lambda: KafkaBroker(tmp_path_factory.mktemp("kafka")))
    broker.start()
    yield broker.bootstrap
    broker.stop()


@pytest.fixture
def kafka_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KafkaBroker]:
    """A started broker of this test alone, to stop, kill and restart (it costs ten seconds: mark the test slow)."""
    (tmp_path / "kafka").mkdir()
    broker = _need(request, "Kafka", lambda: KafkaBroker(tmp_path / "kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """The server behind ``postgres``."""
    server = _need(request, "PostgreSQL", PostgresServer)
    yield server
    server.stop()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """SQLAlchemy address of an empty database of this test alone."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def prometheus_server(prometheus_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusFactory]:
    """``prometheus_server(config, rules)`` starts a Prometheus that ends with the test."""
    started: list[Prometheus] = []

    def start(
        config: Mapping[str, Any] | str,
        rules: Mapping[str, Mapping[str, Any] | str] | None = None,
        flags: Sequence[str] = (),
    ) -> Prometheus:
        started.append(Prometheus(tmp_path_factory.mktemp("prometheus"), config, rules, flags))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def alertmanager_server(
    alertmanager_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Mapping[str, Any] | str], Alertmanager]]:
    """``alertmanager_server(config)`` starts an Alertmanager that ends with the test."""
    started: list[Alertmanager] = []

    def start(config: Mapping[str, Any] | str) -> Alertmanager:
        started.append(Alertmanager(tmp_path_factory.mktemp("alertmanager"), config))
        return started[-1]

    yield start
    for server in started:
        server.stop()


# --- small things -------------------------------------------------------------------------------------------------
@pytest.fixture
def unused_port() -> int:
    """A port on 127.0.0.1 that nothing listens on."""
    return free_ports(1)[0]


@pytest.fixture
def webhook_receiver() -> Iterator[WebhookReceiver]:
    """A server that keeps the JSON bodies posted to its ``url`` in ``bodies``."""
    with WebhookReceiver() as receiver:
        yield receiver
