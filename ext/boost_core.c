#include "boost_core.h"

#include <math.h>

#include "trees_best.h"

/* A node of a grown tree: samples whose code of the feature is at most `last` go to child `left`, others to the next. */
typedef struct {
    int64_t step; /* of a leaf, feature < 0: what residuals become less by */
    int32_t feature;
    int16_t left;
    uint8_t last;
} grown;

typedef struct {
    node samples;
    int64_t depth;
    int16_t place;
} open_node;

/* What boosting holds beside the workspace: residuals, recent improvements, and the tree that is grown. */
typedef struct {
    int64_t *residuals;
    double *improvements;
    open_node open[MOST_DEPTH + 1];
    grown tree[2 << MOST_DEPTH];
} boosting;

/* Choose the samples of a tree, each set of them as likely as any (Knuth, TAOCP 2, algorithm 3.4.2S). */
PREDICTD_INLINE node draw_part(const predictd_boost_problem *problem, workspace *w, const int64_t *residuals)
{
    const int64_t n = problem->forest.n_samples;
    int64_t wanted = problem->n_drawn;
    node root = {0, 0, 0, 0};
    for (int64_t row = 0; row < n; ++row) {
        w->weights[row] = below(next_random(w), n - row) < wanted;
        if (!w->weights[row])
            continue;
        --wanted;
        w->rows[root.stop] = (int32_t)row;
        w->packed[root.stop] = residuals[row] * ((int64_t)1 << problem->forest.weight_bits) + 1;
        root.total += w->packed[root.stop];
        ++root.stop;
    }
    return root;
}

PREDICTD_INLINE void grow_one(const predictd_boost_problem *problem, const predictd_forest_problem *forest,
                              workspace *w, boosting *b, double *importances)
{
    const int64_t mask = ((int64_t)1 << forest->weight_bits) - 1;
    int64_t waiting = 1;
    int16_t places = 1;
    b->open[0] = (open_node){draw_part(problem, w, b->residuals), 0, 0};
    while (waiting) {
        open_node at = b->open[--waiting];
        node *samples = &at.samples, left, right;
        cut best = {-1.0, 0, -1, 0.0F};
        if (at.depth < problem->depth && samples->stop - samples->start > 1 && !is_pure(forest, w, samples)) {
            take_up(forest, w, samples);
            best = best_cut(forest, w, samples);
        }
        if (best.feature < 0) {
            const double sum = (double)(samples->total >> forest->weight_bits);
            const double mean = sum / (double)(samples->total & mask);
            b->tree[at.place] = (grown){(int64_t)rint(problem->rate * mean), -1, 0, 0};
            drop_samples(forest, w, samples);
            continue;
        }
        b->tree[at.place] = (grown){0, best.feature, places, (uint8_t)best.last};
        importances[best.feature] += reduction_of(w, forest->weight_bits, best.left, samples->total);
        part(forest, w, samples, &best, &left, &right);
        b->open[waiting++] = (open_node){right, at.depth + 1, (int16_t)(places + 1)};
        b->open[waiting++] = (open_node){left, at.depth + 1, places};
        places = (int16_t)(places + 2);
    }
}

/* Take the tree's predictions from all residuals; returns by how much those left out come nearer to 0, in squares. */
PREDICTD_INLINE double take_step(const predictd_boost_problem *problem, const workspace *w, boosting *b)
{
    const int64_t n = problem->forest.n_samples, limit = problem->limit;
    double before = 0.0, after = 0.0;
    for (int64_t row = 0; row < n; ++row) {
        const grown *at = b->tree;
        while (at->feature >= 0)
            at = b->tree + at->left + (problem->forest.codes[at->feature * n + row] > at->last);
        const int64_t was = b->residuals[row];
        int64_t is = was - at->step;
        is = is > limit ? limit : is < -limit ? -limit : is;
        b->residuals[row] = is;
        if (!w->weights[row]) {
            before += (double)was * (double)was;
            after += (double)is * (double)is;
        }
    }
    return before - after;
}

PREDICTD_MULTIVERSION
static int64_t grow_boosted(const predictd_boost_problem *problem, workspace *w, boosting *b, uint64_t seed,
                            double *importances)
{
    predictd_forest_problem forest = problem->forest;
    forest.y = b->residuals;
    for (int64_t tree = 0; tree < forest.n_trees; ++tree) {
        double recent = 0.0;
        w->random = mixed(seed + (uint64_t)(tree + 1) * GOLDEN);
        grow_one(problem, &forest, w, b, importances);
        b->improvements[tree % problem->window] = take_step(problem, w, b);
        if (tree + 1 < problem->window)
            continue;
        for (int64_t k = 0; k < problem->window; ++k)
            recent += b->improvements[k];
        if (recent < 0.0)
            return tree + 1;
    }
    return forest.n_trees;
}

int64_t predictd_boost(const predictd_boost_problem *problem, uint64_t seed, double *importances)
{
    const size_t n = (size_t)problem->forest.n_samples;
    workspace w;
    boosting b = {0};
    int64_t n_trees = open_workspace(&problem->forest, &w) || open_sparse(&problem->forest, &w);
    b.residuals = malloc(n * sizeof *b.residuals);
    b.improvements = malloc((size_t)problem->window * sizeof *b.improvements);
    if (!n_trees && b.residuals && b.improvements) {
        memcpy(b.residuals, problem->forest.y, n * sizeof *b.residuals);
        n_trees = grow_boosted(problem, &w, &b, seed, importances);
    } else {
        n_trees = -1;
    }
    free(b.residuals);
    free(b.improvements);
    close_sparse(&w);
    close_workspace(&w);
    return n_trees;
}
