"""How good imputed tracks are, and what the factors of a model mean.

`evaluate.evaluate` scores tracks, `report.report` makes a page of the scores, `factors.explain_factors` tables of the
factors; `score` is the task that all scoring is done by.
"""
