"""F1 of findings, for `evaluate.load`."""
