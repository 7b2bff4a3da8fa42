"""From a tensor to models.

`train.train` fits one model, `crossval.crossval` all folds, `tune.tune` searches settings, `extend.extend` adds cell
types and assays to a model. `solvers.SOLVERS` names what fits; `sgd` is the one solver that is long enough for a room.
"""
