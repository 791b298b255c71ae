"""Runs a test once on each event loop the product may meet: uvloop, which it chooses, and asyncio's own."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an asynchronous test a plain one with a parameter more."""

    @functools.wraps(test)
    def run(*args: Any, loop_name: str, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
            runner.run(test(*args, **kwargs))

    signature = inspect.signature(test)
    extra = inspect.Parameter("loop_name", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*signature.parameters.values(), extra]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect's own way
    parametrized: Callable[..., None] = pytest.mark.parametrize("loop_name", list(LOOPS))(run)
    return parametrized
