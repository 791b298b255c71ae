"""One gateway for all tests of a module that only look: each takes an account of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.gateway import Gateway, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway with the sandbox behind it. Whatever a module does to it, its books balance and nothing stays held."""
    async with running(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway
        assert gateway.holds() == 0
        gateway.assert_balanced()
