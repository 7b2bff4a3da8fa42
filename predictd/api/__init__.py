"""The library's face: what `import predictd` gives, thin over the workflows, as the command line is.

The names are those of `predictd.__all__`, which come from here when they are first asked for.
"""
