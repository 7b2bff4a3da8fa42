/* Gradient boosting for one target: see predictd/grn/reference.py, which is its specification. */

#ifndef PREDICTD_BOOST_CORE_H
#define PREDICTD_BOOST_CORE_H

#include "trees_core.h"

/* So deep trees grow at most. */
enum { MOST_DEPTH = 8 };

typedef struct {
    predictd_forest_problem forest; /* of codes; n_trees: at most */
    double rate;                    /* what a tree's prediction counts */
    int64_t n_drawn;                /* samples that each tree is grown on, fewer than there are */
    int64_t depth;
    int64_t window;                 /* so many trees on end that improve nothing are the last ones */
    int64_t limit;                  /* residuals stay within; as y of the forest */
} predictd_boost_problem;

/*
 * Add the reductions of the sum of squares, by feature, over all nodes of all trees; in squared units of y.
 * Returns the number of trees, or -1 where memory is short. Nothing is checked here.
 */
int64_t predictd_boost(const predictd_boost_problem *problem, uint64_t seed, double *importances);

#endif
