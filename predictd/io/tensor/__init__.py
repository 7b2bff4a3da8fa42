"""The tensor on disk: manifest, shards, their layout, copies on a node's own disk."""
