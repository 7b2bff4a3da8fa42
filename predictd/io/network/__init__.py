"""Files of gene networks: expression, gene sets, link lists, graphs."""
