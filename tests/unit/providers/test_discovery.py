"""Discovery finds keys and engines, and nothing else that happens to listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from farebox.providers.discovery import FoundEngine, discover_by_key, discover_local
from farebox.providers.rows import ProviderRow, load_providers

MODELS = b'{"object":"list","data":[{"id":"llama3:8b","object":"model"},{"id":"qwen2.5"}]}'
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def engine(port: int, name: str = "ollama") -> ProviderRow:
    return ProviderRow(name, f"http://127.0.0.1:{port}/v1", local=True, port=port)


def reply(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """A server on a free port of loopback that reads one request and hands over."""

    calls: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
        except ConnectionError:
            pass  # Who asked has heard enough.
        finally:
            writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.add(asyncio.create_task(served(reader, writer)))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def saying(answer: bytes) -> Handler:
    async def handler(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return handler


async def found(answer: bytes) -> tuple[FoundEngine, ...]:
    async with listening(saying(answer)) as port:
        return await discover_local([engine(port)], timeout_s=2)


async def test_an_engine_that_answers_is_found_with_its_models() -> None:
    asked = []

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(reply(MODELS))

    async with listening(handler) as port:
        assert await discover_local([engine(port)], timeout_s=2) == (
            FoundEngine(engine(port), ("llama3:8b", "qwen2.5")),
        )
    assert asked[0].startswith(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"{len(MODELS[:20]):x}\r\n".encode()
        + MODELS[:20]
        + f"\r\n{len(MODELS[20:]):x}\r\n".encode()
        + MODELS[20:]
        + b"\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + MODELS,
        reply(MODELS, headers="Connection: keep-alive\r\n"),
    ],
    ids=["chunked", "until the connection ends", "kept alive"],
)
async def test_every_way_to_send_a_body_is_read(answer: bytes) -> None:
    (one,) = await found(answer)
    assert one.models == ("llama3:8b", "qwen2.5")


async def test_an_engine_that_keeps_the_connection_open_is_not_waited_for() -> None:
    async def handler(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(MODELS))
        await writer.drain()
        await asyncio.sleep(5)

    async with listening(handler) as port, asyncio.timeout(2):
        assert await discover_local([engine(port)], timeout_s=4)


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"<html><title>Jenkins</title></html>"),
        reply(b'{"status":"ok"}'),
        reply(b'{"object":"list","data":{"id":"a"}}'),
        reply(b'{"object":"page","data":[{"id":"a"}]}'),
        reply(b'{"object":"list","data":[{"name":"a"}]}'),
        reply(b"[]"),
        reply(b"\xff\xfe"),
        reply(b'{"object":"list","data":[{"id":"\xff"}]}'),
        reply(MODELS, "401 Unauthorized"),
        reply(MODELS, "503 Service Unavailable"),
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + MODELS,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + MODELS[:40],
        b"",
        reply(b'{"object":"list","data":null}'),
        reply(b'{"object":"list","data":[]}'),
        reply(b'{"object":"list","data":[{"id":""},{"id":"my model"}]}'),
    ],
    ids=lambda answer: answer.decode("latin-1").strip()[-40:] or "nothing",
)
async def test_what_is_no_engine_with_models_is_passed_over(answer: bytes) -> None:
    assert await found(answer) == ()


async def test_a_model_that_no_caller_could_name_is_left_out_alone() -> None:
    (one,) = await found(reply(b'{"object":"list","data":[{"id":"my model"},{"id":"a"},{"id":"a"}]}'))
    assert one.models == ("a",)


async def test_an_endless_answer_is_read_to_its_bound_and_no_further() -> None:
    sent = 0

    async def handler(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            sent += 65_536
            await writer.drain()

    async with listening(handler) as port, asyncio.timeout(10):
        assert await discover_local([engine(port)], timeout_s=9) == ()
    assert 1_000_000 <= sent < 30_000_000, "what lies in the buffers of the system is sent, but not read"


async def test_silent_and_closed_ports_cost_no_more_than_the_time_allowed() -> None:
    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)

    async with listening(silent) as quiet, listening(saying(reply(MODELS))) as live:
        async with listening(saying(b"")) as closed:
            pass
        rows = [engine(quiet, f"quiet{n}") for n in range(5)] + [engine(closed, "closed"), engine(live)]
        started = asyncio.get_running_loop().time()
        engines = await discover_local(rows, timeout_s=0.5)
        took_s = asyncio.get_running_loop().time() - started
    assert [one.row.name for one in engines] == ["ollama"]
    assert took_s < 1.5, "all are asked at once"


async def test_our_own_port_and_remote_providers_are_not_asked() -> None:
    asked = []

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(reply(MODELS))

    async with listening(handler) as port:
        remote = msgspec.structs.replace(engine(port), local=False)
        homeless = msgspec.structs.replace(engine(port), port=None)
        assert await discover_local([engine(port)], skip_ports={port}, timeout_s=2) == ()
        assert await discover_local([remote, homeless], timeout_s=2) == ()
    assert asked == []


def test_a_provider_is_found_by_its_usual_variable() -> None:
    rows = load_providers()
    environment = {row.key_variable: f" {row.key_variable} of ours\n" for row in rows if row.key_variable}
    keys = discover_by_key(environment, rows)
    expected = [row for row in rows if row.key_variable and not row.base_variable]
    assert [one.row for one in keys] == expected
    assert all(one.api_key == f"{one.row.key_variable} of ours" for one in keys)
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "DEEPSEEK_API_KEY"} <= set(environment)


@pytest.mark.parametrize(
    "address",
    [
        "https://mine.openai.azure.com",
        "https://mine.openai.azure.com/",
        " https://mine.openai.azure.com/openai/v1/ ",
    ],
)
def test_a_provider_at_an_address_of_the_operators_own_is_found_by_key_and_address(address: str) -> None:
    rows = [row for row in load_providers() if row.base_variable]
    variables = {"AZURE_OPENAI_API_KEY": "key", "AZURE_OPENAI_ENDPOINT": address}
    (one,) = discover_by_key(variables, rows)
    assert (one.row.name, one.row.base_url) == ("azure", "https://mine.openai.azure.com/openai/v1")
    assert (one.row.auth_header, one.api_key) == ("api-key", "key")


@pytest.mark.parametrize("address", ["", "mine.openai.azure.com", "ftp://mine", "https://", "https://a b/"])
def test_a_key_without_an_address_is_no_provider(address: str) -> None:
    variables = {"AZURE_OPENAI_API_KEY": "key", "AZURE_OPENAI_ENDPOINT": address}
    assert discover_by_key(variables, load_providers()) == ()


def test_an_unset_or_blank_variable_is_no_provider() -> None:
    assert discover_by_key({"OPENAI_API_KEY": "", "GROQ_API_KEY": " ", "HOME": "x"}, load_providers()) == ()


def test_a_found_key_is_never_printed() -> None:
    (one,) = discover_by_key({"GROQ_API_KEY": "sk-canary"}, load_providers())
    assert "canary" not in repr(one)
    assert "canary" not in f"{(one,)}"
