# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The paper's stochastic gradient descent; predictd.kernels checks what comes in."""

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint64_t


cdef extern from "sgd_core.h" nogil:
    ctypedef struct predictd_sgd_problem:
        const float *y
        const int32_t *pair_cells
        const int32_t *pair_assays
        const double *pen_cells
        const double *pen_assays
        const double *decay_powers
        int64_t n_pairs
        int64_t n_bins
        int64_t rank
        double pen_bins
        double mu
        double learning_rate
        double beta1
        double beta2
        double epsilon
        double decay

    double predictd_sgd_float(const predictd_sgd_problem *problem, float *cells, double *cell_scalars,
                              float *assays, double *assay_scalars, float *bins, double *bin_scalars,
                              uint64_t stream, uint64_t first, uint64_t count)
    double predictd_sgd_double(const predictd_sgd_problem *problem, double *cells, double *cell_scalars,
                               double *assays, double *assay_scalars, double *bins, double *bin_scalars,
                               uint64_t stream, uint64_t first, uint64_t count)


def sgd_updates(
    floating[:, :, ::1] cells not None,
    double[:, ::1] cell_scalars not None,
    floating[:, :, ::1] assays not None,
    double[:, ::1] assay_scalars not None,
    floating[:, :, ::1] bins not None,
    double[:, ::1] bin_scalars not None,
    const float[:, ::1] y not None,
    const int32_t[::1] pair_cells not None,
    const int32_t[::1] pair_assays not None,
    const double[::1] pen_cells not None,
    const double[::1] pen_assays not None,
    const double[:, ::1] decay_powers not None,
    int64_t rank,
    double pen_bins,
    double mu,
    double learning_rate,
    double beta1,
    double beta2,
    double epsilon,
    double decay,
    uint64_t stream,
    uint64_t first,
    uint64_t count,
):
    """Make the updates of draws first … first + count − 1 in place; return their summed squared error."""
    cdef predictd_sgd_problem problem
    cdef double total
    problem.y = &y[0, 0]
    problem.pair_cells = &pair_cells[0]
    problem.pair_assays = &pair_assays[0]
    problem.pen_cells = &pen_cells[0]
    problem.pen_assays = &pen_assays[0]
    problem.decay_powers = &decay_powers[0, 0]
    problem.n_pairs = y.shape[1]
    problem.n_bins = y.shape[0]
    problem.rank = rank
    problem.pen_bins = pen_bins
    problem.mu = mu
    problem.learning_rate = learning_rate
    problem.beta1 = beta1
    problem.beta2 = beta2
    problem.epsilon = epsilon
    problem.decay = decay
    with nogil:
        if floating is float:
            total = predictd_sgd_float(&problem, &cells[0, 0, 0], &cell_scalars[0, 0], &assays[0, 0, 0],
                                       &assay_scalars[0, 0], &bins[0, 0, 0], &bin_scalars[0, 0],
                                       stream, first, count)
        else:
            total = predictd_sgd_double(&problem, &cells[0, 0, 0], &cell_scalars[0, 0], &assays[0, 0, 0],
                                        &assay_scalars[0, 0], &bins[0, 0, 0], &bin_scalars[0, 0],
                                        stream, first, count)
    return total
