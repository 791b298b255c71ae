"""Stand-ins for who is told: a receiver of webhooks and a mail server, both on loopback and in the test's own loop."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage
from typing import Any

import msgspec


class Posted(msgspec.Struct, frozen=True):
    """One request that came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Receiver:
    """Answers every POST with the next of `answers`, the last one for ever; an answer is bytes, None is silence."""

    def __init__(self) -> None:
        self.port = 0
        self.posted: list[Posted] = []
        self.connections = 0
        self.answers: list[bytes | None] = [b"HTTP/1.1 204 No Content\r\n\r\n"]

    async def came(self, count: int = 1, *, kind: str | None = None, wait_s: float = 10) -> list[Posted]:
        """The first so many posts, of that kind if one is named, when they are here."""
        async with asyncio.timeout(wait_s):
            while (
                len(found := [one for one in self.posted if kind is None or one.json["type"] == kind]) < count
            ):
                await asyncio.sleep(0.02)
        return found[:count]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.splitlines()
        headers = {
            name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest) if name
        }
        body = await reader.readexactly(int(headers["content-length"]))
        self.posted.append(Posted(line, headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await reader.read()  # Until whoever asked has had enough.
            return
        writer.write(answer)
        await writer.drain()


class MailServer:
    """Takes mail by SMTP. `refused` are addresses it does not take; with `login` nobody else may send."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.tls = tls
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.refused: dict[str, int] = {}
        self.said: list[str] = []  # Every command, so that a test can see what went in the clear.

    async def came(self, count: int = 1, *, wait_s: float = 10) -> list[EmailMessage]:
        """The first so many mails, when they are here."""
        async with asyncio.timeout(wait_s):
            while len(self.mails) < count:
                await asyncio.sleep(0.02)
        return self.mails[:count]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = False

        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 mail.test ESMTP")
        while command := (await reader.readline()).decode().strip():
            self.said.append(command)
            verb = command.partition(" ")[0].upper()
            if verb == "EHLO":
                offer = "STARTTLS" if self.tls and not secure else "AUTH PLAIN"
                writer.write(f"250-mail.test\r\n250 {offer}\r\n".encode())
            elif verb == "STARTTLS" and self.tls:
                say("220 go on")
                await writer.start_tls(self.tls)
                secure = True
            elif verb == "RCPT" and (code := self.refused.get(command.partition("<")[2].partition(">")[0])):
                say(f"{code} no")
            elif verb == "DATA":
                say("354 go on")
                self._take(await reader.readuntil(b"\r\n.\r\n"))
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("235 welcome" if verb == "AUTH" else "250 ok")

    def _take(self, data: bytes) -> None:
        raw = data.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.raw.append(raw)
        self.mails.append(message)


@asynccontextmanager
async def serve_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    async with _serving(receiver.serve, tls) as receiver.port:
        yield receiver


@asynccontextmanager
async def serve_mail(
    tls: ssl.SSLContext | None = None, *, at_once: bool = False
) -> AsyncIterator[MailServer]:
    """A mail server on a free port; TLS by STARTTLS, or `at_once`."""
    server = MailServer(None if at_once else tls)
    async with _serving(server.serve, tls if at_once else None) as server.port:
        yield server


@asynccontextmanager
async def _serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None
) -> AsyncIterator[int]:
    visits: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        visits.add(task)
        # Whoever rings and leaves is no failure of the test's.
        with suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(visit, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*visits)
