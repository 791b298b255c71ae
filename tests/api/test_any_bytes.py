"""Whatever arrives, the answer is one of ours, soon, and never our fault; and the books balance after all of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.dialects.openai_chat.head import REFUSED, _Body
from farebox.dialects.own import OWN
from tests.api.wire import CALL, HEALTH, PATIENCE_S, Line, line_to, post
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK = settings(
    deadline=None,  # The machine may be busy; a hang is caught by the line's patience.
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CONFIG = """
[[plans]]
name = "any"
chat_rpm = 1000000
image_rpm = 0
"""


class Bench(msgspec.Struct):
    """A gateway, a key of a plan without limits, and the balance it began with."""

    gateway: Gateway
    key: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """One for all examples; when all are done, whoever is answered is charged and nobody else."""
    async with running(tmp_path_factory.mktemp("any"), CONFIG) as gateway:
        yield Bench(gateway, gateway.key("any", plan="any", credit="1000"))
        async with asyncio.timeout(PATIENCE_S):
            while gateway.holds():
                await asyncio.sleep(0.02)
        gateway.assert_balanced()
        async with line_to(gateway) as line:
            assert (await line.ask(HEALTH)).status == 200


async def answers(line: Line, data: bytes) -> list[int]:
    """Send, and read until the gateway closes or waits for more: whole replies only, and none that is our fault."""
    await line.send(data)
    found: list[int] = []
    try:
        while True:
            found.append((await asyncio.wait_for(line.reply(), 0.04 if found else 0.15)).status)
    except asyncio.IncompleteReadError as end:
        rest = end.partial
    except (TimeoutError, ConnectionError):
        rest = b""
    assert not rest  # It closed behind a whole reply.
    assert all(status < 500 for status in found), found
    return found


@QUICK
@given(data=st.binary(max_size=300))
async def test_any_bytes_are_answered_or_waited_for(made: Bench, data: bytes) -> None:
    async with line_to(made.gateway) as line:
        found = await answers(line, data + b"\r\n\r\n")
        assert not found or found[-1] in (400, 404, 405, 414, 431)


JUNK = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b"\xff", b"0", b"-1", b"chunked", b"HTTP/1.1",
     b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n"]
)  # fmt: skip


@QUICK
@given(cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 20), JUNK), min_size=1, max_size=4))
async def test_any_mutation_of_a_good_request_is_answered_or_waited_for(
    made: Bench, cuts: list[tuple[int, int, bytes]]
) -> None:
    data = post(made.key, CALL, "x-note: a", "connection: keep-alive")
    for at, length, junk in cuts:
        data = data[: at % len(data)] + junk + data[at % len(data) + length :]
    async with line_to(made.gateway) as line:
        await answers(line, data)


@QUICK
@given(at=st.integers(0, len(CALL)), length=st.integers(0, 30), junk=st.binary(max_size=10))
async def test_any_mutation_of_a_good_body_is_answered_at_once(
    made: Bench, at: int, length: int, junk: bytes
) -> None:
    body = CALL[:at] + junk + CALL[at + length :]
    async with line_to(made.gateway) as line:
        assert (await line.ask(post(made.key, body))).status in (200, 400, 404, 415)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["user", "system", "tool", "auto", "function", "gpt-4o-mini", "file_id", "sandbox:empty"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.dictionaries(
    st.sampled_from(sorted({*_Body.__struct_fields__, *OWN, *REFUSED})) | st.text(max_size=8),
    VALUES,
    max_size=4,
)
MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio"]), VALUES
    ),
    min_size=1,
    max_size=3,
)


@QUICK
@given(members=MEMBERS, messages=MESSAGES | st.none())
async def test_any_members_are_answered_at_once(
    made: Bench, members: dict[str, Any], messages: list[Any] | None
) -> None:
    body = msgspec.json.decode(CALL) | members | ({} if messages is None else {"messages": messages})
    async with line_to(made.gateway) as line:
        reply = await line.ask(post(made.key, msgspec.json.encode(body)))
        assert reply.status in (200, 400, 402, 404), reply.body


@QUICK
@given(path=st.text(max_size=60), query=st.text(max_size=60))
async def test_any_address_is_answered_at_once(made: Bench, path: str, query: str) -> None:
    def quoted(text: str) -> str:
        return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogatepass"))

    targets = itertools.product(
        ("/", "/v1/models/", "/v1/requests/", "/api/v1/"), ("", "?id=", "?limit=", "?key=")
    )
    request = "".join(
        f"GET {base}{quoted(path)}{question}{quoted(query) if question else ''} HTTP/1.1\r\nhost: test\r\n"
        f"x-api-key: {made.key}\r\n\r\n"
        for base, question in targets
    )
    async with line_to(made.gateway) as line:
        await line.send(request.encode())
        for _ in range(16):
            assert (await line.reply()).status in (200, 400, 404)
