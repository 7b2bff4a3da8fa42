"""Plots and pages: from numbers to files that people look at. matplotlib is imported here only, when it is needed."""
