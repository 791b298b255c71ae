"""What the tests of the grid share: its ground, once for all cells of a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.grid.ground import Ground, open_ground
from tests.support.engine import Engine, started_engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One real engine for all cells of this worker."""
    with started_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ground(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> AsyncIterator[Ground]:
    """The running parts, on a loop of their own that all cells share."""
    async with open_ground(tmp_path_factory.mktemp("ground"), engine) as ground:
        yield ground
