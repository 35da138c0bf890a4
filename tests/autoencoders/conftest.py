"""Fixtures of the tests of autoencoders."""

import pytest

from medcodi.autoencoders.tokenizer import ReportTokenizer
from tests.autoencoders.parts import REPORTS


@pytest.fixture(scope="module")
def tokenizer():
    return ReportTokenizer.train(REPORTS, vocab_size=340)
