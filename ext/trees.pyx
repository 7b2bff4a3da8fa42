# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Forests of regression trees for one target; predictd.kernels checks what comes in."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t


cdef extern from "trees_core.h" nogil:
    enum:
        PREDICTD_LINE
    ctypedef struct predictd_sparse:
        const float *common
        const int64_t *by_feature
        const void *samples
        const int64_t *by_value
        const float *distinct
        const int32_t *ends
        const int32_t *n_below
        const uint64_t *bits
        const uint8_t *codes
        const float *values
        int64_t n_words
        int narrow

    ctypedef struct predictd_forest_problem:
        const predictd_sparse *sparse
        const uint8_t *codes
        const float *values
        const int64_t *y
        const int64_t *drawn
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
LINE = PREDICTD_LINE


cdef class Features:
    """Codes for random forests and boosting, else values, and where `sparse` is not None what differs; see trees_core.h."""

    cdef predictd_forest_problem problem
    cdef predictd_sparse form
    cdef object _arrays

    def __cinit__(self, const uint8_t[:, ::1] codes, const float[:, ::1] values, sparse):
        self._arrays = (codes, values)
        self.problem.extra = codes is None
        self.problem.drawn = NULL
        self.problem.codes = NULL
        self.problem.values = NULL
        if codes is None:
            self.problem.values = &values[0, 0]
            self.problem.n_features, self.problem.n_samples = values.shape[0], values.shape[1]
        else:
            self.problem.codes = &codes[0, 0]
            self.problem.n_features, self.problem.n_samples = codes.shape[0], codes.shape[1]
        self.problem.sparse = NULL
        if sparse is not None:
            self._hold(**sparse)

    cdef void _fill(
        self, const int64_t[::1] y, int64_t excluded, int64_t n_candidates, int64_t n_trees, int weight_bits,
        predictd_forest_problem *problem,
    ):
        """A problem of these features."""
        problem[0] = self.problem
        problem.y = &y[0]
        problem.excluded = excluded
        problem.n_candidates = n_candidates
        problem.n_trees = n_trees
        problem.weight_bits = weight_bits

    def _hold(
        self,
        const float[::1] common not None,
        const int64_t[::1] by_feature not None,
        samples not None,
        const int64_t[::1] by_value not None,
        const float[::1] distinct not None,
        const int32_t[::1] ends not None,
        const int32_t[::1] n_below not None,
        const uint64_t[:, ::1] bits not None,
        by_sample not None,
    ):
        """Take the sparse form; there is at least one entry."""
        cdef const uint8_t[::1] codes
        cdef const float[::1] values
        cdef const uint16_t[::1] narrow
        cdef const int32_t[::1] wide
        self._arrays += (common, by_feature, samples, by_value, distinct, ends, n_below, bits, by_sample)
        self.form.common = &common[0]
        self.form.by_feature = &by_feature[0]
        self.form.narrow = samples.itemsize == 2
        if self.form.narrow:
            narrow = samples
            self.form.samples = &narrow[0]
        else:
            wide = samples
            self.form.samples = &wide[0]
        self.form.by_value = &by_value[0]
        self.form.distinct = &distinct[0]
        self.form.ends = &ends[0]
        self.form.n_below = &n_below[0]
        self.form.bits = &bits[0, 0]
        self.form.n_words = bits.shape[1]
        self.form.codes = NULL
        self.form.values = NULL
        if self.problem.extra:
            values = by_sample
            self.form.values = &values[0]
        else:
            codes = by_sample
            self.form.codes = &codes[0]
        self.problem.sparse = &self.form


def forest_importances(
    Features features not None,
    const int64_t[::1] y not None,
    double[::1] importances not None,
    int64_t excluded,
    int64_t n_candidates,
    int64_t n_trees,
    int weight_bits,
    uint64_t seed,
    const int64_t[::1] drawn,
):
    """Add each feature's reductions of the sum of squares to `importances`; `drawn`: None, or see trees_core.h."""
    cdef predictd_forest_problem problem
    cdef int status
    features._fill(y, excluded, n_candidates, n_trees, weight_bits, &problem)
    if drawn is not None:
        problem.drawn = &drawn[0]
    with nogil:
        status = predictd_forest(&problem, seed, &importances[0])
    if status:
        raise MemoryError("no memory for a forest's workspace")


def boosting_importances(
    Features features not None,
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
    features._fill(y, excluded, n_candidates, n_trees, weight_bits, &problem.forest)
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
