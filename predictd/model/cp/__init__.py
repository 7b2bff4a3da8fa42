"""PARAFAC/CP decomposition: its factors, the solvers that fit them, and what they mean.

`factors.CPModel` is the model; `als` and `sgd` are the mathematics of its solvers, `fit` the starts, early stopping and
choice of settings; `extend` adds rows, `interpretation` clusters and embeds. `reference` and `reference_als` say the
same in plain NumPy, and are what tests compare with.
"""
