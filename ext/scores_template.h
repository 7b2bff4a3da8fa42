/* Sums over tracks for one type of number: included once each with REAL float and REAL double. */

PREDICTD_INLINE void SCORES_FUNCTION(keys_of)(const REAL *values, size_t n, predictd_key_rule rule, int32_t *keys)
{
    const uint32_t half = UINT32_C(1) << (rule.dropped - 1);
    const uint32_t largest = (UINT32_C(0x7FFFFFFF) >> rule.dropped);
    const int32_t middle = rule.is_signed ? rule.middle : 0;
    for (size_t i = 0; i < n; ++i) {
        const float value = (float)values[i];
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        const uint32_t rounded = ((bits & UINT32_C(0x7FFFFFFF)) + half) >> rule.dropped;
        const int32_t size = (int32_t)(rounded < largest ? rounded : largest);
        keys[i] = middle + (rule.is_signed && bits >> 31 ? -size : size);
    }
}

PREDICTD_MULTIVERSION
void SCORES_FUNCTION(tally)(const REAL *tracks, size_t t, size_t n, predictd_key_rule rule, uint32_t *counts,
                            size_t n_keys)
{
    int32_t keys[TOGETHER][STEP];
    for (size_t track = 0; track < t; track += TOGETHER) {
        const size_t some = t - track < TOGETHER ? t - track : TOGETHER;
        uint32_t *own = counts + track * n_keys;
        for (size_t first = 0; first < n; first += STEP) {
            const size_t size = n - first < STEP ? n - first : STEP;
            for (size_t j = 0; j < some; ++j)
                SCORES_FUNCTION(keys_of)(tracks + (track + j) * n + first, size, rule, keys[j]);
            /* In turns: neighbours of a track often have one key, whose count has to be there before the next. */
            if (some == TOGETHER)
                for (size_t i = 0; i < size; ++i)
                    for (size_t j = 0; j < TOGETHER; ++j)
                        ++own[j * n_keys + (size_t)keys[j][i]];
            else
                for (size_t j = 0; j < some; ++j)
                    for (size_t i = 0; i < size; ++i)
                        ++own[j * n_keys + (size_t)keys[j][i]];
        }
    }
}

/* Sum, lowest and highest value. */
PREDICTD_INLINE void SCORES_FUNCTION(describe)(const REAL *values, size_t n, double *found)
{
    double sum[LANES] = {0};
    REAL low[LANES], high[LANES];
    FOR_LANES
        low[j] = high[j] = values[0];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        FOR_LANES
        {
            const REAL value = values[i + j];
            sum[j] += (double)value;
            low[j] = value < low[j] ? value : low[j];
            high[j] = value > high[j] ? value : high[j];
        }
    for (; i < n; ++i) {
        const REAL value = values[i];
        sum[0] += (double)value;
        low[0] = value < low[0] ? value : low[0];
        high[0] = value > high[0] ? value : high[0];
    }
    found[0] = total(sum);
    found[1] = found[2] = (double)low[0];
    FOR_LANES
    {
        found[1] = smaller((double)low[j], found[1]);
        found[2] = larger((double)high[j], found[2]);
    }
}

