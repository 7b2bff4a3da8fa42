#include "networks_core.h"

#define LANES 8
#define TILE 3 /* so many that all sums stay in the sixteen registers of AVX */
#define NETWORKS_FUNCTION(name) PREDICTD_NETWORKS_PLAIN(name)
#define NETWORKS_TARGET PREDICTD_MULTIVERSION_FUSED
#include "networks_template.h"
#include "perceptron_template.h"

#if defined(PREDICTD_HAS_WIDE)
#define CHOSEN(name) (PREDICTD_IS_WIDE() ? PREDICTD_NETWORKS_WIDE(name) : PREDICTD_NETWORKS_PLAIN(name))
#else
#define CHOSEN(name) PREDICTD_NETWORKS_PLAIN(name)
#endif

void predictd_apply_networks(predictd_networks networks, const float *weights, const float *inputs, size_t n, size_t k,
                             float *out)
{
    CHOSEN(apply_networks)(networks, weights, inputs, n, k, out);
}

void predictd_perceptron_gradient(const float *parameters, size_t k, const float *inputs, const float *targets,
                                  const ptrdiff_t *rows, size_t n, float penalty, float *gradient)
{
    CHOSEN(perceptron_gradient)(parameters, k, inputs, targets, rows, n, penalty, gradient);
}

void predictd_compress(float *values, size_t n)
{
    CHOSEN(compress)(values, n);
}
