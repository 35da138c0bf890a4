"""One file a table of docs/guide/evaluate.md; each registers its class under its id."""
