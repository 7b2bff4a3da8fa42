"""How good imputed tracks are, and what the factors of a model mean."""
