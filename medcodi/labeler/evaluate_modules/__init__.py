"""Metrics of `evaluate` that need the labeler, each in a folder of its own."""
