"""From a model and a tensor to imputed tracks with their deviations."""
