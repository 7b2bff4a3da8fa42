"""Signal tracks, peaks, genomes and metadata tables, and what genome browsers read."""
