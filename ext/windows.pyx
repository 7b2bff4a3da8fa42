# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Means over windows along the genome; predictd.kernels checks what comes in."""

from libc.stdint cimport int64_t


cdef extern from "windows_core.h" nogil:
    void predictd_window_means(const float *signal, size_t length, size_t k, const int64_t *rows, size_t n_rows,
                               size_t half, double *scratch, float *means)


def window_means(
    const float[:, ::1] signal not None,
    const int64_t[::1] rows not None,
    size_t half,
    double[::1] scratch not None,
    float[:, ::1] means not None,
):
    """Write to `means` what is around the rows of one run, with room for 3 k in `scratch`."""
    with nogil:
        predictd_window_means(&signal[0, 0], signal.shape[0], signal.shape[1], &rows[0], rows.shape[0], half,
                              &scratch[0], &means[0, 0])
