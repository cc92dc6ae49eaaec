# Part of lane.pyx: whether a message in its buffer says what another said (http1/sameness.py), and where its id may stand.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

from logger_sidecar.http1.heads cimport Head

from logger_sidecar.http1.request_ids import LOOK_BYTES
from logger_sidecar.http1.sameness import DATE, ID, ID_LIMIT_BYTES, LENGTH, STATE, TRACE

cdef enum:
    _LENGTH_DIGITS = 18
    _DATE_BYTES = 29
    _TRACE_BYTES = 55

#: A one in each of eight bytes.
cdef unsigned long long _ONES = 0x0101010101010101
cdef Py_ssize_t _LOOK_BYTES = LOOK_BYTES
cdef Py_ssize_t _ID_LIMIT_BYTES = ID_LIMIT_BYTES
cdef int _DATE_PLACE = DATE, _ID_PLACE = ID, _LENGTH_PLACE = LENGTH, _TRACE_PLACE = TRACE, _STATE_PLACE = STATE

cdef struct Same:
    #: What ``sameness.same_but`` finds; the id stands from ``id_start`` to ``id_end``, both 0 where it is no place, and
    #: the trace context at ``trace_start``, 0 where it is none.
    ssize_t head_bytes, id_start, id_end, trace_start
    #: How much of its body has not come; below 0: that has come which is not its own.
    long long left


cdef bint _is_same(char *data, Head head, ssize_t size, ssize_t seen, Same *same) noexcept:
    """As ``sameness.same_but``, whatever the date and however much came, and whether it says exactly the same.

    ``seen``: how much of the ``size`` bytes that came is in the buffer.
    """
    same.head_bytes, same.id_start, same.id_end, same.trace_start = head.size, 0, 0, 0
    same.left = head.whole_bytes - size
    if seen >= head.size and memcmp(data, PyBytes_AS_STRING(head.raw), head.size) == 0:
        return True
    cdef tuple stretches = <tuple> head.stretches
    cdef char *places = PyBytes_AS_STRING(head.places)
    cdef ssize_t count = PyBytes_GET_SIZE(head.places)
    cdef long long body_bytes = max(0, head.content_length)
    cdef ssize_t start, end = 0, index
    cdef bytes stretch
    for index in range(count + 1 if count else 0):
        stretch = <bytes> stretches[index]
        start = end
        if index:
            end = _end_of_value(data, places[index - 1], start, seen)
            if end < 0:
                return False
            if places[index - 1] == _ID_PLACE:
                same.id_start, same.id_end = start, end
            elif places[index - 1] == _TRACE_PLACE:
                same.trace_start = start
            elif places[index - 1] == _LENGTH_PLACE:
                body_bytes = _number(data + start, end - start)
        if seen - end < PyBytes_GET_SIZE(stretch):
            return False
        if memcmp(data + end, PyBytes_AS_STRING(stretch), PyBytes_GET_SIZE(stretch)) != 0:
            return False
        end += PyBytes_GET_SIZE(stretch)
    same.head_bytes = end
    same.left = end + body_bytes - size
    return count > 0


cdef ssize_t _end_of_value(char *data, char kind, ssize_t start, ssize_t size) noexcept:
    """Where the value that begins here ends, if one of this kind does; else -1."""
    if kind == _TRACE_PLACE:
        return start + _TRACE_BYTES if size - start >= _TRACE_BYTES and _is_trace(data + start) else -1
    if kind == _DATE_PLACE:
        return _end_of_date(data, start, size)
    cdef ssize_t longest = _LENGTH_DIGITS
    cdef unsigned char lowest = 0x20, highest = 0x7E
    if kind == _ID_PLACE:
        longest, lowest = _ID_LIMIT_BYTES, 0x21
    elif kind == _STATE_PLACE:
        longest = _ID_LIMIT_BYTES
    else:
        lowest, highest = 0x30, 0x39
    cdef ssize_t end = start
    while end < size and lowest <= <unsigned char> data[end] <= highest:
        end += 1
    if not start < end <= start + longest:
        return -1
    if kind == _STATE_PLACE and (data[start] == c" " or data[end - 1] == c" "):
        return -1
    return end


cdef ssize_t _end_of_date(char *data, ssize_t start, ssize_t size) noexcept:
    """As ``_end_of_value``, eight characters at a time: every answer has one, and it is as long as any."""
    cdef ssize_t end = start + _DATE_BYTES
    if size < end or (size > end and 0x20 <= <unsigned char> data[end] <= 0x7E):
        return -1
    # The last eight are partly looked at twice.
    if _are_shown(data + start) and _are_shown(data + start + 8) and _are_shown(data + start + 16):
        return end if _are_shown(data + end - 8) else -1
    return -1


cdef inline bint _are_shown(char *eight) noexcept:
    """Whether none of these characters is below 0x20 or above 0x7E."""
    cdef unsigned long long all_of
    memcpy(&all_of, eight, 8)
    return not (((all_of - _ONES * 0x20) | (all_of + _ONES) | all_of) & (_ONES * 0x80))


cdef bint _has_id_key(bytes body) noexcept:
    """Whether the key stands where ``request_ids.body_id`` looks for it."""
    cdef char *start = PyBytes_AS_STRING(body)
    cdef char *end = start + min(PyBytes_GET_SIZE(body), _LOOK_BYTES)
    cdef char *found = start + 2
    while found < end - 1:
        # Of the key's characters the rarest; a search of the C library for all four would first make a table.
        found = <char *> memchr(found, c"d", end - 1 - found)
        if found == NULL:
            return False
        if found[-1] == c"i" and found[-2] == c'"' and found[1] == c'"':
            return True
        found += 1
    return False


cdef bint _is_trace(char *text) noexcept:
    """As ``sameness.PLAIN_TRACE``, whose length these are."""
    cdef int index
    cdef bint names_trace = False, names_span = False
    for index in range(_TRACE_BYTES):
        if index == 2 or index == 35 or index == 52:
            if text[index] != c"-":
                return False
        elif not (c"0" <= text[index] <= c"9" or c"a" <= text[index] <= c"f"):
            return False
        elif text[index] != c"0":
            if index < 2:
                return False
            names_trace = names_trace or index < 35
            names_span = names_span or 35 < index < 52
    return names_trace and names_span


cdef long long _number(char *digits, ssize_t count) noexcept:
    cdef long long found = 0
    cdef ssize_t index
    for index in range(count):
        found = 10 * found + digits[index] - 48
    return found
