"""From a model and a tensor to imputed tracks with their deviations.

`impute.impute` writes them; `estimators` loads models and whole cross-validations, `apply` applies them to shards,
`calibration` learns from held-out experiments how large errors are.
"""
