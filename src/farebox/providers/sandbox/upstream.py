"""The sandbox as an upstream: it takes a request and plays back the pieces of a reply, with their pauses and breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from farebox.core.clock import Clock
from farebox.core.errors import Fault, Kind
from farebox.providers.sandbox.answer import Answer, answer_to
from farebox.providers.sandbox.request import MalformedError, Request, read_request
from farebox.providers.sandbox.talk import read_talk
from farebox.providers.sandbox.tricks import WAIT_S_MAX, Tricks
from farebox.providers.sandbox.wire import Stream, Usage, false_usage, usage_of, write_error, write_plain
from farebox.providers.upstream import Endpoint, Outgoing, TimeLimits

PATH: Final = "/chat/completions"
_RETRY_AFTER_S = 1
_JSON: Mapping[str, str] = MappingProxyType({"content-type": "application/json"})
_SSE: Mapping[str, str] = MappingProxyType({"content-type": "text/event-stream; charset=utf-8"})

_SERVER_ERRORS = 500  # From here on the provider is at fault.
# OpenAI's type and code of the statuses that have their own.
_ERRORS: Mapping[int, tuple[str, str | None]] = MappingProxyType(
    {
        401: ("invalid_request_error", "invalid_api_key"),
        402: ("insufficient_quota", "insufficient_quota"),
        403: ("permission_error", "permission_denied"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("rate_limit_error", "rate_limit_exceeded"),
        503: ("service_unavailable_error", "overloaded"),
    }
)


class _Pause(Struct, frozen=True):
    seconds: float


_Step: TypeAlias = bytes | _Pause | Fault


class Sandbox:
    """A provider that answers by itself; `delay_s` between two chunks makes a stream look alive."""

    def __init__(self, delay_s: float = 0.0, clock: Clock | None = None) -> None:
        self._delay_s = delay_s
        self._clock = (
            clock  # Without one it is always the same moment: the same request gives the same bytes.
        )

    async def send(self, endpoint: Endpoint, outgoing: Outgoing) -> Reply:
        """Answer a chat request; anything else is refused as a provider would refuse it."""
        if (outgoing.method, outgoing.path) != ("POST", PATH):
            message = (
                f"Unknown request URL: {outgoing.method} {outgoing.path}. The sandbox knows POST {PATH}."
            )
            return _plain(404, write_error(message, "invalid_request_error", code="unknown_url"))
        try:
            request = read_request(outgoing.body)
            talk = read_talk(request)
            answer = answer_to(request, talk)
            if self._clock is not None:
                answer = replace(answer, created_s=self._clock.now_us() // 1_000_000)
        except MalformedError as error:
            return _plain(400, write_error(error.message, "invalid_request_error", error.param))
        await _first_byte(talk.tricks.slow, endpoint.limits)
        if talk.tricks.error is not None:
            return _failed(talk.tricks.error)
        if request.stream:
            steps = _stream_steps(answer, request, talk.tricks)
            return Reply(200, _SSE, steps, delay_s=self._delay_s, idle_s=endpoint.limits.idle_s)
        return Reply(200, _JSON, _plain_steps(answer, talk.tricks), idle_s=endpoint.limits.idle_s)

    async def close(self) -> None:
        """Nothing is open."""


class Reply:
    """A reply of the sandbox, made while it is read: who does not read, stops it."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        steps: Iterator[_Step],
        *,
        delay_s: float = 0.0,
        idle_s: float = WAIT_S_MAX,
    ) -> None:
        self.status = status
        self.headers = headers
        self._steps = steps
        self._delay_s = delay_s
        self._idle_s = idle_s
        self._cancelled = asyncio.Event()

    async def read(self) -> bytes:
        """The next piece; empty at the end and once cancelled. Fault PROVIDER_CUT or PROVIDER_TIMEOUT to order."""
        await self._rest(self._delay_s)
        for step in self._steps:
            if self._cancelled.is_set():
                break
            match step:
                case bytes():
                    return step
                case _Pause():
                    await self._silence(step.seconds)
                case Fault():
                    raise step
        return b""

    async def pump(self, sink: Callable[[bytes], bool]) -> bool:
        """Hand each piece to `sink` until that says False; True at the end."""
        while piece := await self.read():
            if not sink(piece):
                return False
        return True

    async def read_whole(self, limit: int) -> bytes:
        """The whole body; Fault PROVIDER_ERROR beyond `limit` bytes."""
        body = bytearray()
        while piece := await self.read():
            body += piece
            if len(body) > limit:
                self.cancel()
                raise Fault(Kind.PROVIDER_ERROR, "The provider's reply is larger than this gateway takes in.")
        return bytes(body)

    def cancel(self) -> None:
        """Write no more and end any pause."""
        self._cancelled.set()

    async def _silence(self, seconds: float) -> None:
        """Pause until the gateway's patience ends."""
        await self._rest(min(seconds, self._idle_s))
        if seconds > self._idle_s and not self._cancelled.is_set():
            raise Fault(
                Kind.PROVIDER_TIMEOUT, "The provider fell silent in the middle of its reply. Try again."
            )

    async def _rest(self, seconds: float) -> None:
        """Sleep unless cancelled; without seconds, let others run, as a socket would."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._cancelled.wait()


async def _first_byte(slow_s: float, limits: TimeLimits) -> None:
    """Wait as the trick says, but no longer than the gateway would."""
    seconds = min(slow_s, WAIT_S_MAX)
    if seconds > limits.first_byte_s:
        await asyncio.sleep(limits.first_byte_s)
        raise Fault(Kind.PROVIDER_TIMEOUT, "The provider did not answer in time. Try again.")
    if seconds > 0:
        await asyncio.sleep(seconds)


def _plain(status: int, body: bytes) -> Reply:
    return Reply(status, _JSON, iter([body]))


def _failed(status: int) -> Reply:
    """The error that a trick asked for."""
    usual = "server_error" if status >= _SERVER_ERRORS else "invalid_request_error"
    type_, code = _ERRORS.get(status, (usual, None))
    body = write_error(f"The sandbox was told to answer with status {status}.", type_, code=code)
    headers = {**_JSON, "retry-after": str(_RETRY_AFTER_S)} if status in (429, 503) else _JSON
    return Reply(status, headers, iter([body]))


def _reported(answer: Answer, tricks: Tricks) -> Usage | None:
    if tricks.nousage:
        return None
    return usage_of(answer) if tricks.usage is None else false_usage(tricks.usage)


def _cut() -> Fault:
    return Fault(Kind.PROVIDER_CUT, "The provider broke off in the middle of its reply. Try again.")


def _plain_steps(answer: Answer, tricks: Tricks) -> Iterator[_Step]:
    """The body at once, or half of it and then what the tricks ask for."""
    body = write_plain(answer, _reported(answer, tricks))
    if tricks.cut is None and not tricks.stall:
        yield body
        return
    half = len(body) // 2
    yield body[:half]
    if tricks.stall:
        yield _Pause(min(tricks.stall, WAIT_S_MAX))
    yield body[half:] if tricks.cut is None else _cut()


def _stream_steps(answer: Answer, request: Request, tricks: Tricks) -> Iterator[_Step]:
    """The chunks with the pause in their middle, and the break in place of their end."""
    wanted = request.stream_options is not None and bool(request.stream_options.include_usage)
    stream = Stream(answer, _reported(answer, tricks) if wanted else None)
    pieces = stream.pieces()[: tricks.cut]
    half = len(pieces) // 2
    yield from stream.head()
    for piece in pieces[:half]:
        yield stream.chunk(*piece)
    if tricks.stall:
        yield _Pause(min(tricks.stall, WAIT_S_MAX))
    for piece in pieces[half:]:
        yield stream.chunk(*piece)
    if tricks.cut is None:
        yield from stream.tail()
    else:
        yield _cut()
