"""How cell types and assays relate: labels that look swapped, quality, which experiment to run next."""
