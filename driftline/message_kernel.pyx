"""Messages of frames in one pass, without an event in between: what only the compiled build has.

It reads frames as the recorder writes them: what a stream's events share, then what each has of its own, in one order.
What is shared was decoded once, by the functions that are given (``frame_messages.py``), and is known again by its
bytes. A frame that is unlike that takes the slow path.
"""

import binascii

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from driftline.header_texts import format_seconds

cdef extern from "Python.h":
    char *PyOS_double_to_string(double value, char format_code, int precision, int flags, int *kind) except NULL
    int Py_DTSF_ADD_DOT_0

include "message_kernel_json.pxi"

cdef enum:
    #: How much that is shared is remembered of; then all is learnt anew.
    _MOST_KNOWN = 256
    _SECOND_NS = 1000000000

cdef bytes _TIME = b"\xa7time_ns\xcf", _DURATION = b"\xabduration_ms\xcb", _TTFB = b"\xa7ttfb_ms\xcb"
cdef bytes _REQUEST_ID = b"\xaarequest_id", _TRUNCATED = b"\xa9truncated", _TRACE = b"\xabtraceparent"
cdef bytes _REQUEST = b"\xa7request", _RESPONSE = b"\xa8response", _BODY = b"\xa4body", _ID = b"\xa2id"
cdef bytes _OPENING = b'{"request":', _BETWEEN = b',"response":'


def is_json(bytes body) -> bool:
    """Whether a body, which is not empty, is a document of JSON in UTF-8 and nothing else."""
    cdef const uint8_t *at = <const uint8_t *> PyBytes_AS_STRING(body)
    return is_json_text(at, at + PyBytes_GET_SIZE(body))


cdef class Half:
    """One half of a frame: where its body lies, and how it is written."""

    cdef const uint8_t *body
    cdef Py_ssize_t size
    cdef bytes before
    cdef bytes encoded
    cdef bytes after

    cdef const uint8_t *read(self, const uint8_t *at, const uint8_t *end, dict known, learn) except? NULL:
        """``at``: behind the half's key. Returns where it ends; NULL where it is unusual."""
        cdef const uint8_t *start = at
        cdef int entries
        if at == end or not 0x81 <= at[0] <= 0x8F:
            return NULL
        entries = at[0] - 0x80
        at += 1
        while entries > 1:
            at = _past_value(_past_value(at, end, 0), end, 0)
            if at == NULL:
                return NULL
            entries -= 1
        at = _past(_BODY, at, end)
        if at == NULL:
            return NULL
        described = PyBytes_FromStringAndSize(<const char *> start, at - start)
        at = self._find_body(at, end)
        if at == NULL:
            return NULL
        beginnings = known.get(described)
        if beginnings is None:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            beginnings = known[described] = learn(described)
        return at if beginnings and self._written(<tuple> beginnings) else NULL

    cdef const uint8_t *_find_body(self, const uint8_t *at, const uint8_t *end) noexcept:
        cdef int width
        if at == end or not 0xC4 <= at[0] <= 0xC6:
            return NULL
        width = 1 << (at[0] - 0xC4)
        if end - at <= width:
            return NULL
        self.size = _number(at + 1, width)
        at += 1 + width
        if end - at < self.size:
            return NULL
        self.body = at
        return at + self.size

    cdef bint _written(self, tuple beginnings) except -1:
        cdef const uint8_t *end = self.body + self.size
        before_json, before_base64, empty = beginnings
        self.encoded = None
        if not self.size:
            self.before, self.after = empty, b""
        elif before_json is not None and is_json_text(self.body, end):
            self.before, self.after = before_json, b"}"
        else:
            body = PyBytes_FromStringAndSize(<const char *> self.body, self.size)
            self.encoded = binascii.b2a_base64(body, newline=False)
            self.before, self.after = before_base64, b'"}'
            self.body, self.size = <const uint8_t *> PyBytes_AS_STRING(self.encoded), PyBytes_GET_SIZE(self.encoded)
        return True

    cdef Py_ssize_t length(self) noexcept:
        return PyBytes_GET_SIZE(self.before) + self.size + PyBytes_GET_SIZE(self.after)

    cdef char *write(self, char *to) noexcept:
        to = _copied(to, self.before)
        memcpy(to, self.body, self.size)
        return _copied(to + self.size, self.after)


