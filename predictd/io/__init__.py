"""Files: tracks, tables, the tensor's shards, models and checkpoints."""
