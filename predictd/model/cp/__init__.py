"""PARAFAC/CP decomposition: its factors, the solvers that fit them, and what they mean."""
