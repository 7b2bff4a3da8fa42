"""Stochastic gradient descent on the workers of an engine."""
