"""How cell types and assays relate.

`quality.examine` finds tracks that look wrong, `swaps` labels that look exchanged, `design` which experiments say most
of the missing ones; all build on `labels` and on tracks predicted by the others (`leave_out`).
"""
