"""Reading by template says what reading by the slow path says; records are read as kafka-python writes them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from collector.sources.event_templates import MALFORMED, EventReader
from collector.sources.kafka_records import RawRecords, RecordError, read_headers, records, write_headers
from collector.sources.record_scanning import RecordScanner, record_scanner
from driftline.errors import EventError
from driftline.events import InferenceEvent, Payload, decode_inference, encode_inference
from driftline.records import Malformed

texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=80)
bodies = st.sampled_from(
    [
        b'{"inputs": [1, 2.5]}',
        b'{"a":{"request":1},"response":{"contenttype":"application/json","body":2}}',
        b'"},\\"response\\":{\\"contenttype\\":"',
        b"[]",
        b"1",
        b"not json",
        b" {} ",
        b"\x00\xff",
        b"",
    ]
)
payloads = st.builds(
    Payload,
    content_type=st.sampled_from(["application/json", None, "text/plain"]),
    content_encoding=st.sampled_from([None, None, "gzip"]),
    headers=st.sampled_from([{}, {"inference-header-content-length": "12"}]),
    body=bodies,
)
events = st.builds(
    InferenceEvent,
    id=texts,
    source=texts,
    model=st.sampled_from(["m", "flights"]),
    model_version=st.sampled_from(["", "3"]),
    time_ns=st.integers(0, 4_000_000_000 * 10**9),
    request_id=texts,
    protocol=st.sampled_from(["v2", "openai"]),
    status_code=st.sampled_from([200, 503]),
    request=payloads,
    response=payloads,
    duration_ms=st.floats(0, 1e6),
    ttfb_ms=st.floats(0, 1e6),
    ttft_ms=st.sampled_from([0.0, 12.5]),
    traceparent=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    sample_rate=st.sampled_from([1.0, 0.25]),
    metadata=st.sampled_from([{}, {"team": "a"}]),
)


def long_way(headers: list[tuple[str, bytes]], value: bytes) -> InferenceEvent | None:
    try:
        return decode_inference(headers, value)
    except (EventError, ValueError, OverflowError):
        return None


def raw(messages: list[tuple[bytes, bytes]]) -> RawRecords:
    return RawRecords.of(messages, range(len(messages)))


def read(reader: EventReader, chunks: list[RawRecords]) -> list[InferenceEvent | Malformed]:
    """What each message holds, in order; events of runs one by one."""
    found = reader.read(chunks)
    batch = dict(found.others)
    for places, run in found.runs:
        batch.update({place: run[at] for at, place in enumerate(places.tolist())})
    assert sorted(batch) == list(range(sum(map(len, chunks))))
    return [batch[place] for place in range(len(batch))]


@given(st.lists(events, max_size=30), st.integers(0, 30))
def test_every_event_comes_back_as_it_was_sent(sent: list[InferenceEvent], cut: int) -> None:
    reader = EventReader(record_scanner())
    messages = [encode_inference(event) for event in sent]
    pieces = [(write_headers(message.headers), message.value) for message in messages]
    wanted = [long_way(message.headers, message.value) for message in messages]
    for _ in range(2):  # the second time by template, where there is one
        found = read(reader, [raw(pieces[:cut]), raw(pieces[cut:])])
        assert [None if isinstance(each, Malformed) else each for each in found] == wanted
    assert all(each is None or each == event for each, event in zip(wanted, sent, strict=True))


@given(st.lists(st.tuples(events, st.integers(0, 2**31), st.binary(max_size=3)), min_size=4, max_size=14))
def test_damage_is_seen_as_the_long_way_sees_it(given_: list[tuple[InferenceEvent, int, bytes]]) -> None:
    reader = EventReader(record_scanner())
    pieces, wanted = [], []
    for event, place, put in given_:
        message = encode_inference(event)
        read(reader, [raw([(write_headers(message.headers), message.value)])])  # learns
        headers = list(message.headers)
        which = place % len(headers)
        name, old = headers[which]
        cut = place % (len(old) + 1)
        headers[which] = (name, old[:cut] + put + old[cut + 1 :])
        pieces.append((write_headers(headers), message.value))
        wanted.append(long_way(headers, message.value))
    assert [None if isinstance(each, Malformed) else each for each in read(reader, [raw(pieces)])] == wanted


SAMPLE = InferenceEvent(
    id="1",
    source="/s",
    model="m",
    time_ns=1_700_000_000_123_456_789,
    request_id="r",
    protocol="v2",
    status_code=200,
    request=Payload(content_type="application/json", body=b'{"a": 1}'),
    response=Payload(content_type="application/json", body=b"[1]"),
)


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":{"a":1},"response":{"contenttype":"application/json","body":2}}',
        b'{"response":1}',
        b'{"body":{"request":{}}}',
    ],
)
def test_a_body_that_looks_like_the_message_around_it_is_not_cut(body: bytes) -> None:
    reader = EventReader(record_scanner())
    strange = msgspec.structs.replace(SAMPLE, request=Payload(content_type="application/json", body=body))
    sent = [SAMPLE, strange, SAMPLE, SAMPLE, strange, SAMPLE]
    messages = [encode_inference(event) for event in sent]
    assert read(reader, [raw([(write_headers(message.headers), message.value) for message in messages])]) == sent
    assert reader.long_ways < len(sent)


def test_all_messages_of_a_stream_but_its_first_are_read_by_template() -> None:
    reader = EventReader(record_scanner())
    sent = [
        msgspec.structs.replace(SAMPLE, id=f"id-{number}", model=model, time_ns=SAMPLE.time_ns + number * 10**10)
        for number in range(20)
        for model in ("m", "other")
    ]
    messages = [encode_inference(event) for event in sent]
    for _ in range(2):
        assert read(reader, [raw([(write_headers(message.headers), message.value) for message in messages])]) == sent
        assert reader.long_ways == 2


def test_what_is_not_a_message_comes_back_with_its_bytes() -> None:
    (found,) = read(EventReader(record_scanner()), [raw([(b"\x02\x04", b"not json")])])
    assert isinstance(found, Malformed)
    assert (found.reason, found.raw) == (MALFORMED, b"not json")


headers = st.lists(st.tuples(st.text(max_size=70), st.binary(max_size=200)), max_size=70)
sent_records = st.lists(
    st.tuples(st.none() | st.binary(max_size=200), st.binary(max_size=300), headers), min_size=1, max_size=10
)


@given(sent_records, st.integers(0, 2**40))
def test_records_are_read_as_the_client_wrote_them(
    sent: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]], base: int
) -> None:
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=10**9)
    for key, value, names in sent:
        builder.append(timestamp=1_700_000_000_000, key=key, value=value, headers=names)
    builder.close()
    batch = MemoryRecords(builder.buffer()).next_batch()
    found = records(bytes(batch._buffer), batch._pos, batch.records_count, base, record_scanner())
    assert found.offsets.tolist() == [base + place for place in range(len(sent))]
    assert [value for _, value in found.messages()] == [value for _, value, _ in sent]
    assert [read_headers(block) for block, _ in found.messages()] == [names for _, _, names in sent]


@given(st.binary(max_size=60), st.integers(1, 5))
def test_bytes_that_are_no_records_are_refused_or_read_but_never_run_on(data: bytes, count: int) -> None:
    try:
        found = records(data, 0, count, 0, record_scanner())
    except RecordError:
        return
    assert len(found) == count
    assert sum(len(block) + len(value) for block, value in found.messages()) <= len(data)


@pytest.mark.skipif(record_scanner() is None, reason="this build has no scanner")
@given(sent_records, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3), st.integers(-2, 2))
def test_damaged_records_are_read_or_refused_as_they_are_without_a_scanner(
    sent: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]], damage: list[tuple[int, int]], more: int
) -> None:
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=10**9)
    for key, value, names in sent:
        builder.append(timestamp=1_700_000_000_000, key=key, value=value, headers=names)
    builder.close()
    batch = MemoryRecords(builder.buffer()).next_batch()
    data = bytearray(batch._buffer[batch._pos :])
    for place, byte in damage:
        data[place % len(data)] = byte

    def outcome(scanner: RecordScanner | None) -> object:
        try:
            found = records(bytes(data), 0, max(0, batch.records_count + more), 7, scanner)
        except RecordError as error:
            return str(error)
        return found.offsets.tolist(), found.messages()

    assert outcome(record_scanner()) == outcome(None)
