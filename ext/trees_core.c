#include "trees_core.h"

#include "trees_best.h"
#include "trees_extra.h"

/* Fill the root with the samples of a tree: all that are drawn, or a bootstrap sample of these. */
PREDICTD_INLINE node draw_samples(const predictd_forest_problem *problem, workspace *w)
{
    const int64_t n = problem->n_samples;
    node root = {0, 0, 0, 0};
    int64_t heaviest = 0;
    for (int64_t row = 0; row < n; ++row)
        w->weights[row] = 0;
    for (int64_t draw = 0; draw < n; ++draw) {
        const int64_t place = problem->extra ? draw : below(next_random(w), n);
        ++w->weights[problem->drawn ? problem->drawn[place] : place];
    }
    for (int64_t row = 0; row < n; ++row) {
        const int64_t weight = w->weights[row];
        if (!weight)
            continue;
        heaviest = weight > heaviest ? weight : heaviest;
        w->rows[root.stop] = (int32_t)row;
        w->packed[root.stop] = weight * problem->y[row] * ((int64_t)1 << problem->weight_bits) + weight;
        root.total += w->packed[root.stop];
        ++root.stop;
    }
    if (problem->sparse && heaviest > MOST_WEIGHT) {
        w->unit = 0;
        w->others = all_entries(problem->sparse);
    }
    return root;
}

PREDICTD_INLINE void grow(const predictd_forest_problem *problem, workspace *w, double *importances)
{
    int64_t waiting = 1;
    w->stack[0] = draw_samples(problem, w);
    while (waiting) {
        node at = w->stack[--waiting], left, right;
        cut best = {-1.0, 0, -1, 0.0F};
        if (at.stop - at.start > 1 && !is_pure(problem, w, &at)) {
            take_up(problem, w, &at);
            best = !problem->extra                ? best_cut(problem, w, &at)
                   : at.stop - at.start == 2 ? random_cut_of_pair(problem, w, &at)
                                                  : best_random_cut(problem, w, &at);
        }
        if (best.feature < 0) {
            drop_samples(problem, w, &at);
            continue;
        }
        part(problem, w, &at, &best, &left, &right);
        importances[best.feature] += reduction_of(w, problem->weight_bits, best.left, at.total);
        w->stack[waiting++] = right;
        w->stack[waiting++] = left;
    }
}

PREDICTD_MULTIVERSION
static void grow_all(const predictd_forest_problem *problem, workspace *w, uint64_t seed, double *importances)
{
    for (int64_t tree = 0; tree < problem->n_trees; ++tree) {
        w->random = mixed(seed + (uint64_t)(tree + 1) * GOLDEN);
        grow(problem, w, importances);
    }
}

int predictd_forest(const predictd_forest_problem *problem, uint64_t seed, double *importances)
{
    workspace w;
    int status = open_workspace(problem, &w);
    status = status ? status : open_sparse(problem, &w);
    status = status ? status : open_others(problem, &w);
    if (!status)
        grow_all(problem, &w, seed, importances);
    close_sparse(&w);
    close_workspace(&w);
    return status;
}
