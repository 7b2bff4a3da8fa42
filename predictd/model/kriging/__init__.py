"""Kriging: each track predicted from all others under correlations pooled over tracks alike.

`kriging.fit_kriging` learns a `KrigingModel` from moments; `effects` pools over cell types and assays, `refinement` is
what small networks add, `fit_refinement` how they learn.
"""
