# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Sums and counts by which tracks are scored; predictd.kernels checks what comes in."""

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


cdef extern from "scores_core.h" nogil:
    ctypedef struct predictd_key_rule:
        int dropped, is_signed
        int32_t middle

    ctypedef struct predictd_rank_tables:
        const int32_t *places
        const int32_t *below
        const double *ranks
        const int64_t *starts
        size_t n_keys, n_observed
        predictd_key_rule rule

    void predictd_keys(const float *values, size_t n, predictd_key_rule rule, int32_t *keys)
    void predictd_tally_float(const float *tracks, size_t t, size_t n, predictd_key_rule rule, uint32_t *counts,
                              size_t n_keys)
    void predictd_tally_double(const double *tracks, size_t t, size_t n, predictd_key_rule rule, uint32_t *counts,
                               size_t n_keys)
    void predictd_joint_float(const float *tracks, size_t t, size_t n, double *states)
    void predictd_joint_double(const double *tracks, size_t t, size_t n, double *states)
    void predictd_weighted_float(const float *tracks, size_t t, size_t n, const float *weights, double *sums)
    void predictd_weighted_double(const double *tracks, size_t t, size_t n, const float *weights, double *sums)
    ctypedef struct predictd_positive:
        int64_t *observed
        int64_t *imputed
        int64_t *peaks

    void predictd_compare_float(const float *tracks, size_t t, size_t n, const uint8_t *in_peaks,
                                predictd_rank_tables tables, int64_t *tops, double *sums, predictd_positive positive)
    void predictd_compare_double(const double *tracks, size_t t, size_t n, const uint8_t *in_peaks,
                                 predictd_rank_tables tables, int64_t *tops, double *sums, predictd_positive positive)

    ctypedef struct predictd_means:
        float *first
        size_t between, stride
        int has_variance

    void predictd_assays(const float *rows, size_t stride, size_t n, const int64_t *chosen, const int64_t *starts,
                         const float *factors, size_t m, predictd_means out)
    void predictd_bound(float *rows, size_t m, size_t n, const float *added, const float *low, const float *high)


cdef predictd_key_rule rule_of(tuple rule) except *:
    """The rule (bits dropped, whether there are signs, key of 0)."""
    cdef predictd_key_rule found
    found.dropped, found.is_signed, found.middle = rule
    return found


def keys(const float[::1] values not None, tuple rule not None, int32_t[::1] out not None):
    """Write the rank keys of values to `out`."""
    cdef predictd_key_rule own = rule_of(rule)
    with nogil:
        predictd_keys(&values[0], values.shape[0], own, &out[0])


def tally(const floating[:, ::1] tracks not None, tuple rule not None, uint32_t[:, ::1] counts not None):
    """Add to the counts of each track's keys."""
    cdef predictd_key_rule own = rule_of(rule)
    with nogil:
        if floating is float:
            predictd_tally_float(&tracks[0, 0], tracks.shape[0], tracks.shape[1], own, &counts[0, 0], counts.shape[1])
        else:
            predictd_tally_double(&tracks[0, 0], tracks.shape[0], tracks.shape[1], own, &counts[0, 0], counts.shape[1])


def joint(const floating[:, ::1] tracks not None, double[:, ::1] states not None):
    """Add bins of tracks to their means and products."""
    with nogil:
        if floating is float:
            predictd_joint_float(&tracks[0, 0], tracks.shape[0], tracks.shape[1], &states[0, 0])
        else:
            predictd_joint_double(&tracks[0, 0], tracks.shape[0], tracks.shape[1], &states[0, 0])


def weighted(const floating[:, ::1] tracks not None, const float[::1] weights not None, double[:, ::1] sums not None):
    """Add weights and weighted squared errors."""
    with nogil:
        if floating is float:
            predictd_weighted_float(&tracks[0, 0], tracks.shape[0], tracks.shape[1], &weights[0], &sums[0, 0])
        else:
            predictd_weighted_double(&tracks[0, 0], tracks.shape[0], tracks.shape[1], &weights[0], &sums[0, 0])


def compare(
    const floating[:, ::1] tracks not None,
    const uint8_t[::1] in_peaks,
    tuple rule not None,
    tuple by_key not None,
    int64_t[:, ::1] tops not None,
    double[:, ::1] sums not None,
    int64_t[::1] observed not None,
    int64_t[:, ::1] imputed not None,
    int64_t[::1] peaks not None,
):
    """Add what is found of tracks whose keys have all been counted."""
    cdef const int32_t[:, ::1] places
    cdef const double[::1] ranks
    cdef const int64_t[::1] starts
    cdef const int32_t[::1] below
    cdef predictd_rank_tables tables
    cdef predictd_positive positive
    cdef const uint8_t *marked = NULL
    places, ranks, starts, below = by_key
    if in_peaks is not None:
        marked = &in_peaks[0]
    tables.places, tables.ranks, tables.starts, tables.below = &places[0, 0], &ranks[0], &starts[0], &below[0]
    tables.n_keys, tables.n_observed = places.shape[1], imputed.shape[1]
    tables.rule = rule_of(rule)
    positive.observed, positive.imputed, positive.peaks = &observed[0], &imputed[0, 0], &peaks[0]
    with nogil:
        if floating is float:
            predictd_compare_float(&tracks[0, 0], tracks.shape[0], tracks.shape[1], marked, tables, &tops[0, 0],
                                   &sums[0, 0], positive)
        else:
            predictd_compare_double(&tracks[0, 0], tracks.shape[0], tracks.shape[1], marked, tables, &tops[0, 0],
                                    &sums[0, 0], positive)


def assays(
    const float[:, ::1] rows not None,
    const int64_t[::1] chosen not None,
    const int64_t[::1] starts not None,
    const float[::1] factors not None,
    float[:, :, :] out not None,
    bint has_variance,
):
    """Write means of the chosen rows in each bin, these times a factor, and variances if they are wanted."""
    cdef predictd_means to
    to.first, to.has_variance = &out[0, 0, 0], has_variance
    to.between, to.stride = out.strides[0] // sizeof(float), out.strides[1] // sizeof(float)
    with nogil:
        predictd_assays(&rows[0, 0], rows.shape[1], rows.shape[1], &chosen[0], &starts[0], &factors[0],
                        factors.shape[0], to)


def bound(
    float[:, ::1] rows not None,
    const float[::1] added not None,
    const float[::1] low not None,
    const float[::1] high not None,
):
    """Add a number to each row, and bring it within bounds."""
    with nogil:
        predictd_bound(&rows[0, 0], rows.shape[0], rows.shape[1], &added[0], &low[0], &high[0])
