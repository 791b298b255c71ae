"""Whoever sends whatever under few keys at once, and leaves when they like: no key is charged twice."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

import httpx2
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.answers import Answer, chat, cut, error, late, slow, stream
from tests.support.faulty import Recorded, serve_faulty
from tests.support.gateway import Gateway, running

KEYS = 3
_CONFIG = """
[[providers]]
name = "faulty"
base_url = "{base_url}"
api_key = "sk-upstream-secret"
"""
# One for each key: so the books tell what was charged under which.
_MODEL = """
[[models]]
id = "acme/model-{number}"
context_window = 100000
max_output = 1000
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "faulty", model = "upstream-model" }} ]
"""

Outcome = Literal["ok", "fail", "cut"]


class Move(NamedTuple):
    """One caller: when it comes, with which key and body, and when it hangs up, if it does."""

    after_s: float
    key: int
    other_body: bool
    streams: bool
    leaves_s: float | None


soon = st.sampled_from([0.0, 0.005, 0.02, 0.05])
moves = st.builds(
    Move,
    soon,
    st.integers(0, KEYS - 1),
    st.booleans(),
    st.booleans(),
    st.none() | st.sampled_from([0.002, 0.02]),
)


@settings(max_examples=25)
@given(st.lists(moves, min_size=2, max_size=12), st.lists(st.sampled_from(["ok", "fail", "cut"]), min_size=1))
def test_no_key_is_charged_twice_and_equal_requests_have_equal_replies(
    script: list[Move], outcomes: list[Outcome]
) -> None:
    asyncio.run(play(script, outcomes))


async def play(script: list[Move], outcomes: list[Outcome]) -> None:
    """Let all of them call, then everybody once more; hold the replies against the books."""
    coming = iter(outcomes * 100)

    def choose(request: Recorded) -> Answer:
        outcome, streams = next(coming), b'"stream":true' in request.body
        if outcome == "fail":
            return late(error(500), 0.005)
        if outcome == "cut" and streams:
            return cut(slow(stream(), 0.003), 3)
        return slow(stream(), 0.003) if streams else late(chat(), 0.01)

    with tempfile.TemporaryDirectory() as folder:
        async with serve_faulty() as upstream:
            upstream.choose(choose)
            models = "".join(_MODEL.format(number=number) for number in range(KEYS))
            config = _CONFIG.format(base_url=upstream.base_url) + models
            async with running(Path(folder), config) as gateway:
                key = gateway.key()
                told: dict[bytes, set[bytes]] = {}
                await asyncio.gather(*(send(gateway, key, move, told) for move in script))
                for move in script:
                    await send(gateway, key, move._replace(after_s=0, leaves_s=None), told)
                for body, replies in told.items():
                    assert len(replies) == 1, body
                while gateway.holds():
                    await asyncio.sleep(0.005)
                charged = gateway.office.database.rows("SELECT model FROM requests WHERE charge > 0")
                models_charged = [row[0] for row in charged]
                assert len(models_charged) == len(set(models_charged))
                gateway.assert_balanced()


async def send(gateway: Gateway, secret: str, move: Move, told: dict[bytes, set[bytes]]) -> None:
    """One caller's call; a reply that came whole is noted by what was asked."""
    await asyncio.sleep(move.after_s)
    say = "something else" if move.other_body else "hello"
    members = {
        "model": f"acme/model-{move.key}",
        "stream": move.streams,
        "messages": [{"role": "user", "content": say}],
    }
    body = msgspec.json.encode(members)
    headers = {"authorization": f"Bearer {secret}", "idempotency-key": f"key-{move.key}"}
    async with httpx2.AsyncClient(base_url=gateway.url, timeout=20, headers=headers) as client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(move.leaves_s):
                answer = await client.post("/v1/chat/completions", content=body)
                assert answer.status_code in (200, 409, 502), answer.text
                whole = b"[DONE]" in answer.content if move.streams else True
                if answer.status_code == 200 and whole:
                    told.setdefault(body, set()).add(answer.content)
