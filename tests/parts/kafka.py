"""A real Apache Kafka broker: one node in KRaft mode, on free ports, its data in a folder of the test session."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from kafka.admin import KafkaAdminClient, NewTopic

from driftline.errors import UnavailableError
from tests.parts.locks import locked
from tests.parts.missing import MissingPartError
from tests.parts.processes import PartProcess, free_ports, wait_until
from tests.parts.programs import find_java

T = TypeVar("T")

VERSION = "4.1.0"
_POM = Path(__file__).with_name("kafka-pom.xml")
# Any fixed identity will do, but one that begins with "-" would be taken for a flag.
_CLUSTER_ID = "driftlineTestsCluster1"
_START_TIMEOUT_S = 240.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def kafka_jars() -> Path:
    """The folder with the broker's jars, fetched with Maven the first time; raises MissingPartError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / f"kafka-{VERSION}"
    if not cache.is_dir():
        with locked(cache.with_name(f"{cache.name}.lock")):
            if not cache.is_dir():
                _fetch_jars(cache)
    return cache


def _fetch_jars(cache: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingPartError("Apache Kafka", "apt-get install maven, which fetches the broker's jars once")
    with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
        jars = Path(scratch) / "jars"
        command = [maven, "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=scratch)
        if done.returncode != 0:
            raise MissingPartError("Apache Kafka", f"Maven could not fetch its jars: {done.stdout[-500:].strip()}")
        jars.rename(cache)


def make_topics(bootstrap: str, partitions: Mapping[str, int]) -> None:
    """Make topics, each with so many partitions; returns once the broker tells clients of all of them.

    It says a moment before that they are made. Who joins a group in between is soon given its partitions anew, and
    reads again what was not committed.
    """
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, count, 1) for name, count in partitions.items()])
        wait_until(lambda: set(partitions) <= set(admin.list_topics()), 240, f"the topics {sorted(partitions)}")
    finally:
        admin.close()


def said(ask: Callable[[], T]) -> T:
    """What ``ask`` answers; again where the broker, on a busy machine, does not answer in time."""
    answers: list[T] = []

    def is_said() -> bool:
        try:
            answers.append(ask())
        except UnavailableError:
            return False
        return True

    wait_until(is_said, 240, "the broker's answer")
    return answers[0]


# Laid over the others: of a property that stands twice, the last counts.
_SECURE_PROPERTIES = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SECURE://127.0.0.1:{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={directory}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
listener.name.secure.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_{user}="{password}";
"""


@dataclass(frozen=True)
class Security:
    """A further listener with TLS, certificates of clients and a password.

    ``directory`` holds ``broker.pem`` (the key in PKCS #8, then the chain) and ``ca.pem``.
    """

    directory: Path
    user: str
    password: str


class KafkaBroker:
    """A broker that can be stopped, killed and started again on the same port with the same data.

    ``bootstrap``: its address, ``127.0.0.1:PORT``. Topics are made on first use, with one partition.
    ``advertised_port``: where it tells clients to go, when something stands between; ``port`` is where it listens.
    ``secure_bootstrap``: the address of the listener with ``security``.
    """

    def __init__(self, directory: Path, advertised_port: int | None = None, security: Security | None = None) -> None:
        self._java = find_java()
        self._classpath = f"{kafka_jars()}/*"
        self._directory = directory
        self.port, self._controller, self._secure = free_ports(3)
        self._advertised = advertised_port or self.port
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.secure_bootstrap = f"127.0.0.1:{self._secure}"
        self._security = security
        self._process: PartProcess | None = None
        self._format()

    def _format(self) -> None:
        text = _PROPERTIES.format(
            port=self.port, advertised=self._advertised, controller=self._controller, data=self._directory / "data"
        )
        if self._security is not None:
            text += _SECURE_PROPERTIES.format(
                port=self.port, controller=self._controller, secure=self._secure, **asdict(self._security)
            )
        (self._directory / "server.properties").write_text(text)
        tool = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c"]
        command = [*self._run_java("128m"), *tool, str(self._directory / "server.properties")]
        subprocess.run(command, check=True, capture_output=True, timeout=_START_TIMEOUT_S, cwd=self._directory)

    def _run_java(self, memory: str) -> list[str]:
        # The serial collector and the first compiler only: a test broker lives for a minute on a small machine.
        quick = [f"-Xmx{memory}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [str(self._java), *quick, "-cp", self._classpath]

    def start(self) -> None:
        """Start it and return once it answers; raises RuntimeError with its output when it does not."""
        command = [*self._run_java("512m"), "kafka.Kafka", str(self._directory / "server.properties")]
        self._process = PartProcess(command, self._directory / "kafka.log", cwd=self._directory)
        self._process.wait_ready(self._answers, _START_TIMEOUT_S)

    def stop(self) -> None:
        """An orderly end; what was acknowledged is there after the next ``start()``."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """A sudden end."""
        if self._process is not None:
            self._process.kill()

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start on the same port with the same data."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        # A listening port is not enough: a broker listens before it knows its metadata. A METADATA v1 request for all
        # topics, written by hand so that the fixture leans on no client, must be answered with one live broker.
        header = struct.pack(">hhih", 3, 1, 1, 5) + b"ready"
        request = header + struct.pack(">i", 0)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                connection.settimeout(5.0)
                answer = connection.recv(12)
        except OSError:
            return False
        return len(answer) == 12 and struct.unpack(">iii", answer)[2] >= 1
