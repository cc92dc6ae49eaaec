cdef bytes new_bytes(Py_ssize_t size)
cdef bytes first_of(bytes made, Py_ssize_t size)
