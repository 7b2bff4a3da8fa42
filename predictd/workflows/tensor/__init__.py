"""From signal tracks to a tensor, and what is read off one.

`ingest.ingest` makes a tensor of tracks, `simulate.simulate` one of a model; `info` describes it, `folds` divides its
experiments, `moments` sums its second moments, `qc.qc` checks its tracks, `recommend.recommend` names the next
experiments. The other files read bins: sources of signal, windows around bins, samples, files next to the tensor.
"""
