"""Reports put together from others."""

import torch

from medcodi.autoencoders.augmentation import mix_sentences
from tests.autoencoders.parts import REPORTS


def test_mixing_exchanges_whole_sentences_and_keeps_the_rest():
    known = {part.strip(". ") for report in REPORTS for part in report.split(". ")}
    mixed = mix_sentences(REPORTS, 0.5, torch.Generator().manual_seed(0))
    assert mixed != REPORTS and len(mixed) == 8
    assert all(part.strip(". ") in known for report in mixed for part in report.split(". "))
    assert mix_sentences(REPORTS, 0.0) == REPORTS
