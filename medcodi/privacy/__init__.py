"""Privacy-enhancing sampling: what looks like a training record is drawn again.

guard.py          the contract: a score of how much a value looks like one training record
images.py         retrieve the nearest training images, then verify (Packhaeuser et al. 2023)
verification.py   the network that says whether two images are of one patient
texts.py          long word spans that only a few training patients' reports have
rows.py           the ratio of the closest record to the next ones
filter.py         the guards of a study together, calibrated on patients that training never saw
retrieval.py      how good retrieval is: precision@1 and mAP@R

A filter keeps features of training records. It is as private as the data it was fitted on.
"""
