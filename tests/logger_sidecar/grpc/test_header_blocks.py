"""Header blocks, held to python-hyper's own encoder and decoder."""

import contextlib

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.http2.header_blocks import BlockError, BlockReader

NAMES = st.sampled_from([b":path", b":status", b"te", b"tenant", b"x-request-id", b"cookie", b"long-name-of-its-own"])
FIELD = st.tuples(NAMES, st.binary(max_size=60) | st.sampled_from([b"200", b"/a", b"trailers", b"v" * 3000]))


@st.composite
def blocks(draw: st.DrawFn) -> list[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Blocks of one connection, in order, with what they say."""
    encoder = hpack.Encoder()
    made = []
    seen: list[list[tuple[bytes, bytes]]] = []
    for _ in range(draw(st.integers(1, 8))):
        if draw(st.integers(0, 5)) == 0:
            encoder.header_table_size = draw(st.sampled_from([0, 50, 200, 4096, 60_000]))
        again = seen and draw(st.booleans())
        fields = draw(st.sampled_from(seen)) if again else draw(st.lists(FIELD, max_size=6))
        seen.append(fields)
        never = draw(st.booleans())
        headers = [hpack.NeverIndexedHeaderTuple(*field) if never else hpack.HeaderTuple(*field) for field in fields]
        made.append((encoder.encode(headers, huffman=draw(st.booleans())), fields))
    return made


@given(blocks())
def test_every_block_of_a_connection_says_what_was_encoded(said: list) -> None:
    reader = BlockReader(list)
    for block, fields in said:
        assert reader.read(block) == fields


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_nonsense_is_refused_where_the_library_refuses_it_and_read_alike_where_not(said: list[bytes]) -> None:
    reader, library = BlockReader(list), hpack.Decoder()
    library.max_allowed_table_size = 65536
    for block in said:
        expected = None
        with contextlib.suppress(hpack.HPACKError, IndexError):
            expected = [tuple(field) for field in library.decode(block, raw=True)]
        if expected is None:
            break
        # A size that changes in mid-block is refused there, and harmless here.
        assert reader.read(block) == expected


# RFC 7541, appendices C.3 to C.6: the blocks of one connection each, and what the third of them says.
CASES = [
    (
        ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865"],
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        (b"custom-key", b"custom-value"),
    ),
    (
        ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf"],
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        (b"custom-key", b"custom-value"),
    ),
]


@pytest.mark.parametrize(("before", "last", "field"), CASES)
def test_the_examples_of_the_standard_are_read(before: list[str], last: str, field: tuple[bytes, bytes]) -> None:
    reader = BlockReader(list)
    for block in before:
        reader.read(bytes.fromhex(block))
    assert reader.read(bytes.fromhex(last)) == [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        field,
    ]


def test_a_meaning_is_made_once_while_the_table_stays_as_it_is() -> None:
    asked: list[object] = []

    def meaning(fields: object) -> int:
        asked.append(fields)
        return len(asked)

    reader = BlockReader(meaning)
    encoder = hpack.Encoder()
    first, again = encoder.encode([(b"a", b"1")]), encoder.encode([(b"a", b"1")])
    assert [reader.read(first), reader.read(again), reader.read(again)] == [1, 2, 2]
    reader.read(encoder.encode([(b"b", b"2")]))
    assert reader.read(encoder.encode([(b"a", b"1")])) == 4


@pytest.mark.parametrize("block", [b"\x80", b"\xff", b"\xbe", b"\x40", b"\x00\x05ab", b"\xff" * 9, b"\x3f\xe1\xff\x7f"])
def test_a_block_that_cannot_be_read_is_refused(block: bytes) -> None:
    with pytest.raises(BlockError):
        BlockReader(list).read(block)


def test_a_block_with_too_many_fields_is_refused() -> None:
    with pytest.raises(BlockError, match="4096"):
        BlockReader(list).read(b"\x82" * 5000)
