# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""float16 to float32; predictd.kernels checks what comes in."""

from libc.stdint cimport uint16_t


cdef extern from "half_core.h" nogil:
    void predictd_widen(const uint16_t *half, float *out, size_t n)


def widen(const uint16_t[::1] half not None, float[::1] out not None):
    """Write the halves whose bits are `half` to `out`, which is as long."""
    cdef size_t n = half.shape[0]
    if n:
        with nogil:
            predictd_widen(&half[0], &out[0], n)
