"""From a tensor to models: one fit, cross-validation, the search for settings, rows for new cell types."""
