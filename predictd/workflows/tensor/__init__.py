"""From signal tracks to a tensor, and what is read off one: folds, moments, quality, the next experiment."""
