/* The kernel for one type of number: included once each with REAL float and REAL double. */

/*
 * One value of one row: gradient g, then Nadam. `row` names the row's arrays and coefficients.
 * All three gradients of a block are taken before any of its values changes.
 */
#define NADAM_STEP(row, g)                                                                      \
    do {                                                                                        \
        const REAL m_new = row##_b1 * row##_m[k] + row##_c1 * (g);                              \
        const REAL v_new = beta2 * row##_v[k] + one_less_beta2 * ((g) * (g));                   \
        row##_m[k] = m_new;                                                                     \
        row##_v[k] = v_new;                                                                     \
        row##_x[k] -= (row##_from_g * (g) + row##_from_m * m_new) / (SQRT(v_new) + row##_floor); \
    } while (0)

#define ROW_COEFFICIENTS(row, scalars)                         \
    const nadam row##_nadam = touch(problem, (scalars));       \
    const REAL row##_b1 = (REAL)row##_nadam.beta1;             \
    const REAL row##_c1 = (REAL)(1.0 - row##_nadam.beta1);     \
    const REAL row##_from_g = (REAL)row##_nadam.from_g;        \
    const REAL row##_from_m = (REAL)row##_nadam.from_m;        \
    const REAL row##_floor = (REAL)row##_nadam.floor

PREDICTD_MULTIVERSION
double SGD_FUNCTION(const predictd_sgd_problem *problem, REAL *cells, double *cell_scalars, REAL *assays,
                    double *assay_scalars, REAL *bins, double *bin_scalars, uint64_t stream, uint64_t first,
                    uint64_t count)
{
    const uint64_t n_pairs = (uint64_t)problem->n_pairs;
    const uint64_t n_bins = (uint64_t)problem->n_bins;
    const ptrdiff_t rank = (ptrdiff_t)problem->rank;
    const ptrdiff_t width = (rank / PREDICTD_BLOCK + 1) * PREDICTD_BLOCK;
    const ptrdiff_t last = width - PREDICTD_BLOCK;
    const ptrdiff_t row_size = 3 * width;
    const size_t row_bytes = (size_t)row_size * sizeof(REAL);
    const REAL beta2 = (REAL)problem->beta2;
    const REAL one_less_beta2 = (REAL)(1.0 - problem->beta2);
    double total = 0.0;

    /* The last block holds the last factors, the bias and the padding; the others hold factors only. */
    REAL factor_all[PREDICTD_BLOCK], factor_last[PREDICTD_BLOCK];
    REAL bias_none[PREDICTD_BLOCK], bias_last[PREDICTD_BLOCK];
    for (ptrdiff_t k = 0; k < PREDICTD_BLOCK; ++k) {
        factor_all[k] = 1;
        factor_last[k] = (REAL)(last + k < rank);
        bias_none[k] = 0;
        bias_last[k] = (REAL)(last + k == rank);
    }

    for (uint64_t i = 0; i < count; ++i) {
        const draw now = draw_at(stream, first + i, n_pairs, n_bins);
        const draw soon = draw_at(stream, first + i + AHEAD_ROW, n_pairs, n_bins);
        const draw later = draw_at(stream, first + i + AHEAD_Y, n_pairs, n_bins);
        const int64_t cell = problem->pair_cells[now.pair];
        const int64_t assay = problem->pair_assays[now.pair];
        const char *soon_row = (const char *)(bins + (ptrdiff_t)soon.bin * row_size);
        const double y = (double)problem->y[now.bin * n_pairs + now.pair];

        PREDICTD_PREFETCH_READ(problem->y + later.bin * n_pairs + later.pair);
        PREDICTD_PREFETCH_WRITE(bin_scalars + 3 * soon.bin);
        for (size_t byte = 0; byte < row_bytes; byte += CACHE_LINE) PREDICTD_PREFETCH_WRITE(soon_row + byte);

        ROW_COEFFICIENTS(c, cell_scalars + 3 * cell);
        ROW_COEFFICIENTS(a, assay_scalars + 3 * assay);
        ROW_COEFFICIENTS(g, bin_scalars + 3 * now.bin);
        const REAL c_pen = (REAL)problem->pen_cells[cell];
        const REAL a_pen = (REAL)problem->pen_assays[assay];
        const REAL g_pen = (REAL)problem->pen_bins;
        REAL *c_row = cells + (ptrdiff_t)cell * row_size;
        REAL *a_row = assays + (ptrdiff_t)assay * row_size;
        REAL *g_row = bins + (ptrdiff_t)now.bin * row_size;

        /* Sixteen running sums, so that the order of summation is the same whatever the vectors' length. */
        REAL sums[PREDICTD_BLOCK] = {0};
        for (ptrdiff_t j = 0; j < last; j += PREDICTD_BLOCK)
            for (ptrdiff_t k = 0; k < PREDICTD_BLOCK; ++k)
                sums[k] += c_row[j + k] * a_row[j + k] * g_row[j + k];
        for (ptrdiff_t k = 0; k < PREDICTD_BLOCK; ++k)
            sums[k] += factor_last[k] * (c_row[last + k] * a_row[last + k] * g_row[last + k]);
        for (ptrdiff_t half = PREDICTD_BLOCK / 2; half > 0; half /= 2)
            for (ptrdiff_t k = 0; k < half; ++k) sums[k] += sums[k + half];
        const double bias = problem->mu + (double)c_row[rank] + (double)a_row[rank] + (double)g_row[rank];
        const double error = bias + (double)sums[0] - y;
        const REAL e = (REAL)error;
        total += error * error;

        for (ptrdiff_t j = 0; j < width; j += PREDICTD_BLOCK) {
            const REAL * factor = j == last ? factor_last : factor_all;
            const REAL * is_bias = j == last ? bias_last : bias_none;
            REAL * c_x = c_row + j, * c_m = c_x + width, * c_v = c_m + width;
            REAL * a_x = a_row + j, * a_m = a_x + width, * a_v = a_m + width;
            REAL * g_x = g_row + j, * g_m = g_x + width, * g_v = g_m + width;
            PREDICTD_INDEPENDENT
            for (ptrdiff_t k = 0; k < PREDICTD_BLOCK; ++k) {
                const REAL f = factor[k], b = is_bias[k];
                const REAL c = c_x[k], a = a_x[k], g = g_x[k];
                const REAL c_grad = e * (f * (a * g) + b) + (f * c_pen) * c;
                const REAL a_grad = e * (f * (c * g) + b) + (f * a_pen) * a;
                const REAL g_grad = e * (f * (c * a) + b) + (f * g_pen) * g;
                NADAM_STEP(c, c_grad);
                NADAM_STEP(a, a_grad);
                NADAM_STEP(g, g_grad);
            }
        }
    }
    return total;
}

#undef NADAM_STEP
#undef ROW_COEFFICIENTS
