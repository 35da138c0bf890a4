"""See `corpus_bleu.py`."""
