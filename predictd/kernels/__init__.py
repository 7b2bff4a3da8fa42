"""The compiled kernels behind checks: nothing else imports `predictd._ext`.

The kernels themselves check nothing and release the GIL. What they compute is specified by
`predictd.model.cp.reference`, and by `predictd.grn.reference` for trees.
"""

from predictd.kernels.half import widen
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
    "MAX_DEPTH",
    "MAX_SAMPLES",
    "BoostingRule",
    "RowArrays",
    "UpdateRule",
    "boosting_importances",
    "forest_importances",
    "forest_limit",
    "row_width",
    "sgd_updates",
    "widen",
]
