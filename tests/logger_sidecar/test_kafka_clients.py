"""Both clients of Kafka: the same messages, the same partitions, the same words for what cannot be delivered."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from kafka import KafkaConsumer

from driftline.errors import UnavailableError
from driftline.events import KafkaMessage, encode_inference
from logger_sidecar.shipping.kafka import KafkaSink
from logger_sidecar.shipping.kafka_confluent import ConfluentSink
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import parse
from logger_sidecar.shipping.sinks import open_sink
from tests.logger_sidecar.test_spool import event
from tests.parts.kafka import KafkaBroker, Security, make_topics

CLIENTS: Sequence[type[KafkaSink] | type[ConfluentSink]] = [KafkaSink, ConfluentSink]
each_client = pytest.mark.parametrize("client", CLIENTS)


def topic_of(name: str) -> str:
    return f"{name}-{time.time_ns()}"


def records(bootstrap: str, topic: str, count: int) -> list[tuple[int, bytes, bytes, Sequence[tuple[str, bytes]]]]:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=[bootstrap], auto_offset_reset="earliest", group_id=None, consumer_timeout_ms=240_000
    )
    found: list[tuple[int, bytes, bytes, Sequence[tuple[str, bytes]]]] = []
    for record in consumer:
        found.append((record.partition, record.key, record.value, [tuple(header) for header in record.headers]))
        if len(found) == count:
            break
    consumer.close()
    return found


def test_the_client_is_chosen_by_name_and_auto_takes_the_cheaper_one() -> None:
    def chosen(client: str) -> type:
        settings = ShipperSettings(kafka_client=client)  # type: ignore[arg-type]
        return type(open_sink(parse("kafka"), settings))

    assert [chosen(client) for client in ("kafka-python", "confluent", "auto")] == [
        KafkaSink,
        ConfluentSink,
        ConfluentSink,
    ]


@each_client
def test_a_password_file_that_is_not_there_is_named_and_waited_for(client: type, tmp_path: Path) -> None:
    settings = ShipperSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="a",
        sasl_password_file=str(tmp_path / "none"),
    )
    with pytest.raises(UnavailableError, match="none"):
        client(settings).deliver([encode_inference(event(1))])


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("compression", ["auto", "none", "gzip", "lz4", "zstd"])
def test_both_clients_make_the_same_messages_in_the_same_partitions(kafka: str, compression: str) -> None:
    topic = topic_of("same")
    make_topics(kafka, {topic: 5})
    events = [event(number, b'{"a": [%d]}' % number) for number in range(40)]
    for client in CLIENTS:
        sink = client(ShipperSettings(bootstrap_servers=(kafka,), topic=topic, compression=compression))
        assert sink.deliver(list(map(encode_inference, events))) == {}
        sink.close()
    found = sorted(records(kafka, topic, 80), key=lambda one: (one[1], one[0]))
    assert found[::2] == found[1::2]
    assert len({partition for partition, *_ in found}) > 1
    messages = {message.key: message for message in map(encode_inference, events)}
    assert all(value == messages[key].value and headers == messages[key].headers for _, key, value, headers in found)


@pytest.mark.real
@pytest.mark.slow
@each_client
def test_a_message_too_large_is_counted_and_its_neighbours_arrive(kafka: str, client: type) -> None:
    topic = topic_of("large")
    settings = ShipperSettings(bootstrap_servers=(kafka,), topic=topic, compression="none", max_request_bytes=5000)
    messages = [KafkaMessage([], b"%d" % size, b"x" * size) for size in (10, 6000, 11)]
    sink = client(settings)
    assert sink.deliver(messages) == {1: "too_large"}
    sink.close()
    # The broker's own bound, 1 MiB a batch: the producer would send it.
    generous = client(dataclasses.replace(settings, max_request_bytes=8_000_000))
    messages = [KafkaMessage([], b"%d" % size, b"x" * size) for size in (12, 3_000_000, 13, 14)]
    assert generous.deliver(messages) == {1: "too_large"}
    assert generous.deliver([KafkaMessage([], b"15", b"x"), KafkaMessage([], b"16", b"x")]) == {}
    generous.close()
    assert {key for _, key, _, _ in records(kafka, topic, 7)} == {b"%d" % size for size in range(10, 17)}


@each_client
def test_a_broker_that_is_not_there_is_unavailable(client: type) -> None:
    settings = ShipperSettings(bootstrap_servers=("127.0.0.1:1",), request_timeout_s=0.2)
    sink = client(settings)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
        sink.deliver([encode_inference(event(1))])
    sink.close()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[tuple[KafkaBroker, Path]]:
    """A broker that asks for a certificate and a password, and the files of a client that has them."""
    directory = tmp_path_factory.mktemp("security")
    authority = trustme.CA()
    for name, identity in (("broker", "127.0.0.1"), ("client", "sidecar@example.org")):
        issued = authority.issue_cert(identity)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
        (directory / f"{name}.pem").write_bytes(pem + chain)
        (directory / f"{name}-key.pem").write_bytes(pem)
        (directory / f"{name}-cert.pem").write_bytes(chain)
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    (directory / "password").write_text("se cret\n")
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"), security=Security(directory, "sidecar", "se cret"))
    broker.start()
    yield broker, directory
    broker.kill()


@pytest.mark.real
@pytest.mark.slow
@each_client
def test_certificates_of_both_sides_and_a_password_from_a_file(secured: tuple[KafkaBroker, Path], client: type) -> None:
    broker, directory = secured
    topic = topic_of("secure")
    settings = ShipperSettings(
        bootstrap_servers=(broker.secure_bootstrap,),
        topic=topic,
        request_timeout_s=60.0,
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="sidecar",
        sasl_password_file=str(directory / "password"),
        ssl_cafile=str(directory / "ca.pem"),
        ssl_certfile=str(directory / "client-cert.pem"),
        ssl_keyfile=str(directory / "client-key.pem"),
    )
    sink = client(settings)
    assert sink.deliver([encode_inference(event(1))]) == {}
    sink.close()
    assert [key for _, key, _, _ in records(broker.bootstrap, topic, 1)] == [b"r1"]
    wrong = [
        {"sasl_password_file": "", "sasl_password": "wr0ng-word"},
        {"ssl_certfile": "", "ssl_keyfile": ""},
    ]
    for change in wrong:
        sink = client(dataclasses.replace(settings, request_timeout_s=1.0, **change))
        with pytest.raises(UnavailableError) as caught:
            sink.deliver([encode_inference(event(2))])
        assert "wr0ng-word" not in str(caught.value)
        sink.close()
