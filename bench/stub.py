"""An upstream that speaks OpenAI chat completions and Anthropic messages, and costs as little as Python allows.

Every reply is bytes at start.

    python stub.py --port 9100

POST …/chat/completions   a JSON reply of about 1 KiB with usage; or, where the body says `"stream": true`, a role
                          event, 100 content events, each a write of its own, the finish, usage (if asked for), `[DONE]`
POST …/messages           the same in Anthropic's words, for a gateway that has to translate
GET  /v1/models           one model
GET  /_stub               counters as JSON; `?delay_ms=5` sets the gap between two content events from then on
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
from collections.abc import Callable
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httptools
import msgspec
import uvloop

CONTENT_EVENTS = 100
PLAIN_BYTES = 1024
BACKLOG = 1024

STREAMS = re.compile(rb'"stream"\s*:\s*true')
WANTS_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
USAGE = b'{"prompt_tokens":25,"completion_tokens":100,"total_tokens":125}'


def _reply(body: bytes, *, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\nx-request-id: req_stub\r\n\r\n"
    return head % (status, len(body)) + body


def _chunk(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _event(choices: bytes, usage: bytes = b"null") -> bytes:
    names = b'"id":"chatcmpl-stub0123456789","object":"chat.completion.chunk","created":1700000000,'
    return _chunk(
        b'{%b"model":"gpt-4o-mini","system_fingerprint":"fp_stub","choices":[%b],"usage":%b}'
        % (names, choices, usage)
    )


def _choice(delta: bytes, finish: bytes = b"null") -> bytes:
    return b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}' % (delta, finish)


def _plain() -> bytes:
    start = (
        b'{"id":"chatcmpl-stub0123456789","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini",'
        b'"choices":[{"index":0,"message":{"role":"assistant","content":"'
    )
    end = (
        b'","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":25,'
        b'"completion_tokens":100,"total_tokens":125,"prompt_tokens_details":{"cached_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":0}},"system_fingerprint":"fp_stub"}'
    )
    room = PLAIN_BYTES - len(start) - len(end)
    return _reply(start + (b"Every fare is metered, and the meter is exact. " * 20)[:room] + end)


PLAIN = _plain()
MODELS = _reply(
    b'{"object":"list","data":[{"id":"gpt-4o-mini","object":"model","created":1700000000,"owned_by":"stub"}]}'
)
UNKNOWN = _reply(b'{"error":{"message":"the stub has no such path"}}', status=b"404 Not Found")
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nx-request-id: req_stub\r\n\r\n"
)
OPENING = STREAM_HEAD + _event(_choice(b'{"role":"assistant","content":""}'))
CONTENT = _event(_choice(b'{"content":" token"}'))
FINISH = _event(_choice(b"{}", b'"stop"'))
END = _chunk(b"[DONE]") + b"0\r\n\r\n"
ENDING = FINISH + END
ENDING_WITH_USAGE = FINISH + _event(b"", USAGE) + END


class Stream(msgspec.Struct, frozen=True):
    """A streamed answer: how it begins, each of its content events, and how it ends."""

    opening: bytes
    content: bytes
    ending: bytes


CHAT = Stream(OPENING, CONTENT, ENDING)
CHAT_WITH_USAGE = Stream(OPENING, CONTENT, ENDING_WITH_USAGE)


def _named(name: bytes, data: bytes) -> bytes:
    event = b'event: %b\ndata: {"type":"%b"%b}\n\n' % (name, name, b"," + data if data else b"")
    return b"%x\r\n%b\r\n" % (len(event), event)


def _message(content: bytes, stop: bytes, output: int) -> bytes:
    return (
        b'"id":"msg_stub0123456789","type":"message","role":"assistant","model":"claude-stub","content":[%b],'
        b'"stop_reason":%b,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":0,'
        b'"cache_read_input_tokens":0,"output_tokens":%d}'
    ) % (content, stop, output)


MESSAGES = Stream(
    STREAM_HEAD
    + _named(b"message_start", b'"message":{%b}' % _message(b"", b"null", 1))
    + _named(b"content_block_start", b'"index":0,"content_block":{"type":"text","text":""}'),
    _named(b"content_block_delta", b'"index":0,"delta":{"type":"text_delta","text":" token"}'),
    _named(b"content_block_stop", b'"index":0')
    + _named(
        b"message_delta",
        b'"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":100}',
    )
    + _named(b"message_stop", b"")
    + b"0\r\n\r\n",
)
MESSAGE = _reply(
    b"{%b}"
    % _message(
        b'{"type":"text","text":"%b"}' % (b"Every fare is metered, and the meter is exact. " * 20)[:700],
        b'"end_turn"',
        100,
    )
)


class Counters(msgspec.Struct):
    """What the stub has done since it started."""

    connections: int = 0
    requests: int = 0  # Chat completions of both kinds.
    streams: int = 0
    streams_cut: int = 0  # The other side hung up before the end.
    unknown: int = 0
    delay_ms: float = 0


class Connection(asyncio.Protocol):
    """One connection of a gateway; one request at a time, as keep-alive clients send them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, counters: Counters) -> None:
        self._loop = loop
        self._counters = counters
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._left = 0  # Content events that the current stream still has to say.
        self._stream: Stream | None = None
        self._paused = False  # The gateway reads too slowly.
        self._stalled = False  # An event was due meanwhile.
        self._write: Callable[[bytes], None]
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it.
        self._write = self._transport.write
        self._counters.connections += 1

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._stream is not None:
            self._counters.streams_cut += 1
        self._stream = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._stalled:
            self._stalled = False
            self._say()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        if self._url.endswith(b"/chat/completions"):
            self._counters.requests += 1
            if STREAMS.search(body):
                self._start_stream(CHAT_WITH_USAGE if WANTS_USAGE.search(body) else CHAT)
            else:
                self._write(PLAIN)
        elif self._url.endswith(b"/messages"):
            self._counters.requests += 1
            if STREAMS.search(body):
                self._start_stream(MESSAGES)
            else:
                self._write(MESSAGE)
        elif self._url.endswith(b"/models"):
            self._write(MODELS)
        elif self._url.startswith(b"/_stub"):
            self._write(_reply(self._control()))
        else:
            self._counters.unknown += 1
            self._write(UNKNOWN)

    def _control(self) -> bytes:
        for text in parse_qs(urlsplit(self._url.decode()).query).get("delay_ms", []):
            self._counters.delay_ms = float(text)
        return msgspec.json.encode(self._counters)

    def _start_stream(self, stream: Stream) -> None:
        self._counters.streams += 1
        self._stream = stream
        self._left = CONTENT_EVENTS
        self._write(stream.opening)
        self._loop.call_soon(
            self._say
        )  # Never in the same write: an event arrives alone, as from a real model.

    def _say(self) -> None:
        stream = self._stream
        if stream is None:
            return
        if self._paused:
            self._stalled = True
            return
        if not self._left:
            self._stream = None
            self._write(stream.ending)
            return
        self._left -= 1
        self._write(stream.content)
        if delay_ms := self._counters.delay_ms:
            self._loop.call_later(delay_ms / 1000, self._say)
        else:
            self._loop.call_soon(self._say)


async def serve(host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    counters = Counters()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Connection(loop, counters), host, port, backlog=BACKLOG)
    await stop.wait()
    server.close()


def main() -> None:
    """Read the command line and serve."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=9100)
    given = options.parse_args()
    uvloop.run(serve(given.host, given.port))


if __name__ == "__main__":
    main()