/* Squares of values about their mean. */
PREDICTD_INLINE double SCORES_FUNCTION(squares)(const REAL *values, size_t n, double mean)
{
    double sum[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        FOR_LANES
        {
            const double gap = (double)values[i + j] - mean;
            sum[j] += gap * gap;
        }
    for (; i < n; ++i) {
        const double gap = (double)values[i] - mean;
        sum[0] += gap * gap;
    }
    return total(sum);
}

/* Products and squares about the means, and squared differences. */
PREDICTD_INLINE void SCORES_FUNCTION(products)(const REAL *y, const REAL *x, size_t n, double mean_y, double mean_x,
                                               double *found)
{
    double yx[LANES] = {0}, xx[LANES] = {0}, errors[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        FOR_LANES
        {
            const double a = (double)y[i + j], b = (double)x[i + j];
            const double dy = a - mean_y, dx = b - mean_x, error = a - b;
            yx[j] += dy * dx;
            xx[j] += dx * dx;
            errors[j] += error * error;
        }
    for (; i < n; ++i) {
        const double a = (double)y[i], b = (double)x[i];
        const double dy = a - mean_y, dx = b - mean_x, error = a - b;
        yx[0] += dy * dx;
        xx[0] += dx * dx;
        errors[0] += error * error;
    }
    found[0] = total(yx);
    found[1] = total(xx);
    found[2] = total(errors);
}

PREDICTD_MULTIVERSION
void SCORES_FUNCTION(joint)(const REAL *tracks, size_t t, size_t n, double *states)
{
    for (size_t first = 0; first < n; first += STEP) {
        const size_t size = n - first < STEP ? n - first : STEP;
        const REAL *y = tracks + first;
        double of_y[3], of_x[3], found[3];
        SCORES_FUNCTION(describe)(y, size, of_y);
        const double mean_y = of_y[0] / (double)size;
        const double yy = SCORES_FUNCTION(squares)(y, size, mean_y);
        for (size_t track = 1; track < t; ++track) {
            const REAL *x = y + track * n;
            double *state = states + (track - 1) * PREDICTD_JOINT;
            SCORES_FUNCTION(describe)(x, size, of_x);
            const double mean_x = of_x[0] / (double)size;
            SCORES_FUNCTION(products)(y, x, size, mean_y, mean_x, found);
            const double share = (double)size / (state[PREDICTD_N] + (double)size);
            const double gap_y = mean_y - state[PREDICTD_MEAN_Y], gap_x = mean_x - state[PREDICTD_MEAN_X];
            const double moved = state[PREDICTD_N] * share;
            state[PREDICTD_YX] += found[0] + moved * gap_y * gap_x;
            state[PREDICTD_YY] += yy + moved * gap_y * gap_y;
            state[PREDICTD_XX] += found[1] + moved * gap_x * gap_x;
            state[PREDICTD_ERRORS] += found[2];
            state[PREDICTD_MEAN_Y] += gap_y * share;
            state[PREDICTD_MEAN_X] += gap_x * share;
            state[PREDICTD_N] += (double)size;
            state[PREDICTD_LOWEST_Y] = smaller(of_y[1], state[PREDICTD_LOWEST_Y]);
            state[PREDICTD_LOWEST_X] = smaller(of_x[1], state[PREDICTD_LOWEST_X]);
            state[PREDICTD_HIGHEST_Y] = larger(of_y[2], state[PREDICTD_HIGHEST_Y]);
            state[PREDICTD_HIGHEST_X] = larger(of_x[2], state[PREDICTD_HIGHEST_X]);
        }
    }
}

PREDICTD_MULTIVERSION
void SCORES_FUNCTION(weighted)(const REAL *tracks, size_t t, size_t n, const float *weights, double *sums)
{
    for (size_t track = 1; track < t; ++track) {
        const REAL *y = tracks, *x = tracks + track * n;
        double all[LANES] = {0}, errors[LANES] = {0};
        size_t i = 0;
        for (; i + LANES <= n; i += LANES)
            FOR_LANES
            {
                const double error = (double)y[i + j] - (double)x[i + j], weight = (double)weights[i + j];
                all[j] += weight;
                errors[j] += weight * (error * error);
            }
        for (; i < n; ++i) {
            const double error = (double)y[i] - (double)x[i], weight = (double)weights[i];
            all[0] += weight;
            errors[0] += weight * (error * error);
        }
        sums[2 * (track - 1)] += total(all);
        sums[2 * (track - 1) + 1] += total(errors);
    }
}

/* What needs the top sets, of up to 8 bins at a time: most have none in them. */
PREDICTD_INLINE void SCORES_FUNCTION(add_tops)(const REAL *y, const REAL *x, size_t n, const ranked *of_y,
                                               const ranked *of_x, const int32_t *places_y, const int32_t *places_x,
                                               double *sums, predictd_positive positive)
{
    for (size_t first = 0; first < n; first += 8) {
        const size_t end = first + 8 < n ? first + 8 : n;
        if (end - first == 8) {
            uint64_t eight_y, eight_x;
            memcpy(&eight_y, of_y->classes + first, 8);
            memcpy(&eight_x, of_x->classes + first, 8);
            if (!((eight_y | eight_x) & UINT64_C(0x0505050505050505)))
                continue;
        }
        for (size_t i = first; i < end; ++i) {
            const uint8_t class_y = of_y->classes[i], class_x = of_x->classes[i];
            const double error = (double)y[i] - (double)x[i];
            if (class_y & TOP_1) {
                sums[PREDICTD_OBSERVED] += 1;
                sums[PREDICTD_OBSERVED_ERRORS] += error * error;
                sums[PREDICTD_OBSERVED_RANKS] += of_x->ranks[i];
                sums[PREDICTD_MATCH] += class_x & TOP_1 ? 1 : 0;
                sums[PREDICTD_CATCH_OBSERVED] += class_x & TOP_5 ? 1 : 0;
                ++positive.observed[places_x[of_x->keys[i]]];
            }
            if (class_x & TOP_1) {
                sums[PREDICTD_IMPUTED] += 1;
                sums[PREDICTD_IMPUTED_ERRORS] += error * error;
                sums[PREDICTD_IMPUTED_RANKS] += of_y->ranks[i];
                sums[PREDICTD_CATCH_IMPUTED] += class_y & TOP_5 ? 1 : 0;
                ++positive.imputed[places_y[of_y->keys[i]]];
            }
            if (class_y & PEAK) {
                sums[PREDICTD_PEAKS] += 1;
                sums[PREDICTD_PEAKS_RANKS] += of_x->ranks[i];
                ++positive.peaks[places_x[of_x->keys[i]]];
            }
        }
    }
}

PREDICTD_MULTIVERSION
void SCORES_FUNCTION(compare)(const REAL *tracks, size_t t, size_t n, const uint8_t *in_peaks,
                              predictd_rank_tables tables, int64_t *tops, double *sums, predictd_positive positive)
{
    ranked of_y, of_x;
    for (size_t first = 0; first < n; first += STEP) {
        const size_t size = n - first < STEP ? n - first : STEP;
        const REAL *y = tracks + first;
        for (size_t track = 0; track < t; ++track) {
            const REAL *own = y + track * n;
            ranked *found = track ? &of_x : &of_y;
            SCORES_FUNCTION(keys_of)(own, size, tables.rule, found->keys);
            classify(size, tops + 4 * track, found);
            rank(size, tables, track, found);
            if (!track) {
                for (size_t i = 0; in_peaks && i < size; ++i)
                    of_y.classes[i] |= in_peaks[first + i] ? PEAK : 0;
                continue;
            }
            double *of_track = sums + (track - 1) * PREDICTD_COMPARED;
            predictd_positive counts = positive;
            counts.imputed += (track - 1) * tables.n_observed;
            add_ranks(of_y.ranks, of_x.ranks, size, of_track);
            SCORES_FUNCTION(add_tops)(y, own, size, &of_y, &of_x, tables.places,
                                      tables.places + track * tables.n_keys, of_track, counts);
        }
    }
}
