"""Networks that the suite fits itself, on real or synthetic data. All of them are trained by the
one loop in `fitting.py`; `metrics/` around this room is pure functions.

architectures.py        the image networks, pixels, augmentation
phantom_reader.py       reads findings from phantom images; fitted with the known truth
classifier.py           reads a data set's own findings; the embedded feature backbone
coherence_encoder.py    does an image belong to a report?
from_scratch.py         a classifier from scratch: what synthetic images are worth
report_writer.py        a report generator from scratch: what image-report pairs are worth
records.py              image and row: the outcome, and which row belongs to an image
verifier.py             are two images of one patient?
"""
