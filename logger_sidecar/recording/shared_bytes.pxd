cdef bytes new_bytes(Py_ssize_t size)
cdef bytes first_of(bytes made, Py_ssize_t size)
cdef Py_ssize_t room_behind(bytes made) noexcept
cdef void grow(bytes made, Py_ssize_t size) noexcept
cdef Py_ssize_t place(one) noexcept
