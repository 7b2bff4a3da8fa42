"""Measures of how good imputed tracks are, and the baselines that they are held against."""
