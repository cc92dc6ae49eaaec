"""Sentences about quiet columns, put together without a format being read: what only the compiled build has."""

cimport cython
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_FromStringAndSize
from libc.string cimport memcpy, strlen


cdef extern from "Python.h":
    # What formatting a float ends in, in every way of Python's.
    char* PyOS_double_to_string(double value, char code, int precision, int flags, int* kind) except NULL


cdef enum:
    # Bytes of the longest figures: two numbers of at most 24, and what stands between.
    ROOM = 128

cdef double[11] TENS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6]
cdef enum:
    ONE = 4  # where 1.0 stands


cdef int spell(double number, int digits, char* text) except -1:
    """Write ``format(number, ".3g")``, or of as many ``digits``; returns the number of bytes, at most 24.

    Whole numbers and powers of ten are exact, so that of a number scaled to as many digits only the last bit is
    uncertain. What is near the middle of two spellings, or is spelt with an exponent, is left to Python.
    """
    cdef int power, place, used, written = 0
    cdef long long shown
    cdef double scaled, rest
    cdef char figures[8]
    if not (TENS[0] <= number < TENS[ONE + digits]):
        return spell_any(number, digits, text)
    power = digits - 1
    while number < TENS[ONE + power]:
        power -= 1
    scaled = number * TENS[ONE + digits - 1 - power]
    shown = <long long>scaled
    rest = scaled - <double>shown
    if 0.4999999 < rest < 0.5000001:
        return spell_any(number, digits, text)
    if rest > 0.5:
        shown += 1
    if shown >= <long long>TENS[ONE + digits]:
        if power == digits - 1:
            return spell_any(number, digits, text)
        shown //= 10
        power += 1
    for place in range(digits - 1, -1, -1):
        figures[place] = c"0" + <char>(shown % 10)
        shown //= 10
    used = digits
    while used > 1 and figures[used - 1] == c"0":
        used -= 1
    if power < 0:
        text[0], text[1] = c"0", c"."
        written = 2
        for place in range(-power - 1):
            text[written] = c"0"
            written += 1
    for place in range(max(used, power + 1)):
        if place == power + 1 and power >= 0:
            text[written] = c"."
            written += 1
        text[written] = figures[place]
        written += 1
    return written


cdef int spell_any(double number, int digits, char* text) except -1:
    cdef char* spelt = PyOS_double_to_string(number, c"g", digits, 0, NULL)
    cdef int written = <int>strlen(spelt)
    memcpy(text, spelt, written)
    PyMem_Free(spelt)
    return written


cdef int put(const char* told, char* text) noexcept:
    cdef int written = <int>strlen(told)
    memcpy(text, told, written)
    return written


@cython.boundscheck(False)
@cython.wraparound(False)
@cython.cdivision(True)
def sentences(list heads not None, list statistics not None, list p_values not None, list tails not None) -> list:
    """A statistic and its p-value between each head and tail, as ``reasons.measured`` spells both."""
    cdef Py_ssize_t place, count = len(heads)
    cdef list told = [None] * count
    cdef str figures
    cdef double number
    cdef int written
    cdef char text[ROOM]
    if not len(statistics) == len(p_values) == len(tails) == count:
        raise ValueError("lists of different lengths")
    for place in range(count):
        written = spell(statistics[place], 3, text)
        p_value = p_values[place]
        if p_value is None:
            written += put(" (no p-value)", text + written)
        else:
            number = p_value
            if number < 1e-12:
                written += put(" (p < 1e-12)", text + written)
            else:
                written += put(" (p = ", text + written)
                written += spell(number, 2, text + written)
                written += put(")", text + written)
        figures = PyUnicode_FromStringAndSize(text, written)
        told[place] = f"{<str>heads[place]}{figures}{<str>tails[place]}"
    return told
