/* Sums over two tracks for one type of number: included once each with REAL float and REAL double. */

PREDICTD_MULTIVERSION
void SCORES_FUNCTION(joint)(const REAL *y, const REAL *x, size_t n, double *state)
{
    for (size_t first = 0; first < n; first += STEP) {
        const size_t size = n - first < STEP ? n - first : STEP;
        const REAL *own_y = y + first, *own_x = x + first;
        double sum_y[LANES] = {0}, sum_x[LANES] = {0};
        REAL low_y[LANES], low_x[LANES], high_y[LANES], high_x[LANES];
        FOR_LANES
        {
            low_y[j] = high_y[j] = own_y[0];
            low_x[j] = high_x[j] = own_x[0];
        }
        size_t i = 0;
        for (; i + LANES <= size; i += LANES)
            FOR_LANES
            {
                const REAL a = own_y[i + j], b = own_x[i + j];
                sum_y[j] += (double)a;
                sum_x[j] += (double)b;
                low_y[j] = a < low_y[j] ? a : low_y[j];
                high_y[j] = a > high_y[j] ? a : high_y[j];
                low_x[j] = b < low_x[j] ? b : low_x[j];
                high_x[j] = b > high_x[j] ? b : high_x[j];
            }
        for (; i < size; ++i) {
            const REAL a = own_y[i], b = own_x[i];
            sum_y[0] += (double)a;
            sum_x[0] += (double)b;
            low_y[0] = a < low_y[0] ? a : low_y[0];
            high_y[0] = a > high_y[0] ? a : high_y[0];
            low_x[0] = b < low_x[0] ? b : low_x[0];
            high_x[0] = b > high_x[0] ? b : high_x[0];
        }
        const double mean_y = total(sum_y) / (double)size, mean_x = total(sum_x) / (double)size;

        double yx[LANES] = {0}, yy[LANES] = {0}, xx[LANES] = {0}, errors[LANES] = {0};
        for (i = 0; i + LANES <= size; i += LANES)
            FOR_LANES
            {
                const double a = (double)own_y[i + j], b = (double)own_x[i + j];
                const double dy = a - mean_y, dx = b - mean_x, error = a - b;
                yx[j] += dy * dx;
                yy[j] += dy * dy;
                xx[j] += dx * dx;
                errors[j] += error * error;
            }
        for (; i < size; ++i) {
            const double a = (double)own_y[i], b = (double)own_x[i];
            const double dy = a - mean_y, dx = b - mean_x, error = a - b;
            yx[0] += dy * dx;
            yy[0] += dy * dy;
            xx[0] += dx * dx;
            errors[0] += error * error;
        }

        const double share = (double)size / (state[PREDICTD_N] + (double)size);
        const double gap_y = mean_y - state[PREDICTD_MEAN_Y], gap_x = mean_x - state[PREDICTD_MEAN_X];
        const double moved = state[PREDICTD_N] * share;
        state[PREDICTD_YX] += total(yx) + moved * gap_y * gap_x;
        state[PREDICTD_YY] += total(yy) + moved * gap_y * gap_y;
        state[PREDICTD_XX] += total(xx) + moved * gap_x * gap_x;
        state[PREDICTD_ERRORS] += total(errors);
        state[PREDICTD_MEAN_Y] += gap_y * share;
        state[PREDICTD_MEAN_X] += gap_x * share;
        state[PREDICTD_N] += (double)size;
        FOR_LANES
        {
            state[PREDICTD_LOWEST_Y] = smaller((double)low_y[j], state[PREDICTD_LOWEST_Y]);
            state[PREDICTD_LOWEST_X] = smaller((double)low_x[j], state[PREDICTD_LOWEST_X]);
            state[PREDICTD_HIGHEST_Y] = larger((double)high_y[j], state[PREDICTD_HIGHEST_Y]);
            state[PREDICTD_HIGHEST_X] = larger((double)high_x[j], state[PREDICTD_HIGHEST_X]);
        }
    }
}

PREDICTD_MULTIVERSION
void SCORES_FUNCTION(weighted)(const REAL *y, const REAL *x, const float *weights, size_t n, double *sums)
{
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
    sums[0] += total(all);
    sums[1] += total(errors);
}

PREDICTD_MULTIVERSION
void SCORES_FUNCTION(compare)(const REAL *y, const REAL *x, predictd_ranked of_y, predictd_ranked of_x, size_t n,
                              double *sums, int64_t *observed, int64_t *imputed, int64_t *peaks)
{
    add_ranks(of_y.ranks, of_x.ranks, n, sums);
    for (size_t first = 0; first < n; first += 8) {
        const size_t end = first + 8 < n ? first + 8 : n;
        if (end - first == 8) {
            uint64_t eight_y, eight_x;
            memcpy(&eight_y, of_y.classes + first, 8);
            memcpy(&eight_x, of_x.classes + first, 8);
            if (!((eight_y | eight_x) & UINT64_C(0x0505050505050505)))
                continue;
        }
        for (size_t i = first; i < end; ++i) {
            const uint8_t class_y = of_y.classes[i], class_x = of_x.classes[i];
            const double error = (double)y[i] - (double)x[i];
            if (class_y & TOP_1) {
                sums[PREDICTD_OBSERVED] += 1;
                sums[PREDICTD_OBSERVED_ERRORS] += error * error;
                sums[PREDICTD_OBSERVED_RANKS] += of_x.ranks[i];
                sums[PREDICTD_MATCH] += class_x & TOP_1 ? 1 : 0;
                sums[PREDICTD_CATCH_OBSERVED] += class_x & TOP_5 ? 1 : 0;
                ++observed[of_x.places[i]];
            }
            if (class_x & TOP_1) {
                sums[PREDICTD_IMPUTED] += 1;
                sums[PREDICTD_IMPUTED_ERRORS] += error * error;
                sums[PREDICTD_IMPUTED_RANKS] += of_y.ranks[i];
                sums[PREDICTD_CATCH_IMPUTED] += class_y & TOP_5 ? 1 : 0;
                ++imputed[of_y.places[i]];
            }
            if (class_y & PEAK) {
                sums[PREDICTD_PEAKS] += 1;
                sums[PREDICTD_PEAKS_RANKS] += of_x.ranks[i];
                ++peaks[of_x.places[i]];
            }
        }
    }
}
