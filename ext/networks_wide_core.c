/* Networks for processors with vectors of 512 bits: the same bits, in half the instructions. */

#include "networks_core.h"

#if defined(PREDICTD_HAS_WIDE)
#define LANES 16
#define TILE 8
#define NETWORKS_FUNCTION(name) PREDICTD_NETWORKS_WIDE(name)
#define NETWORKS_TARGET PREDICTD_WIDE
#include "networks_template.h"
#include "perceptron_template.h"
#endif
