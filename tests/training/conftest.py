"""Fixtures of the tests of training."""

import resource

import pytest


@pytest.fixture
def little_disk():
    """Call it to let no file grow beyond 64 KiB: the operating system refuses the write, as on a
    full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
