cdef bytes new_bytes(Py_ssize_t size)
