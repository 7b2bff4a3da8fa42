"""The compiled kernels behind checks: nothing else imports `predictd._ext`.

The kernels themselves check nothing and release the GIL. What they compute is specified by
`predictd.model.cp.reference`, by `predictd.grn.reference` for trees, and for scores, networks and windows by the
tests of their kernels.
"""

from predictd.kernels.features import TreeFeatures
from predictd.kernels.half import columns_as_rows, ends_of, widen
from predictd.kernels.networks import (
    UNITS,
    apply_networks,
    compress,
    perceptron_gradient,
    perceptron_size,
)
from predictd.kernels.scores import (
    COMPARED,
    JOINT,
    AssayMeans,
    KeyRule,
    Positive,
    RankTables,
    bound,
    compare,
    find_keys,
    joint,
    tally,
    weighted,
)
from predictd.kernels.sgd import BLOCK, RowArrays, UpdateRule, row_width, sgd_updates
from predictd.kernels.trees import (
    MAX_DEPTH,
    MAX_SAMPLES,
    BoostingRule,
    boosting_importances,
    forest_importances,
    forest_limit,
)
from predictd.kernels.windows import run_means

__all__ = [
    "BLOCK",
    "COMPARED",
    "JOINT",
    "MAX_DEPTH",
    "MAX_SAMPLES",
    "UNITS",
    "AssayMeans",
    "BoostingRule",
    "KeyRule",
    "Positive",
    "RankTables",
    "RowArrays",
    "TreeFeatures",
    "UpdateRule",
    "apply_networks",
    "boosting_importances",
    "bound",
    "columns_as_rows",
    "compare",
    "compress",
    "ends_of",
    "find_keys",
    "forest_importances",
    "forest_limit",
    "joint",
    "perceptron_gradient",
    "perceptron_size",
    "row_width",
    "run_means",
    "sgd_updates",
    "tally",
    "weighted",
    "widen",
]
