"""A batch's records as msgpack, written in one pass; ``batch_region.py`` has them encoded without it.

Of its bodies a record says where they are: in itself where they are short, behind all records, or in the memory for
bodies that the recorder has open, too (``shared_bytes``).
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from logger_sidecar.recording.shared_bytes cimport place

from msgspec import msgpack

from logger_sidecar.recording.recorder_wire import LARGE_BODY_BYTES

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(str text, Py_ssize_t *size) except NULL

cdef extern from "<endian.h>" nogil:
    uint32_t htobe32(uint32_t value)
    uint64_t htobe64(uint64_t value)

cdef enum:
    #: Fields of ``recorder_wire.ShortRecord``, and of one that has more to say of its bodies.
    _SHORT = 11
    _LONG = 15
    #: What a number takes at most, and the number before bytes.
    _FIELD_BYTES = 9
    #: What a record takes beside its bodies, mostly.
    _RECORD_BYTES = 384

cdef enum Where:
    IN_RECORD
    BEHIND
    SHARED

cdef Py_ssize_t _LARGE_BODY_BYTES = LARGE_BODY_BYTES
cdef object _encode = msgpack.Encoder().encode


def write_records(bytearray head not None, records, list bodies not None, list elsewhere not None):
    """Write them, as a ``msgpack.Encoder`` would, in place of what ``head`` has.

    Bodies that are to stand behind all records are appended to ``bodies``, those that stand in shared memory to
    ``elsewhere``.
    """
    cdef Py_ssize_t size = 0
    _make_room(head, size, _RECORD_BYTES * (len(records) + 1))
    size = _array(PyByteArray_AS_STRING(head) + size, len(records)) - PyByteArray_AS_STRING(head)
    for record in records:
        if type(record) is tuple and len(<tuple> record) == _SHORT:
            size = _write_short(head, size, <tuple> record, bodies, elsewhere)
        else:
            encoded = _encode(record)
            _make_room(head, size, PyBytes_GET_SIZE(encoded))
            memcpy(PyByteArray_AS_STRING(head) + size, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
            size += PyBytes_GET_SIZE(encoded)
    PyByteArray_Resize(head, size)


cdef int _make_room(bytearray head, Py_ssize_t size, Py_ssize_t more) except -1:
    """Have room for so many bytes behind the first ``size``."""
    if PyByteArray_GET_SIZE(head) - size < more:
        PyByteArray_Resize(head, 2 * (size + more))
    return 0


cdef Py_ssize_t _write_short(bytearray head, Py_ssize_t size, tuple record, list bodies, list elsewhere) except -1:
    """Write it behind the first ``size`` bytes; returns how many there are then."""
    asked, answered = record[8], record[10]
    cdef Where of_asked = _where(asked), of_answered = _where(answered)
    cdef bint is_long = of_asked != IN_RECORD or of_answered != IN_RECORD
    cdef bytes stream = <bytes?> record[0], request = <bytes?> record[7], response = <bytes?> record[9]
    cdef Py_ssize_t id_bytes, request_id_bytes, more = _FIELD_BYTES * (_LONG + _pieces(asked) + _pieces(answered))
    cdef const char *event_id = PyUnicode_AsUTF8AndSize(<str?> record[1], &id_bytes)
    cdef const char *request_id = PyUnicode_AsUTF8AndSize(<str?> record[2], &request_id_bytes)
    cdef long long time_ns = record[3]
    cdef double duration_ms = record[4], ttfb_ms = record[5]
    more += PyBytes_GET_SIZE(stream) + PyBytes_GET_SIZE(request) + PyBytes_GET_SIZE(response)
    more += id_bytes + request_id_bytes
    if of_asked == IN_RECORD:
        more += PyBytes_GET_SIZE(<bytes> asked)
    if of_answered == IN_RECORD:
        more += PyBytes_GET_SIZE(<bytes> answered)
    _make_room(head, size, more)
    cdef char *at = PyByteArray_AS_STRING(head) + size
    at = _array(at, _LONG if is_long else _SHORT)
    at = _binary(at, stream)
    at = _stretch(at, 0xD9, 0xDB, event_id, id_bytes)
    at = _stretch(at, 0xD9, 0xDB, request_id, request_id_bytes)
    at = _whole(at, time_ns)
    at = _floating(at, duration_ms)
    at = _floating(at, ttfb_ms)
    at[0] = <char> (0xC3 if record[6] else 0xC2)
    at = _binary(at + 1, request)
    at = _body(at, asked, of_asked)
    at = _binary(at, response)
    at = _body(at, answered, of_answered)
    if is_long:
        at = _whole(at, _laid(asked, of_asked, bodies, elsewhere))
        at = _whole(at, _laid(answered, of_answered, bodies, elsewhere))
        at = _places(at, asked, of_asked)
        at = _places(at, answered, of_answered)
    return at - PyByteArray_AS_STRING(head)


cdef inline Py_ssize_t _pieces(body) noexcept:
    """How many numbers its places are."""
    return 2 * len(<tuple> body) if type(body) is tuple else 2


cdef inline char *_array(char *at, Py_ssize_t size) noexcept:
    cdef uint32_t ordered = htobe32(<uint32_t> size)
    if size < 16:
        at[0] = <char> (0x90 | size)
        return at + 1
    at[0] = <char> 0xDD
    memcpy(at + 1, &ordered, 4)
    return at + 5


cdef inline char *_ordered(char *at, int kind, uint64_t value) noexcept:
    value = htobe64(value)
    at[0] = <char> kind
    memcpy(at + 1, &value, 8)
    return at + 9


cdef inline char *_whole(char *at, long long value) noexcept:
    if 0 <= value < 128:
        at[0] = <char> value
        return at + 1
    return _ordered(at, 0xD3, <uint64_t> value)


cdef inline char *_floating(char *at, double value) noexcept:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return _ordered(at, 0xCB, bits)


cdef inline char *_stretch(char *at, int short_kind, int long_kind, const char *data, Py_ssize_t size) noexcept:
    """Bytes behind their number."""
    cdef uint32_t ordered = htobe32(<uint32_t> size)
    if size < 256:
        at[0], at[1] = <char> short_kind, <char> size
        at += 2
    else:
        at[0] = <char> long_kind
        memcpy(at + 1, &ordered, 4)
        at += 5
    memcpy(at, data, size)
    return at + size


cdef inline char *_binary(char *at, bytes value) noexcept:
    return _stretch(at, 0xC4, 0xC6, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))


cdef inline char *_body(char *at, body, Where where) noexcept:
    """What stands of it in the record."""
    if where == IN_RECORD:
        return _binary(at, <bytes> body)
    at[0], at[1] = <char> 0xC4, 0
    return at + 2


cdef char *_places(char *at, body, Where where) except NULL:
    """Where in shared memory its pieces stand, each with its length; none where they do not stand there."""
    if where != SHARED:
        return _array(at, 0)
    if type(body) is not tuple:
        at = _whole(_array(at, 2), place(body))
        return _whole(at, PyBytes_GET_SIZE(<bytes> body))
    at = _array(at, _pieces(body))
    for piece in <tuple> body:
        at = _whole(at, place(piece))
        at = _whole(at, PyBytes_GET_SIZE(<bytes> piece))
    return at


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
