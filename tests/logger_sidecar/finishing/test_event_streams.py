"""Server-sent events: the examples of the WHATWG standard (9.2.6), line ends, and any cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.finishing.event_streams import read_events


def data(body: bytes) -> list[str]:
    return [event.data for event in read_events(body).events]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
         ["first event", "second event"]),
        (b"data\n\ndata\ndata\n\ndata:", ["", "\n"]),
        (b"data:test\n\ndata: test\n\n", ["test", "test"]),
        (b"\xef\xbb\xbfdata: behind a mark\n\n", ["behind a mark"]),
        (b"retry: 10\nid: 4\n\nevent: x\n\n", []),
        (b"datax: no\nDATA: no\n\n", []),
        (b"data: \xff\n\n", ["�"]),
    ],
)  # fmt: skip
def test_the_standards_examples(body: bytes, expected: list[str]) -> None:
    assert data(body) == expected


@given(st.lists(st.sampled_from(["data: a", "data:b", ": c", "event: e", "", ""]), max_size=12))
def test_every_end_of_line_means_the_same(lines: list[str]) -> None:
    texts = [end.join([*lines, ""]).encode() for end in ("\n", "\r\n", "\r")]
    assert data(texts[0]) == data(texts[1]) == data(texts[2])


def test_an_event_without_its_blank_line_is_torn() -> None:
    stream = read_events(b"data: whole\n\ndata: to\ndata: rn")
    assert ([event.data for event in stream.events], stream.torn) == (["whole"], "to\nrn")


def test_an_event_knows_its_type_and_where_it_ends() -> None:
    body = b"event: error\ndata: x\n\ndata: y\r\n\r\n"
    assert [(event.type, event.end) for event in read_events(body).events] == [("error", 22), ("", len(body))]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_a_cut_stream_has_the_first_of_the_whole_ones_events(body: bytes, cut: int) -> None:
    whole, part = read_events(body).events, read_events(body[:cut]).events
    assert [event.data for event in part] == [event.data for event in whole][: len(part)]
