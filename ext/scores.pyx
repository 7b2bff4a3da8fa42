# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Sums and counts by which tracks are scored; predictd.kernels checks what comes in."""

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


cdef extern from "scores_core.h" nogil:
    ctypedef struct predictd_ranked:
        const uint8_t *classes
        const double *ranks
        const int32_t *places

    void predictd_keys(const float *values, size_t n, int dropped, int is_signed, int32_t middle, int32_t *keys)
    void predictd_tally(const int32_t *keys, size_t n, uint32_t *counts)
    void predictd_classify(const int32_t *keys, size_t n, int64_t *tops, uint8_t *classes)
    void predictd_ranks(const int32_t *keys, size_t n, const int32_t *places, const double *centred, int32_t *own,
                        double *ranks)
    void predictd_joint_float(const float *y, const float *x, size_t n, double *state)
    void predictd_joint_double(const double *y, const double *x, size_t n, double *state)
    void predictd_weighted_float(const float *y, const float *x, const float *weights, size_t n, double *sums)
    void predictd_weighted_double(const double *y, const double *x, const float *weights, size_t n, double *sums)
    void predictd_compare_float(const float *y, const float *x, predictd_ranked of_y, predictd_ranked of_x, size_t n,
                                double *sums, int64_t *observed, int64_t *imputed, int64_t *peaks)
    void predictd_compare_double(const double *y, const double *x, predictd_ranked of_y, predictd_ranked of_x,
                                 size_t n, double *sums, int64_t *observed, int64_t *imputed, int64_t *peaks)
    void predictd_columns(const float *values, size_t n, size_t width, const int64_t *columns, size_t k, float *rows)
    void predictd_assay(const float *rows, size_t stride, size_t n, const int64_t *chosen, size_t k, float factor,
                        float *mean, float *scaled, float *variance)


def keys(const float[::1] values not None, int dropped, bint is_signed, int32_t middle, int32_t[::1] out not None):
    """Write the rank keys of values to `out`."""
    with nogil:
        predictd_keys(&values[0], values.shape[0], dropped, is_signed, middle, &out[0])


def tally(const int32_t[::1] keys not None, uint32_t[::1] counts not None):
    """Add to the counts of keys."""
    with nogil:
        predictd_tally(&keys[0], keys.shape[0], &counts[0])


def classify(const int32_t[::1] keys not None, int64_t[::1] tops not None, uint8_t[::1] out not None):
    """Write to `out` which bins are in the top sets, and count down the ties that are left."""
    with nogil:
        predictd_classify(&keys[0], keys.shape[0], &tops[0], &out[0])


def ranks(
    const int32_t[::1] keys not None,
    const int32_t[::1] places not None,
    const double[::1] centred not None,
    int32_t[::1] own not None,
    double[::1] out not None,
):
    """Write places and centred ranks of keys."""
    with nogil:
        predictd_ranks(&keys[0], keys.shape[0], &places[0], &centred[0], &own[0], &out[0])


def joint(const floating[::1] y not None, const floating[::1] x not None, double[::1] state not None):
    """Add bins of two tracks to their means and products."""
    with nogil:
        if floating is float:
            predictd_joint_float(&y[0], &x[0], y.shape[0], &state[0])
        else:
            predictd_joint_double(&y[0], &x[0], y.shape[0], &state[0])


def weighted(
    const floating[::1] y not None,
    const floating[::1] x not None,
    const float[::1] weights not None,
    double[::1] sums not None,
):
    """Add weights and weighted squared errors."""
    with nogil:
        if floating is float:
            predictd_weighted_float(&y[0], &x[0], &weights[0], y.shape[0], &sums[0])
        else:
            predictd_weighted_double(&y[0], &x[0], &weights[0], y.shape[0], &sums[0])


def compare(
    const floating[::1] y not None,
    const floating[::1] x not None,
    tuple of_y not None,
    tuple of_x not None,
    double[::1] sums not None,
    int64_t[::1] observed not None,
    int64_t[::1] imputed not None,
    int64_t[::1] peaks not None,
):
    """Add what is found of two tracks once their bins are ranked: each as (classes, ranks, places)."""
    cdef const uint8_t[::1] classes
    cdef const double[::1] ranks
    cdef const int32_t[::1] places
    cdef predictd_ranked[2] ranked
    for index, (classes, ranks, places) in enumerate((of_y, of_x)):
        ranked[index].classes = &classes[0]
        ranked[index].ranks = &ranks[0]
        ranked[index].places = &places[0]
    with nogil:
        if floating is float:
            predictd_compare_float(&y[0], &x[0], ranked[0], ranked[1], y.shape[0], &sums[0], &observed[0],
                                   &imputed[0], &peaks[0])
        else:
            predictd_compare_double(&y[0], &x[0], ranked[0], ranked[1], y.shape[0], &sums[0], &observed[0],
                                    &imputed[0], &peaks[0])


def columns(const float[:, ::1] values not None, const int64_t[::1] chosen not None, float[:, ::1] out not None):
    """Write some columns to the rows of `out`."""
    with nogil:
        predictd_columns(&values[0, 0], values.shape[0], values.shape[1], &chosen[0], chosen.shape[0], &out[0, 0])


def assay(
    const float[:, ::1] rows not None,
    const int64_t[::1] chosen not None,
    float factor,
    float[::1] mean not None,
    float[::1] scaled not None,
    float[::1] variance not None,
):
    """Write means of the chosen rows in each bin, these times a factor, and variances."""
    with nogil:
        predictd_assay(&rows[0, 0], rows.shape[1], rows.shape[1], &chosen[0], chosen.shape[0], factor, &mean[0],
                       &scaled[0], &variance[0])