cdef class UsualFrames:
    """Makes messages of usual frames.

    ``message_type``: ``events.InferenceMessage``. ``learn_headers``, ``learn_half``: see ``frame_messages.py``.
    """

    cdef object _message_type, _learn_headers, _learn_half
    cdef dict _headers, _halves
    cdef Half _request, _response
    cdef object _second
    cdef bytes _second_text

    def __init__(self, message_type, learn_headers, learn_half):
        self._message_type, self._learn_headers, self._learn_half = message_type, learn_headers, learn_half
        self._headers, self._halves = {}, {}
        self._request, self._response = Half(), Half()
        self._second, self._second_text = -1, b""

    def message(self, bytes frame):
        """The message of a frame; None where the frame is none of the usual."""
        cdef const uint8_t *start = <const uint8_t *> PyBytes_AS_STRING(frame)
        cdef const uint8_t *end = start + PyBytes_GET_SIZE(frame)
        cdef const uint8_t *at = _past_shared(start, end)
        cdef uint64_t time_ns, duration, ttfb
        cdef bint truncated
        if at == NULL:
            return None
        shared = PyBytes_FromStringAndSize(<const char *> start, at - start)
        event_id = _text(&at, end)
        if event_id is None:
            return None
        if not (_field(_TIME, &at, end, &time_ns) and _field(_DURATION, &at, end, &duration)):
            return None
        if not _field(_TTFB, &at, end, &ttfb) or time_ns >> 63:
            return None
        at = _past(_REQUEST_ID, at, end)
        request_id = _text(&at, end) if at != NULL else None
        at = _past(_TRUNCATED, at, end) if request_id is not None else NULL
        if at == NULL or at == end or at[0] & 0xFE != 0xC2:
            return None
        truncated = at[0] & 1
        at = _past(_TRACE, at + 1, end)
        if at == NULL or at == end:
            return None
        trace = None
        if at[0] == 0xC0:
            at += 1
        else:
            trace = _text(&at, end)
            if trace is None:
                return None
        at = _past(_REQUEST, at, end)
        at = self._request.read(at, end, self._halves, self._learn_half) if at != NULL else NULL
        at = _past(_RESPONSE, at, end) if at != NULL else NULL
        at = self._response.read(at, end, self._halves, self._learn_half) if at != NULL else NULL
        if at != end:
            return None
        headers = self._with_shared(shared, truncated, trace is not None)
        if headers is None:
            return None
        made, places = headers
        made = list(<list> made)
        made[places[0]] = ("ce_id", event_id)
        made[places[1]] = ("ce_time", self._time(time_ns))
        made[places[2]] = ("ce_requestid", request_id)
        made[places[3]] = ("ce_durationms", _written(duration))
        made[places[4]] = ("ce_ttfbms", _written(ttfb))
        if trace is not None:
            made[places[5]] = ("ce_traceparent", trace)
        return tuple.__new__(self._message_type, (made, request_id, self._value(), time_ns))

    cdef tuple _with_shared(self, bytes shared, bint truncated, bint traced):
        key = (shared, truncated, traced)
        found = self._headers.get(key)
        if found is None:
            if len(self._headers) >= _MOST_KNOWN:
                self._headers.clear()
            found = self._headers[key] = self._learn_headers(shared, bool(truncated), bool(traced))
        return <tuple> found if found else None

    cdef bytes _time(self, uint64_t time_ns):
        cdef uint64_t second = time_ns // _SECOND_NS, rest = time_ns % _SECOND_NS
        cdef Py_ssize_t size
        cdef int place
        cdef bytes made
        cdef char *to
        if second != self._second:
            self._second, self._second_text = second, format_seconds(second)
        size = PyBytes_GET_SIZE(self._second_text)
        made = PyBytes_FromStringAndSize(NULL, size + 11)
        to = _copied(PyBytes_AS_STRING(made), self._second_text)
        to[0], to[10] = b".", b"Z"
        for place in range(9, 0, -1):
            to[place] = <char> (48 + rest % 10)
            rest //= 10
        return made

    cdef bytes _value(self):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(_OPENING) + PyBytes_GET_SIZE(_BETWEEN) + 1
        cdef bytes made = PyBytes_FromStringAndSize(NULL, size + self._request.length() + self._response.length())
        cdef char *to = _copied(PyBytes_AS_STRING(made), _OPENING)
        to = self._request.write(to)
        to = self._response.write(_copied(to, _BETWEEN))
        to[0] = b"}"
        return made


