"""How sure a prediction is: residual levels, spread of models, calibrated intervals."""
