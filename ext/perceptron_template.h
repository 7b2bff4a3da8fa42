/* How networks learn, for one kind of processor: see networks_template.h, which comes before. */

enum {
    BLOCK = 24,                /* samples whose deviations are kept until they are multiplied with what was read */
    GROUP = 4,                 /* samples that are added to the gradient together */
    HALF = VECTORS > 2 ? 2 : 1 /* vectors of units that are held in registers meanwhile */
};
_Static_assert(BLOCK % TILE == 0 && BLOCK % GROUP == 0 && VECTORS % HALF == 0, "blocks are cut evenly");

/* Add the products of what a layer read at BLOCK samples with its units' deviations to the gradient of its weights. */
PREDICTD_INLINE void add_outer(const float *const *inputs, size_t k, const float *deviations, float *gradient)
{
    for (int v = 0; v < VECTORS; v += HALF)
        for (int first = 0; first < BLOCK; first += GROUP) {
            vector own[GROUP][HALF];
            for (int t = 0; t < GROUP; ++t)
                for (int h = 0; h < HALF; ++h)
                    own[t][h] = LOAD(deviations + (first + t) * PREDICTD_UNITS + (v + h) * LANES);
            for (size_t i = 0; i < k; ++i) {
                float *sums = gradient + i * PREDICTD_UNITS + v * LANES;
                vector sum[HALF];
                for (int h = 0; h < HALF; ++h)
                    sum[h] = LOAD(sums + h * LANES);
                for (int t = 0; t < GROUP; ++t)
                    for (int h = 0; h < HALF; ++h)
                        sum[h] += inputs[first + t][i] * own[t][h];
                for (int h = 0; h < HALF; ++h)
                    STORE(sums + h * LANES, sum[h]);
            }
        }
}

PREDICTD_INLINE void add_rows(const float *rows, float *sums)
{
    for (int t = 0; t < BLOCK; ++t)
        for (int j = 0; j < PREDICTD_UNITS; ++j)
            sums[j] += rows[t * PREDICTD_UNITS + j];
}

PREDICTD_INLINE void add_penalty(const float *weights, size_t n, float share, float *gradient)
{
    for (size_t i = 0; i < n; ++i)
        gradient[i] += share * weights[i];
}

NETWORKS_TARGET
void NETWORKS_FUNCTION(perceptron_gradient)(const float *parameters, size_t k, const float *inputs, const float *targets,
                                            const ptrdiff_t *rows, size_t n, float penalty, float *gradient)
{
    enum { U = PREDICTD_UNITS };
    const float *first = parameters, *first_bias = first + k * U, *second = first_bias + U;
    const float *second_bias = second + U * U, *last = second_bias + U, *last_bias = last + U;
    float *of_first = gradient, *of_first_bias = of_first + k * U, *of_second = of_first_bias + U;
    float *of_second_bias = of_second + U * U, *of_last = of_second_bias + U, *of_last_bias = of_last + U;
    const float share = penalty / (float)n;
    float turned[U * U], lower[BLOCK * U], upper[BLOCK * U], errors[BLOCK];
    const float *read[BLOCK], *within[BLOCK];

    memset(gradient, 0, ((k + 1) * U + (U + 1) * U + U + 1) * sizeof *gradient);
    for (int i = 0; i < U; ++i)
        for (int j = 0; j < U; ++j)
            turned[j * U + i] = second[i * U + j];
    for (int t = 0; t < BLOCK; ++t)
        within[t] = lower + t * U;
    for (size_t start = 0; start < n; start += BLOCK) {
        for (size_t t = 0; t < BLOCK; ++t)
            /* Beyond the last sample it is that one again, without an error. */
            read[t] = inputs + (size_t)rows[start + t < n ? start + t : n - 1] * k;
        /* Rows are drawn from far apart: those of the next block are on their way meanwhile. */
        for (size_t t = start + BLOCK; t < start + 2 * BLOCK && t < n; ++t)
            for (size_t i = 0; i < k; i += 64 / sizeof(float))
                PREDICTD_PREFETCH_READ(inputs + (size_t)rows[t] * k + i);
        for (int t = 0; t < BLOCK; t += TILE) {
            layer(read + t, k, first, first_bias, lower + t * U);
            layer(within + t, U, second, second_bias, upper + t * U);
        }
        for (size_t t = 0; t < BLOCK; ++t) {
            const float given = last_layer(upper + t * U, last, last_bias[0]);
            errors[t] = start + t < n ? (given - targets[rows[start + t]]) / (float)n : 0.0f;
            of_last_bias[0] += errors[t];
        }
        /* From the last layer to the first: what units say takes part in its gradient, then gives way to deviations. */
        for (int t = 0; t < BLOCK; ++t)
            for (int v = 0; v < VECTORS; ++v) {
                const vector unit = LOAD(upper + t * U + v * LANES), weight = LOAD(last + v * LANES);
                STORE(of_last + v * LANES, LOAD(of_last + v * LANES) + errors[t] * unit);
                STORE(upper + t * U + v * LANES, WHERE_POSITIVE(errors[t] * weight, unit));
            }
        add_outer(within, U, upper, of_second);
        add_rows(upper, of_second_bias);
        for (int t = 0; t < BLOCK; t += TILE) {
            const float *above[TILE];
            vector sums[TILE][VECTORS] = {{{0}}};
            for (int i = 0; i < TILE; ++i)
                above[i] = upper + (t + i) * U;
            add_products(above, U, turned, sums);
            for (int i = 0; i < TILE; ++i)
                for (int v = 0; v < VECTORS; ++v) {
                    float *unit = lower + (t + i) * U + v * LANES;
                    STORE(unit, WHERE_POSITIVE(sums[i][v], LOAD(unit)));
                }
        }
        add_outer(read, k, lower, of_first);
        add_rows(lower, of_first_bias);
    }
    add_penalty(first, k * U, share, of_first);
    add_penalty(second, U * U, share, of_second);
    add_penalty(last, U, share, of_last);
}