cdef inline char *_copied(char *to, bytes piece) noexcept:
    memcpy(to, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
    return to + PyBytes_GET_SIZE(piece)


cdef inline const uint8_t *_past(bytes piece, const uint8_t *at, const uint8_t *end) noexcept:
    """Behind these bytes; NULL where others stand."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
    return at + size if end - at >= size and memcmp(at, PyBytes_AS_STRING(piece), size) == 0 else NULL


cdef inline uint64_t _number(const uint8_t *at, int width) noexcept:
    cdef uint64_t found = 0
    cdef int place
    for place in range(width):
        found = found << 8 | at[place]
    return found


cdef inline bint _field(bytes name, const uint8_t **at, const uint8_t *end, uint64_t *found) noexcept:
    """Read the eight bytes behind a name."""
    cdef const uint8_t *start = _past(name, at[0], end)
    if start == NULL or end - start < 8:
        return False
    found[0] = _number(start, 8)
    at[0] = start + 8
    return True


cdef bytes _text(const uint8_t **at, const uint8_t *end):
    """A text of ASCII without a NUL; None where it is another one."""
    cdef const uint8_t *start = at[0]
    cdef Py_ssize_t size
    if start == end:
        return None
    if start[0] & 0xE0 == 0xA0:
        size = start[0] & 0x1F
        start += 1
    elif start[0] == 0xD9 and end - start > 1:
        size = start[1]
        start += 2
    else:
        return None
    if end - start < size or not is_ascii(start, start + size) or memchr(start, 0, size) != NULL:
        return None
    at[0] = start + size
    return PyBytes_FromStringAndSize(<const char *> start, size)


cdef const uint8_t *_past_shared(const uint8_t *at, const uint8_t *end) noexcept:
    """Behind the key of the event's id, before which stands what a stream's events share; NULL: there is none."""
    cdef int entries
    if end - at < 3 or at[0] != 0xDE:
        return NULL
    entries = _number(at + 1, 2)
    at += 3
    while entries and at != NULL and _past(_ID, at, end) == NULL:
        at = _past_value(_past_value(at, end, 0), end, 0)
        entries -= 1
    # id, time_ns, duration_ms, ttfb_ms, request_id, truncated, traceparent, request, response
    return at + PyBytes_GET_SIZE(_ID) if at != NULL and entries == 9 else NULL


cdef const uint8_t *_past_value(const uint8_t *at, const uint8_t *end, int depth) noexcept:
    """Behind a value of msgpack of a kind that events have; NULL where there is none, or it does not end."""
    cdef uint64_t size = 0
    cdef uint8_t mark
    cdef int values = 0
    if at == NULL or at == end:
        return NULL
    mark = at[0]
    at += 1
    if mark < 0x80 or mark >= 0xE0 or mark == 0xC0 or mark == 0xC2 or mark == 0xC3:
        return at
    if mark & 0xE0 == 0xA0:
        size = mark & 0x1F
    elif mark & 0xF0 == 0x80 and depth == 0:
        values = 2 * (mark & 0x0F)
    elif mark == 0xCA or mark == 0xCB:
        size = 4 << (mark - 0xCA)
    elif 0xCC <= mark <= 0xCF or 0xD0 <= mark <= 0xD3:
        size = 1 << (mark & 3)
    elif mark == 0xD9 or mark == 0xDA:
        if end - at < 2:
            return NULL
        size = at[0] + 1 if mark == 0xD9 else _number(at, 2) + 2
    else:
        return NULL
    if <uint64_t> (end - at) < size:
        return NULL
    at += size
    while values and at != NULL:
        at = _past_value(at, end, depth + 1)
        values -= 1
    return at


cdef bytes _written(uint64_t bits):
    """A float64 as Python writes it."""
    cdef double value
    memcpy(&value, &bits, 8)
    cdef char *text = PyOS_double_to_string(value, b"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    try:
        return <bytes> text
    finally:
        PyMem_Free(text)
