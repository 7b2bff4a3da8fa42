"""Kriging: each track predicted from all others under correlations pooled over tracks alike."""
