"""Sentences about quiet columns, put together without a format being read: what only the compiled build has."""

cimport cython
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_FromString


cdef extern from "Python.h":
    # What formatting a float ends in, in every way of Python's.
    char* PyOS_double_to_string(double value, char code, int precision, int flags, int* kind) except NULL


cdef inline str spelt(double number, int digits):
    cdef char* text = PyOS_double_to_string(number, c"g", digits, 0, NULL)
    try:
        return PyUnicode_FromString(text)
    finally:
        PyMem_Free(text)


@cython.boundscheck(False)
@cython.wraparound(False)
def sentences(list heads not None, list statistics not None, list p_values not None, list tails not None) -> list:
    """A statistic and its p-value between each head and tail, as ``reasons.measured`` spells both."""
    cdef Py_ssize_t place, count = len(heads)
    cdef list told = [None] * count
    cdef str figure
    cdef double number
    if not len(statistics) == len(p_values) == len(tails) == count:
        raise ValueError("lists of different lengths")
    for place in range(count):
        p_value = p_values[place]
        if p_value is None:
            figure = "no p-value"
        else:
            number = p_value
            figure = "p < 1e-12" if number < 1e-12 else "p = " + spelt(number, 2)
        told[place] = f"{<str>heads[place]}{spelt(statistics[place], 3)} ({figure}){<str>tails[place]}"
    return told
