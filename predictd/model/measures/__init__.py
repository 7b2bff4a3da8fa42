"""Measures of how good imputed tracks are (`metrics`, `ranks`), and the baselines they are compared with."""
