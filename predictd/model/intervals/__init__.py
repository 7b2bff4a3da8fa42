"""How sure a prediction is.

`residuals` counts errors by the level of the prediction, `spread` is the disagreement of models, `uncertainty` makes
calibrated deviations of both.
"""
