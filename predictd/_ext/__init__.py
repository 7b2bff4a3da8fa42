"""Compiled kernels, built from ext/; imported through predictd.kernels only."""
