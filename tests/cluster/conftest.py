"""Functions that workers call, and one local cluster for the tests that do not harm it."""

import pytest

from btk_punet.cluster.workers import open_workers


@pytest.fixture(scope="session")
def two_workers():
    with open_workers(2) as workers:
        yield workers
