"""Gene networks: inference, scores, filters, measures, groups of genes, an interactive page."""
