"""What the tests with whole processes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.engine import Engine, started_engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One real engine for all tests of this worker."""
    with started_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine
