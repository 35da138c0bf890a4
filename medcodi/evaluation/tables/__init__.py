"""One file a table of EVALUATION.md; each registers its class under its id (`evaluation/table.py`)."""
