# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Forests of regression trees for one target; predictd.kernels checks what comes in."""

from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef extern from "trees_core.h" nogil:
    ctypedef struct predictd_forest_problem:
        const uint8_t *codes
        const float *values
        const int64_t *y
        int64_t n_samples
        int64_t n_features
        int64_t excluded
        int64_t n_candidates
        int64_t n_trees
        int weight_bits
        int extra

    int predictd_forest(const predictd_forest_problem *problem, uint64_t seed, double *importances)

cdef extern from "boost_core.h" nogil:
    enum:
        MOST_DEPTH
    ctypedef struct predictd_boost_problem:
        predictd_forest_problem forest
        double rate
        int64_t n_drawn
        int64_t depth
        int64_t window
        int64_t limit

    int64_t predictd_boost(const predictd_boost_problem *problem, uint64_t seed, double *importances)

DEEPEST = MOST_DEPTH


def forest_importances(
    const uint8_t[:, ::1] codes,
    const float[:, ::1] values,
    const int64_t[::1] y not None,
    double[::1] importances not None,
    int64_t excluded,
    int64_t n_candidates,
    int64_t n_trees,
    int weight_bits,
    uint64_t seed,
):
    """Add each feature's reductions of the sum of squares to `importances`; codes for random forests, else values."""
    cdef predictd_forest_problem problem
    cdef int status
    problem.extra = codes is None
    if problem.extra:
        problem.codes = NULL
        problem.values = &values[0, 0]
    else:
        problem.codes = &codes[0, 0]
        problem.values = NULL
    problem.y = &y[0]
    problem.n_samples = y.shape[0]
    problem.n_features = importances.shape[0]
    problem.excluded = excluded
    problem.n_candidates = n_candidates
    problem.n_trees = n_trees
    problem.weight_bits = weight_bits
    with nogil:
        status = predictd_forest(&problem, seed, &importances[0])
    if status:
        raise MemoryError("no memory for a forest's workspace")


def boosting_importances(
    const uint8_t[:, ::1] codes not None,
    const int64_t[::1] y not None,
    double[::1] importances not None,
    int64_t excluded,
    int64_t n_candidates,
    int64_t n_trees,
    int weight_bits,
    double rate,
    int64_t n_drawn,
    int64_t depth,
    int64_t window,
    int64_t limit,
    uint64_t seed,
):
    """Add each feature's reductions of the sum of squares to `importances`; returns how many trees have grown."""
    cdef predictd_boost_problem problem
    cdef int64_t grown
    problem.forest = predictd_forest_problem(
        &codes[0, 0],
        NULL,
        &y[0],
        y.shape[0],
        importances.shape[0],
        excluded,
        n_candidates,
        n_trees,
        weight_bits,
        0,
    )
    problem.rate = rate
    problem.n_drawn = n_drawn
    problem.depth = depth
    problem.window = window
    problem.limit = limit
    with nogil:
        grown = predictd_boost(&problem, seed, &importances[0])
    if grown < 0:
        raise MemoryError("no memory for the workspace of boosting")
    return grown
