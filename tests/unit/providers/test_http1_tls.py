"""TLS is verified, IPv6 works, and a proxy is gone through where the settings say so."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.providers.http1.client import HttpUpstream
from farebox.providers.http1.proxy import Proxies, Proxy
from farebox.providers.upstream import Endpoint, Outgoing, TimeLimits
from tests.support.answers import chat, cut, huge_body, stall, stream
from tests.support.certificate import client_context, make_certificate, server_context
from tests.support.faulty import serve_faulty
from tests.support.loops import on_both_loops

ASK = Outgoing("/chat/completions", b'{"model":"m","messages":[]}')
STREAM = replace(ASK, stream=True)
LIMIT = 1 << 20
MIB = 1 << 20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@on_both_loops
async def test_a_trusted_certificate_is_accepted_and_the_connection_kept(certificate: Path) -> None:
    names: list[str | None] = []
    context = server_context(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with serve_faulty(tls=context) as upstream:
        client = HttpUpstream(tls=client_context(certificate))
        endpoint = replace(upstream.endpoint(), base_url=f"https://localhost:{upstream.port}/v1")
        for _ in range(50):
            reply = await client.send(endpoint, ASK)
            assert b"Hello" in await reply.read_whole(LIMIT)
        upstream.script(stream())
        reply = await client.send(endpoint, STREAM)
        assert (await reply.read_whole(LIMIT)).endswith(b"data: [DONE]\n\n")
        assert upstream.connections == 1
        assert names == ["localhost"]
        await client.close()


@on_both_loops
async def test_an_unknown_certificate_is_refused_and_nothing_is_sent(certificate: Path) -> None:
    async with serve_faulty(tls=server_context(certificate)) as upstream:
        client = HttpUpstream()
        with pytest.raises(Fault) as caught:
            await client.send(upstream.endpoint(), ASK)
        assert caught.value.kind is Kind.PROVIDER_ERROR
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert "certificate" not in caught.value.message
        assert not upstream.requests
        await client.close()


@on_both_loops
async def test_a_trusted_certificate_for_another_name_is_refused(certificate: Path) -> None:
    async with serve_faulty("127.0.0.2", tls=server_context(certificate)) as upstream:
        client = HttpUpstream(tls=client_context(certificate))
        with pytest.raises(Fault) as caught:
            await client.send(upstream.endpoint(), ASK)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        await client.close()


@on_both_loops
async def test_over_tls_a_slow_reader_stops_the_provider_too(certificate: Path) -> None:
    async with serve_faulty(tls=server_context(certificate), send_buffer=64 * 1024) as upstream:
        upstream.script(huge_body(500))
        client = HttpUpstream(tls=client_context(certificate))
        reply = await client.send(upstream.endpoint(), STREAM)
        await asyncio.sleep(0.3)
        assert reply.size <= 1 * MIB
        assert upstream.requests[0].sent_bytes < 12 * MIB
        read = 0
        while piece := await reply.read():
            read += len(piece)
        assert read == 500 * 65_536
        await client.close()


@on_both_loops
async def test_over_tls_a_cut_is_a_cut_and_a_cancelled_caller_is_seen(certificate: Path) -> None:
    async with serve_faulty(tls=server_context(certificate)) as upstream:
        upstream.script(cut(stream(), after=2), stall(stream(), after=1))
        client = HttpUpstream(tls=client_context(certificate))
        reply = await client.send(upstream.endpoint(), STREAM)
        with pytest.raises(Fault) as caught:
            await reply.read_whole(LIMIT)
        assert caught.value.kind is Kind.PROVIDER_ERROR
        reply = await client.send(upstream.endpoint(), STREAM)
        reply.cancel()
        await upstream.requests[1].closed_within(1.0)
        await client.close()


@on_both_loops
async def test_ipv6_hosts_are_reached_and_named_with_their_brackets() -> None:
    async with serve_faulty("::1") as upstream:
        client = HttpUpstream()
        reply = await client.send(upstream.endpoint(), ASK)
        assert b"Hello" in await reply.read_whole(LIMIT)
        assert upstream.requests[0].headers["host"] == f"[::1]:{upstream.port}"
        await client.close()


# Proxies. `provider.test` exists nowhere, so whoever reaches it has gone through the proxy.


@contextlib.asynccontextmanager
async def serve_proxy(
    target_port: int, heads: list[bytes], refusal: bytes | None = None
) -> AsyncIterator[int]:
    """A proxy that takes every CONNECT to 127.0.0.1:`target_port`, or refuses each."""

    async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if refusal is not None:
            writer.write(refusal)
            await reader.read()
            writer.close()
            return
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", target_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n")
        await asyncio.gather(pipe(reader, onward_writer), pipe(onward_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.sleep(0.05)  # The pipes see their ends.


@on_both_loops
async def test_https_goes_through_a_tunnel_that_the_provider_does_not_notice(certificate: Path) -> None:
    heads: list[bytes] = []
    async with (
        serve_faulty(tls=server_context(certificate)) as upstream,
        serve_proxy(upstream.port, heads) as port,
    ):
        client = HttpUpstream(
            Proxies(https=Proxy("127.0.0.1", port, "Basic dTpw")), tls=client_context(certificate)
        )
        endpoint = Endpoint("far", "https://provider.test/v1", "sk-secret")
        for _ in range(3):
            reply = await client.send(endpoint, ASK)
            assert b"Hello" in await reply.read_whole(LIMIT)
        assert heads == [
            b"CONNECT provider.test:443 HTTP/1.1\r\nhost: provider.test:443\r\nproxy-authorization: Basic dTpw\r\n\r\n"
        ]
        assert upstream.requests[0].path == "/v1/chat/completions"
        assert upstream.requests[0].headers["host"] == "provider.test"
        assert "proxy-authorization" not in upstream.requests[0].headers
        upstream.script(stall(stream(), after=1))
        reply = await client.send(endpoint, STREAM)
        reply.cancel()
        await upstream.requests[-1].closed_within(1.0)
        await client.close()


@on_both_loops
async def test_http_is_asked_of_the_proxy_with_the_whole_url() -> None:
    async with serve_faulty() as upstream:
        client = HttpUpstream(Proxies(http=Proxy("127.0.0.1", upstream.port, "Basic dTpw")))
        reply = await client.send(Endpoint("far", "http://provider.test:8000/v1", "sk-secret"), ASK)
        assert b"Hello" in await reply.read_whole(LIMIT)
        request = upstream.requests[0]
        assert request.path == "http://provider.test:8000/v1/chat/completions"
        assert request.headers["host"] == "provider.test:8000"
        assert request.headers["proxy-authorization"] == "Basic dTpw"
        await client.close()


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", Kind.PROVIDER_ERROR),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\nno\r\n\r\n", Kind.PROVIDER_ERROR),
        (b"x" * 70_000, Kind.PROVIDER_ERROR),
        (b"HTTP/1.1 200", Kind.PROVIDER_TIMEOUT),
    ],
)
@on_both_loops
async def test_a_proxy_that_opens_no_tunnel_is_an_unreachable_provider(refusal: bytes, kind: Kind) -> None:
    async with serve_proxy(0, [], refusal) as port:
        client = HttpUpstream(Proxies(https=Proxy("127.0.0.1", port)))
        endpoint = Endpoint("far", "https://provider.test", limits=TimeLimits(connect_s=0.2))
        with pytest.raises(Fault) as caught:
            await client.send(endpoint, ASK)
        assert caught.value.kind is kind
        await client.close()


@on_both_loops
async def test_this_machine_itself_is_never_behind_a_proxy() -> None:
    async with serve_faulty() as upstream:
        upstream.script(chat())
        client = HttpUpstream(Proxies(http=Proxy("proxy.invalid", 1)))
        assert (await client.send(upstream.endpoint(), ASK)).status == 200
        assert upstream.requests[0].path == "/v1/chat/completions"
        await client.close()
