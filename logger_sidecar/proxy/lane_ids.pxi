# Part of lane.pyx: ids of events. Where requests are few each has a millisecond of its own, for which EventIds would make
# the part of its ids that stays the same anew.

from libc.string cimport memcpy

from logger_sidecar.recording.event_ids cimport EventIds

cdef extern from "Python.h":
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    unsigned char *PyUnicode_1BYTE_DATA(str text)

cdef enum:
    #: How long a draw of ``EventIds`` lasts, which says whether this is the same.
    _DRAW_MS = 1024
    _ID_BYTES = 36
    #: Where the last four digits of the time begin, those behind them that count a draw's ids, and the last three of these.
    _TIME_END = 9
    _MIDDLE = 13
    _LAST = 33

cdef char *_DIGITS = b"0123456789abcdef"


cpdef str new_id(EventIds ids, long long millisecond):
    """As ``EventIds.new_in``."""
    cdef long long low = ids._low + 1, since = millisecond - ids._drawn_since
    if since < 0 or since >= _DRAW_MS or low >= ids._ends:
        return ids.new_in(millisecond)
    ids._low = low
    cdef str made = PyUnicode_New(_ID_BYTES, 127)
    cdef unsigned char *out = PyUnicode_1BYTE_DATA(made)
    memcpy(out, PyUnicode_1BYTE_DATA(ids._first), _TIME_END)
    _write_digits(out + _TIME_END, millisecond, _MIDDLE - _TIME_END)
    memcpy(out + _MIDDLE, PyUnicode_1BYTE_DATA(ids._middle), _LAST - _MIDDLE)
    _write_digits(out + _LAST, low, _ID_BYTES - _LAST)
    return made


cdef inline void _write_digits(unsigned char *out, long long number, int count) noexcept:
    """The last hexadecimal digits of a number."""
    while count:
        count -= 1
        out[count] = _DIGITS[number & 15]
        number >>= 4
