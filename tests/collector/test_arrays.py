"""Arrays of texts as PostgreSQL sends them, read back."""

from hypothesis import example, given
from hypothesis import strategies as st

from collector.store.arrays import read_texts

_TEXT = 25  # the number of PostgreSQL's type


def _sent(texts: list[str | None]) -> bytes:
    """What ``array_send`` makes of an array of one dimension."""
    numbers = (1, int(None in texts), _TEXT, len(texts), 1)
    raws = [None if text is None else text.encode() for text in texts]
    values = [b"\xff\xff\xff\xff" if raw is None else len(raw).to_bytes(4) + raw for raw in raws]
    return b"".join([number.to_bytes(4) for number in numbers] + values)


@given(st.lists(st.sampled_from([None, "", "0", "1", "é", "no", "[]"]), min_size=1, max_size=30))
@example([str(number) for number in range(100, 130)])  # of one length, and more than a few different ones
@example(["1", "0"] * 10)
@example(["a\0"] * 10)  # not that PostgreSQL had one
def test_texts_are_read_as_they_were_sent(texts: list[str | None]) -> None:
    read = read_texts(_sent(texts))
    assert list(read) == texts
    assert len(set(read.texts)) == len(read.texts)
