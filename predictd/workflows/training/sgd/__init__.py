"""Stochastic gradient descent on the workers of an engine.

`fit.fit_sgd` searches and refits; `descent` is the program of one worker, `average` merges the workers' factors,
`rounds` finds how long they work between two merges.
"""
