# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""float16 to float32, and columns as rows; predictd.kernels checks what comes in."""

from libc.stdint cimport int64_t, uint16_t


cdef extern from "half_core.h" nogil:
    void predictd_widen(const uint16_t *half, float *out, size_t n)
    void predictd_rows_of_half(const uint16_t *values, size_t n, size_t width, const int64_t *columns, size_t k,
                               float *rows, size_t stride, float *low, float *high)
    void predictd_rows_of_float(const float *values, size_t n, size_t width, const int64_t *columns, size_t k,
                                float *rows, size_t stride, float *low, float *high)
    void predictd_ends(const float *rows, size_t k, size_t n, float *low, float *high)


ctypedef fused stored:
    uint16_t
    float


def widen(const uint16_t[::1] half not None, float[::1] out not None):
    """Write the halves whose bits are `half` to `out`, which is as long."""
    cdef size_t n = half.shape[0]
    if n:
        with nogil:
            predictd_widen(&half[0], &out[0], n)


def rows(
    const stored[:, ::1] values not None,
    const int64_t[::1] columns not None,
    float[:, ::1] out not None,
    float[::1] low not None,
    float[::1] high not None,
):
    """Write some columns of halves, given as their bits, or floats to the rows of `out`, and the ends of each."""
    with nogil:
        if stored is float:
            predictd_rows_of_float(&values[0, 0], values.shape[0], values.shape[1], &columns[0], columns.shape[0],
                                   &out[0, 0], out.shape[1], &low[0], &high[0])
        else:
            predictd_rows_of_half(&values[0, 0], values.shape[0], values.shape[1], &columns[0], columns.shape[0],
                                  &out[0, 0], out.shape[1], &low[0], &high[0])


def ends(const float[:, ::1] rows not None, float[::1] low not None, float[::1] high not None):
    """Write the ends of each row."""
    with nogil:
        predictd_ends(&rows[0, 0], rows.shape[0], rows.shape[1], &low[0], &high[0])
