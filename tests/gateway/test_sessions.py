"""A session stays with one of several equal providers, so that its prompt is in that provider's cache."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.api.caller import Caller
from tests.support.faulty import FaultyUpstream, serve_faulty
from tests.support.gateway import Gateway, running

_PROVIDER = '[[providers]]\nname = "{name}"\nbase_url = "{url}"\n'
_ROUTE = '{{ provider = "{name}", model = "m", order = 1, weight = {weight} }}'
_MODEL = """
[[models]]
id = "acme/one"
context_window = 1000
max_output = 100
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {routes} ]
"""
WEIGHTS = {"light": 1, "heavy": 3}


async def open_pair(folder: Path, stack: AsyncExitStack) -> tuple[Gateway, dict[str, FaultyUpstream]]:
    """A model that two providers sell at the same order, one of them with thrice the weight."""
    upstreams = {name: await stack.enter_async_context(serve_faulty()) for name in WEIGHTS}
    tables = "".join(_PROVIDER.format(name=name, url=one.base_url) for name, one in upstreams.items())
    routes = ", ".join(_ROUTE.format(name=name, weight=weight) for name, weight in WEIGHTS.items())
    gateway = await stack.enter_async_context(running(folder, tables + _MODEL.format(routes=routes)))
    return gateway, upstreams


def asked(upstreams: dict[str, FaultyUpstream]) -> Counter[str]:
    return Counter({name: len(one.requests) for name, one in upstreams.items()})


@pytest.mark.parametrize("member", ["session_id", "prompt_cache_key"])
async def test_the_calls_of_a_session_go_to_one_provider(tmp_path: Path, member: str) -> None:
    async with AsyncExitStack() as stack:
        gateway, upstreams = await open_pair(tmp_path, stack)
        caller = Caller(gateway)
        for session in "abcdef":
            before = asked(upstreams)
            for _ in range(4):
                answer = await caller.chat(model="acme/one", **{member: f"session {session}"})
                assert answer.status_code == 200
            assert sorted((asked(upstreams) - before).values()) == [4]


async def test_a_header_says_a_session_as_well(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, upstreams = await open_pair(tmp_path, stack)
        body = {"model": "acme/one", "messages": [{"role": "user", "content": "hi"}]}
        caller = Caller(gateway)
        for session in "abcdef":
            before = asked(upstreams)
            for _ in range(4):
                answer = await caller.post("/v1/chat/completions", body, x_session_id=f"session {session}")
                assert answer.status_code == 200
            assert sorted((asked(upstreams) - before).values()) == [4]


async def test_sessions_are_shared_by_weight_and_an_id_is_the_accounts_own(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, upstreams = await open_pair(tmp_path, stack)
        callers = [Caller(gateway, "acme"), Caller(gateway, "other")]
        chosen: dict[str, list[str]] = {"acme": [], "other": []}
        for at in range(40):
            for caller in callers:
                before = asked(upstreams)
                await caller.chat(model="acme/one", session_id=f"session {at}")
                chosen[caller.account] += (asked(upstreams) - before).elements()
        assert chosen["acme"] != chosen["other"], "what one account calls a session says nothing of another's"
        heavy = Counter(chosen["acme"] + chosen["other"])["heavy"]
        assert 45 <= heavy <= 75, "thrice the weight is about three of four sessions"


async def test_a_session_id_never_reaches_a_provider(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, upstreams = await open_pair(tmp_path, stack)
        await Caller(gateway).chat(model="acme/one", session_id="mine alone")
        bodies = [json.loads(request.body) for one in upstreams.values() for request in one.requests]
        assert [("session_id" in body) for body in bodies] == [False]
