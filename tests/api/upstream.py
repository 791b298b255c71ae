"""A gateway in front of the scriptable upstream, as an operator configures an OpenAI-compatible provider."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from tests.api.caller import Caller, call_body
from tests.support.faulty import FaultyUpstream, serve_faulty
from tests.support.gateway import Gateway, running

SECRET = "sk-upstream-secret"
ECHO = "acme/echo"

_CONFIG = """
[[providers]]
name = "faulty"
base_url = "{base_url}"
api_key = "{secret}"
first_byte_timeout_s = 5

[[models]]
id = "acme/echo"
context_window = 100000
max_output = 100000
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "faulty", model = "upstream-model" }} ]
"""


class Bench(msgspec.Struct):
    """The gateway, its upstream, and a customer."""

    gateway: Gateway
    upstream: FaultyUpstream
    caller: Caller

    async def chat(self, **members: object) -> Any:
        return await self.caller.post("/v1/chat/completions", call_body(**{"model": ECHO} | members))

    @property
    def sent(self) -> dict[str, Any]:
        """What the upstream got last."""
        body: dict[str, Any] = msgspec.json.decode(self.upstream.requests[-1].body)
        return body


@contextlib.asynccontextmanager
async def bench(folder: Path, *, credit: str = "10") -> AsyncIterator[Bench]:
    """All three; afterwards the books balance and nothing is held."""
    async with serve_faulty() as upstream:
        config = _CONFIG.format(base_url=upstream.base_url, secret=SECRET)
        async with running(folder, config) as gateway:
            yield Bench(gateway, upstream, Caller(gateway, credit=credit))
            assert gateway.holds() == 0
            gateway.assert_balanced()
