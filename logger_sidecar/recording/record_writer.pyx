"""A batch's records as msgpack, written in one pass; ``batch_region.py`` has them encoded without it.

Of its bodies a record says where they are: in itself where they are short, behind all records, or in the memory for
bodies that the recorder has open, too (``shared_bytes``).
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcpy

from logger_sidecar.recording.shared_bytes cimport place

from msgspec import msgpack

from logger_sidecar.recording.recorder_wire import LARGE_BODY_BYTES

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(str text, Py_ssize_t *size) except NULL

cdef enum:
    #: Fields of ``recorder_wire.ShortRecord``, and of one that has more to say of its bodies.
    _SHORT = 11
    _LONG = 15
    #: What a record takes beside its bodies, mostly.
    _RECORD_BYTES = 384

cdef enum Where:
    IN_RECORD
    BEHIND
    SHARED

cdef Py_ssize_t _LARGE_BODY_BYTES = LARGE_BODY_BYTES
cdef object _encode = msgpack.Encoder().encode


cdef class _Writer:
    """Writes behind what a bytearray has; ``close`` cuts off what it was made too long."""

    cdef bytearray _made
    cdef char *_at
    cdef char *_end

    def __init__(self, bytearray made, Py_ssize_t start):
        self._made = made
        self._at = PyByteArray_AS_STRING(made) + start
        self._end = PyByteArray_AS_STRING(made) + PyByteArray_GET_SIZE(made)

    cdef int want(self, Py_ssize_t more) except -1:
        """Have room for so many bytes."""
        cdef Py_ssize_t size = self._at - PyByteArray_AS_STRING(self._made)
        if self._end - self._at < more:
            PyByteArray_Resize(self._made, 2 * (size + more))
            self._at = PyByteArray_AS_STRING(self._made) + size
            self._end = PyByteArray_AS_STRING(self._made) + PyByteArray_GET_SIZE(self._made)
        return 0

    cdef int close(self) except -1:
        PyByteArray_Resize(self._made, self._at - PyByteArray_AS_STRING(self._made))
        return 0

    cdef int raw(self, const char *data, Py_ssize_t size) except -1:
        self.want(size)
        memcpy(self._at, data, size)
        self._at += size
        return 0

    cdef int number(self, unsigned char kind, unsigned long long value, int count) except -1:
        """A byte that says what comes, and so many bytes of a number, the highest first."""
        self.want(9)
        self._at[0] = <char> kind
        self._at += 1
        while count:
            count -= 1
            self._at[0] = <char> (value >> (8 * count) & 255)
            self._at += 1
        return 0

    cdef int array(self, Py_ssize_t size) except -1:
        if size < 16:
            return self.number(0x90 | size, 0, 0)
        return self.number(0xDD, size, 4)

    cdef int whole(self, long long value) except -1:
        if 0 <= value < 128:
            return self.number(value, 0, 0)
        return self.number(0xD3, <unsigned long long> value, 8)

    cdef int floating(self, double value) except -1:
        cdef unsigned long long bits
        memcpy(&bits, &value, 8)
        return self.number(0xCB, bits, 8)

    cdef int text(self, str value) except -1:
        cdef Py_ssize_t size
        cdef const char *data = PyUnicode_AsUTF8AndSize(value, &size)
        if size < 256:
            self.number(0xD9, size, 1)
        else:
            self.number(0xDB, size, 4)
        return self.raw(data, size)

    cdef int binary(self, bytes value) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        if size < 256:
            self.number(0xC4, size, 1)
        else:
            self.number(0xC6, size, 4)
        return self.raw(PyBytes_AS_STRING(value), size)

    cdef int body(self, body, Where where) except -1:
        """What stands of it in the record."""
        return self.binary(<bytes> body) if where == IN_RECORD else self.number(0xC4, 0, 1)

    cdef int places(self, body, Where where) except -1:
        """Where in shared memory its pieces stand, each with its length; none where they do not stand there."""
        if where != SHARED:
            return self.array(0)
        cdef tuple pieces = <tuple> body if type(body) is tuple else (body,)
        self.array(2 * len(pieces))
        for piece in pieces:
            self.whole(place(piece))
            self.whole(PyBytes_GET_SIZE(<bytes> piece))
        return 0


def write_records(bytearray head not None, Py_ssize_t start, records, list bodies not None, list elsewhere not None):
    """Write them, as a ``msgpack.Encoder`` would, behind the first ``start`` bytes of ``head``, which it has.

    Bodies that are to stand behind all records are appended to ``bodies``, those that stand in shared memory to
    ``elsewhere``.
    """
    cdef _Writer writer = _Writer(head, start)
    writer.want(_RECORD_BYTES * (len(records) + 1))
    writer.array(len(records))
    for record in records:
        if type(record) is tuple and len(<tuple> record) == _SHORT:
            _write_short(writer, <tuple> record, bodies, elsewhere)
        else:
            encoded = _encode(record)
            writer.raw(PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
    writer.close()


cdef int _write_short(_Writer writer, tuple record, list bodies, list elsewhere) except -1:
    asked, answered = record[8], record[10]
    cdef Where of_asked = _where(asked), of_answered = _where(answered)
    cdef bint is_long = of_asked != IN_RECORD or of_answered != IN_RECORD
    writer.array(_LONG if is_long else _SHORT)
    writer.binary(<bytes?> record[0])
    writer.text(<str?> record[1])
    writer.text(<str?> record[2])
    writer.whole(record[3])
    writer.floating(record[4])
    writer.floating(record[5])
    writer.number(0xC3 if record[6] else 0xC2, 0, 0)
    writer.binary(<bytes?> record[7])
    writer.body(asked, of_asked)
    writer.binary(<bytes?> record[9])
    writer.body(answered, of_answered)
    if is_long:
        writer.whole(_laid(asked, of_asked, bodies, elsewhere))
        writer.whole(_laid(answered, of_answered, bodies, elsewhere))
        writer.places(asked, of_asked)
        writer.places(answered, of_answered)
    return 0


cdef Where _where(body) except *:
    """Where it stands."""
    if type(body) is not tuple:
        if not isinstance(body, bytes):
            raise TypeError("a body is of bytes")
        if place(body) >= 0:
            return SHARED
        return BEHIND if PyBytes_GET_SIZE(<bytes> body) >= _LARGE_BODY_BYTES else IN_RECORD
    for piece in <tuple> body:
        if not isinstance(piece, bytes):
            raise TypeError("a body is of bytes")
        if place(piece) < 0:
            return BEHIND
    return SHARED


cdef Py_ssize_t _laid(body, Where where, list bodies, list elsewhere) except -1:
    """Note a body that does not stand in the record; returns how long it is then."""
    if where == IN_RECORD:
        return 0
    cdef list noted = elsewhere if where == SHARED else bodies
    if type(body) is not tuple:
        noted.append(body)
        return PyBytes_GET_SIZE(<bytes> body)
    noted.extend(body)
    cdef Py_ssize_t size = 0
    for piece in <tuple> body:
        size += PyBytes_GET_SIZE(<bytes> piece)
    return size
