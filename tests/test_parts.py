"""The real parts start, answer and stop; a part that lacks says so."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer

from tests.parts.alertmanager import Alertmanager
from tests.parts.http import WebhookReceiver, post_json
from tests.parts.kafka import KafkaBroker
from tests.parts.missing import MissingPartError
from tests.parts.processes import PartProcess, free_ports, has_ended, wait_until
from tests.parts.programs import find_program
from tests.parts.prometheus import PrometheusFactory
from tests.parts.roll import PartsRoll


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(MissingPartError, match="needs Nothing: apt-get install nothing-light"):
        find_program("Nothing", ("no-such-program-anywhere",), "nothing-light")


def test_the_roll_says_what_was_used_and_what_lacked() -> None:
    roll = PartsRoll()
    assert roll.lines() == []
    roll.used("B")
    roll.used("A")
    roll.lacked("C", "install it")
    assert roll.lines() == ["used: A, B", "lacked: C (install it)"]


def test_a_process_that_ends_early_shows_its_output(tmp_path: Path) -> None:
    process = PartProcess(["sh", "-c", "echo no such luck; exit 3"], tmp_path / "log")
    with pytest.raises(RuntimeError, match=r"ended with 3[\s\S]*no such luck"):
        process.wait_ready(lambda: False, 120.0)


def test_a_stopped_process_takes_its_children_along(tmp_path: Path) -> None:
    process = PartProcess(
        ["sh", "-c", "trap '' TERM; sleep 1000 & echo $! > child; wait"], tmp_path / "log", cwd=tmp_path
    )
    wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip() != "", 120, "child")
    child = int((tmp_path / "child").read_text())
    process.stop(timeout_s=0.1)
    wait_until(lambda: has_ended(child), 120, "the child's end")


def test_the_webhook_receiver_keeps_bodies(webhook_receiver: WebhookReceiver) -> None:
    post_json(webhook_receiver.url, {"a": 1})
    assert webhook_receiver.wait_for(1) == [{"a": 1}]


def test_an_unused_port_can_be_bound(unused_port: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", unused_port))


def test_no_other_process_that_runs_tests_is_given_the_same_ports() -> None:
    ours = set(free_ports(150))
    program = "from tests.parts.processes import free_ports; print(*free_ports(150))"
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    ).stdout
    theirs = set(map(int, printed.split()))
    assert (len(ours), len(theirs)) == (150, 150)
    assert not ours & theirs


@pytest.mark.real
def test_every_test_gets_an_empty_database(postgres: str) -> None:
    with psycopg.connect(postgres.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert found == (0,)


@pytest.mark.real
def test_the_broker_keeps_what_it_acknowledged(kafka: str) -> None:
    _produce(kafka, "parts-shared", b"first")
    assert _consume(kafka, "parts-shared", 1) == [b"first"]


@pytest.mark.real
@pytest.mark.slow
def test_a_broker_comes_back_on_its_port_with_its_data(kafka_broker: KafkaBroker) -> None:
    _produce(kafka_broker.bootstrap, "parts", b"before")
    kafka_broker.restart()
    _produce(kafka_broker.bootstrap, "parts", b"after")
    assert _consume(kafka_broker.bootstrap, "parts", 2) == [b"before", b"after"]


def _produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    producer.send(topic, value).get(timeout=240)
    producer.close()


def _consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=240_000
    )
    values = [next(consumer).value for _ in range(count)]
    consumer.close()
    return values


@pytest.mark.real
def test_prometheus_fires_and_alertmanager_delivers(
    prometheus_server: PrometheusFactory,
    alertmanager_server: Callable[[dict[str, Any]], Alertmanager],
    webhook_receiver: WebhookReceiver,
) -> None:
    routes = {"receiver": "desk", "group_wait": "0s", "group_interval": "1s"}
    desk = {"name": "desk", "webhook_configs": [{"url": webhook_receiver.url}]}
    alertmanager = alertmanager_server({"route": routes, "receivers": [desk]})
    rule = {"alert": "Always", "expr": "vector(1)", "labels": {"severity": "page"}}
    prometheus = prometheus_server(
        {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.address]}]}]},
        },
        {"rules.yml": {"groups": [{"name": "parts", "rules": [rule]}]}},
    )
    assert prometheus.value("vector(2)", time.time()) == 2.0
    body = webhook_receiver.wait_for(1)[0]
    assert body["alerts"][0]["labels"] == {"alertname": "Always", "severity": "page"}
    assert [rule["health"] for group in prometheus.rule_groups() for rule in group["rules"]] == ["ok"]
