"""The compiled kernels behind checks: nothing else imports `predictd._ext`.

The kernels themselves check nothing and release the GIL. What they compute is specified by
`predictd.model.cp.reference`, by `predictd.grn.reference` for trees, and for scores by the tests of their kernels.
"""

from predictd.kernels.features import TreeFeatures
from predictd.kernels.half import widen
from predictd.kernels.scores import (
    COMPARED,
    JOINT,
    KeyRule,
    Positive,
    RankTables,
    columns_of,
    compare,
    find_keys,
    joint,
    mean_and_variance,
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

__all__ = [
    "BLOCK",
    "COMPARED",
    "JOINT",
    "MAX_DEPTH",
    "MAX_SAMPLES",
    "BoostingRule",
    "KeyRule",
    "Positive",
    "RankTables",
    "RowArrays",
    "TreeFeatures",
    "UpdateRule",
    "boosting_importances",
    "columns_of",
    "compare",
    "find_keys",
    "forest_importances",
    "forest_limit",
    "joint",
    "mean_and_variance",
    "row_width",
    "sgd_updates",
    "tally",
    "weighted",
    "widen",
]
