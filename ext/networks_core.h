/* What small neural networks read, and what they add to predictions. */

#ifndef PREDICTD_NETWORKS_CORE_H
#define PREDICTD_NETWORKS_CORE_H

#include <stddef.h>

#include "multiversion.h"

/* Units of each hidden layer. */
enum { PREDICTD_UNITS = 32 };

/* Perceptrons of two hidden layers, as arrays in C order; `first` has n_rows of inputs a network. */
typedef struct {
    size_t n_networks, n_rows;
    const float *first, *first_bias;   /* (networks × rows × units), (networks × units) */
    const float *second, *second_bias; /* (networks × units × units), (networks × units) */
    const float *last, *last_bias;     /* (networks × units), (networks) */
} predictd_networks;

/*
 * The weighted sum of what networks give at n bins, which read k ≤ n_rows inputs each: out[i] = Σ_r weights[r] ·
 * network_r(inputs[i]). What a bin gets does not depend on the bins around it.
 */
void predictd_apply_networks(predictd_networks networks, const float *weights, const float *inputs, size_t n, size_t k,
                             float *out);

/*
 * How half the mean squared error of a perceptron, with its penalty, changes along its parameters.
 *
 * Parameters and gradient: (k × units), (units), (units × units), (units), (units), (1) one after the other, as in
 * `predictd_networks`. The error is over n rows of inputs (rows × k) and targets (rows,); `penalty` / n times a weight,
 * but not a bias, is added. Sums have a fixed order.
 */
void predictd_perceptron_gradient(const float *parameters, size_t k, const float *inputs, const float *targets,
                                  const ptrdiff_t *rows, size_t n, float penalty, float *gradient);

/* Replace each value by sign(value) · log(1 + |value|); what is not finite stays. */
void predictd_compress(float *values, size_t n);

/* The same functions for one kind of processor each; networks_core.c chooses. */
#define PREDICTD_NETWORKS_PLAIN(name) predictd_##name##_plain
#define PREDICTD_NETWORKS_WIDE(name) predictd_##name##_wide
#define PREDICTD_NETWORKS(function)                                                                                    \
    void function(apply_networks)(predictd_networks networks, const float *weights, const float *inputs, size_t n,     \
                                  size_t k, float *out);                                                               \
    void function(perceptron_gradient)(const float *parameters, size_t k, const float *inputs, const float *targets,   \
                                       const ptrdiff_t *rows, size_t n, float penalty, float *gradient);               \
    void function(compress)(float *values, size_t n)
PREDICTD_NETWORKS(PREDICTD_NETWORKS_PLAIN);
#if defined(PREDICTD_HAS_WIDE)
PREDICTD_NETWORKS(PREDICTD_NETWORKS_WIDE);
#endif

#endif
