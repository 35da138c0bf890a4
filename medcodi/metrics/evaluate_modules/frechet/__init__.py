"""Frechet distance of features, for `evaluate.load`."""
