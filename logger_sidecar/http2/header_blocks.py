"""Header blocks of HTTP/2 as one side of a connection sends them (HPACK, RFC 7541), read and never written.

The tables and the Huffman code are python-hyper's; the walk over a block is here, because a proxy sees the same few
blocks again and again: what a block that leaves the dynamic table alone means is remembered until the table changes.

>>> reader = BlockReader(list)
>>> reader.read(bytes.fromhex("8286 0400"))
[(b':method', b'GET'), (b':scheme', b'http'), (b':path', b'')]
"""

from collections.abc import Callable
from typing import Any

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

#: Header fields in the order in which they stand.
Fields = list[tuple[bytes, bytes]]

_MAX_FIELDS = 4096
_MAX_TABLE_BYTES = 65536
_MAX_KNOWN = 256
_MAX_KNOWN_BYTES = 1024
_MAX_TEXTS = 256
_MAX_TEXT_BYTES = 256


class BlockError(ValueError):
    """A header block that cannot be read; nothing behind it on this connection can."""


class BlockReader:
    """Reads every header block of one direction, in order, as the one to whom they are sent does.

    ``meaning``: what shall be made of the fields; it is asked once for blocks that are alike. The sizes that a dynamic
    table may have are the peers' business; it is followed up to 64 KiB.
    """

    __slots__ = ("_known", "_known_texts", "_meaning", "_table")

    def __init__(self, meaning: Callable[[Fields], Any]) -> None:
        self._meaning = meaning
        self._table = HeaderTable()
        self._known: dict[bytes, Any] = {}
        self._known_texts: dict[bytes, bytes] = {}

    def read(self, block: bytes, meaning: Callable[[Fields], Any] | None = None) -> Any:
        """What the block means; raises BlockError. ``meaning``: to be asked from now on, where it is another one."""
        if meaning is not self._meaning and meaning is not None:
            self._meaning = meaning
            self._known.clear()
        known = self._known.get(block)
        if known is not None:
            return known
        fields: Fields = []
        changed = self._walk(block, fields)
        read = self._meaning(fields)
        if changed:
            self._known.clear()
        elif len(block) <= _MAX_KNOWN_BYTES:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[block] = read
        return read

    def _walk(self, block: bytes, fields: Fields) -> bool:
        """Append the fields; tells whether the dynamic table changed."""
        position, end, changed = 0, len(block), False
        while position < end:
            first = block[position]
            if first & 0x80:  # section 6.1: a field that stands in a table
                index, position = _integer(block, position, 0x7F)
                fields.append(self._entry(index))
            elif first & 0x40:  # section 6.2.1: a field that shall stand in the table from now on
                field, position = self._literal(block, position, 0x3F)
                self._table.add(*field)
                fields.append(field)
                changed = True
            elif first & 0x20:  # section 6.3: another size of the table
                size, position = _integer(block, position, 0x1F)
                if size > _MAX_TABLE_BYTES:
                    raise BlockError(f"a dynamic table of {size} bytes")
                self._table.maxsize = size
                changed = True
            else:  # sections 6.2.2 and 6.2.3: a field that shall not
                field, position = self._literal(block, position, 0x0F)
                fields.append(field)
            if len(fields) > _MAX_FIELDS:
                raise BlockError(f"more than {_MAX_FIELDS} header fields")
        return changed

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        table = self._table
        behind = index - HeaderTable.STATIC_TABLE_LENGTH - 1
        if behind >= 0:
            if behind >= len(table.dynamic_entries):
                raise BlockError(f"no table entry {index}")
            return table.dynamic_entries[behind]
        if not index:
            raise BlockError("table entry 0")
        return HeaderTable.STATIC_TABLE[index - 1]

    def _literal(self, block: bytes, position: int, mask: int) -> tuple[tuple[bytes, bytes], int]:
        if block[position] & mask:
            index, position = _integer(block, position, mask)
            name = self._entry(index)[0]
        else:
            name, position = self._text(block, position + 1)
        value, position = self._text(block, position)
        return (name, value), position

    def _text(self, block: bytes, position: int) -> tuple[bytes, int]:
        if position >= len(block):
            raise BlockError("a header block that ends within a field")
        is_coded = block[position] & 0x80
        size, position = _integer(block, position, 0x7F)
        end = position + size
        if end > len(block):
            raise BlockError("a header block that ends within a text")
        text = block[position:end]
        return (self._decoded(text) if is_coded else text), end

    def _decoded(self, text: bytes) -> bytes:
        known = self._known_texts.get(text)
        if known is not None:
            return known
        try:
            plain = decode_huffman(text)
        except HPACKError as error:
            raise BlockError(str(error)) from error
        if len(text) <= _MAX_TEXT_BYTES:
            if len(self._known_texts) >= _MAX_TEXTS:
                self._known_texts.clear()
            self._known_texts[text] = plain
        return plain


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """A number (RFC 7541, section 5.1), and where it ends."""
    number = block[position] & mask
    position += 1
    if number < mask:
        return number, position
    for shift in range(0, 35, 7):
        if position >= len(block):
            raise BlockError("a header block that ends within a number")
        piece = block[position]
        position += 1
        number += (piece & 0x7F) << shift
        if piece < 0x80:
            return number, position
    raise BlockError("a number of more than 32 bits")
