"""Metrics of `evaluate` as local modules: `evaluate.load(folder)` needs no network."""
