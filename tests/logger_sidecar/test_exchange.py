"""What capture keeps of a body that comes in pieces: the same bytes however it was cut, and little more than them."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.http1.exchange import Half

_ROOM = 1 << 17


def _half(room_bytes: int = _ROOM) -> Half:
    half = Half()
    half.begin(room_bytes)
    return half


def _held_bytes(half: Half) -> int:
    return sys.getsizeof(half.parts) + sum(sys.getsizeof(part) for part in half.parts)


def _pieces(sizes: list[int]) -> list[bytes]:
    """Pieces that are objects of their own: the interpreter has one object only for each single byte."""
    return [bytes([index % 251]) * size for index, size in enumerate(sizes)]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 511, 512, 4000])
def test_a_body_in_many_pieces_takes_little_more_than_its_bytes(size: int) -> None:
    half, pieces = _half(), _pieces([size] * (_ROOM // size))
    for piece in pieces:
        half.append(piece)
    assert _held_bytes(half) < 1.25 * _ROOM
    assert half.body == b"".join(pieces)
    assert half.seen_bytes == size * len(pieces)
    assert not half.truncated


def test_pieces_of_the_worst_lengths_take_a_few_times_their_bytes() -> None:
    """Each is less than half as long as the one before, so that none is joined, and then all begins anew."""
    sizes = [512, 255, 127, 63, 31, 15, 7, 3, 1] * (_ROOM // 1014)
    half = _half()
    for piece in _pieces(sizes):
        half.append(piece)
    assert len(half.parts) == len(sizes)
    assert _held_bytes(half) < 2 * sum(sizes)


@given(sizes=st.lists(st.integers(0, 700), max_size=60), room=st.integers(0, 5000))
def test_however_a_body_is_cut_its_beginning_is_kept(sizes: list[int], room: int) -> None:
    half, pieces = _half(room), _pieces(sizes)
    for piece in pieces:
        half.append(piece)
    whole = b"".join(pieces)
    assert half.body == whole[:room]
    assert half.truncated == (len(whole) > room)
    assert half.seen_bytes == len(whole)


def test_the_bytes_of_one_piece_at_a_time_are_copied_a_few_times_only() -> None:
    """Joining copies: were all joined each time, a body of n pieces would cost n * n / 2 copies."""
    half, copied = _half(), 0
    for piece in _pieces([2] * (_ROOM // 2)):
        before = {id(part) for part in half.parts}
        half.append(piece)
        copied += sum(len(part) for part in half.parts if id(part) not in before)
    assert copied < 20 * _ROOM
