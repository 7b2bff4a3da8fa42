"""Gene regulatory networks as pure mathematics: arrays in, importances, links and their scores out."""
