"""Values taken out of lists by their places: what only the compiled build has."""

cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_INCREF


@cython.final
cdef class Places:
    """Takes the values at ``places`` out of any sequence, as ``picking.picker`` says."""

    cdef Py_ssize_t* places
    cdef Py_ssize_t count, first, last

    def __cinit__(self, places):
        cdef list listed = list(places)
        cdef Py_ssize_t number
        self.count = len(listed)
        self.places = <Py_ssize_t*>PyMem_Malloc(max(1, self.count) * sizeof(Py_ssize_t))
        if self.places == NULL:
            raise MemoryError
        for number in range(self.count):
            self.places[number] = listed[number]
        self.first, self.last = min(listed, default=0), max(listed, default=-1)

    def __dealloc__(self):
        PyMem_Free(self.places)

    def __call__(self, values) -> list:
        cdef list known = values if type(values) is list else list(values)
        cdef Py_ssize_t number, place, length = len(known)
        if self.last >= length or self.first < -length:
            raise IndexError(f"places from {self.first} to {self.last} of {length} values")
        cdef list found = PyList_New(self.count)
        for number in range(self.count):
            place = self.places[number]
            value = <object>PyList_GET_ITEM(known, place + length if place < 0 else place)
            Py_INCREF(value)
            PyList_SET_ITEM(found, number, value)
        return found
