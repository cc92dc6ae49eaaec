"""Counting numbers on fixed bins in C, by the table of ``cells.py``: what only the compiled build has.

No jump depends on a value, so that the processor never guesses: comparisons are numbers, 0 or 1, that are added.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t
from libc.string cimport memcpy

# Values whose bins wait for the next halving; they stay in the first cache.
cdef enum:
    BLOCK = 512


cdef inline int32_t first_bin(const uint16_t* below, double distance) noexcept nogil:
    """The lowest bin that a value at this distance from the centre can be in."""
    cdef float narrow = <float>distance
    cdef uint32_t bits
    memcpy(&bits, &narrow, sizeof(bits))
    return below[bits >> 16]


@cython.boundscheck(False)
@cython.wraparound(False)
def count(
    const double[::1] values,
    double centre,
    const uint16_t[::1] below,
    const double[::1] edges,
    int halvings,
    int64_t[::1] counts,
) -> None:
    """Add the rows of each bin to ``counts``, shape (bins,); all else are the fields of one ``Cells``."""
    cdef Py_ssize_t start = 0, total = values.shape[0], place, rows
    cdef int32_t step, bin
    cdef int32_t bins[BLOCK]
    cdef const double* block
    cdef const double* edge
    with nogil:
        while start < total:
            block = &values[start]
            rows = min(total - start, <Py_ssize_t>BLOCK)
            start += rows
            if halvings == 1:
                for place in range(rows):
                    bin = first_bin(&below[0], block[place] - centre)
                    counts[bin + (block[place] >= edges[bin])] += 1
                continue
            if halvings == 2:
                for place in range(rows):
                    bin = first_bin(&below[0], block[place] - centre)
                    edge = &edges[bin]
                    counts[bin + (block[place] >= edge[0]) + (block[place] >= edge[1]) + (block[place] >= edge[2])] += 1
                continue
            for place in range(rows):
                bins[place] = first_bin(&below[0], block[place] - centre)
            step = (<int32_t>1) << (halvings - 1)
            while step:
                edge = &edges[step - 1]
                for place in range(rows):
                    bin = bins[place]
                    bins[place] = bin + (step & -<int32_t>(block[place] >= edge[bin]))
                step >>= 1
            for place in range(rows):
                counts[bins[place]] += 1
