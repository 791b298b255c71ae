"""Webhooks: a notice posted as JSON, signed as Standard Webhooks says, so that its receiver knows that it was us.

A customer chooses the address, so nothing is believed of it: https alone; the name is resolved once, every address it
has must be public, and the connection goes to the very address that was looked at; no redirect is followed, no proxy
asked, and of the answer nothing but its head is read. Ten seconds are for all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

import msgspec

from farebox.app.delivery.aside import aside
from farebox.billing.telling.notices import Notice
from farebox.billing.telling.outbox import Outcome, Recipient
from farebox.core.addresses import is_public
from farebox.core.clock import Clock

TOTAL_S = 10.0
HEAD_BYTES_MAX = 16 << 10
ADDRESSES_MAX = 3  # That are tried, of a host that has many.
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r]")
_GONE = 410  # Standard Webhooks: whoever answers so wants no more of it.
_HTTPS_PORT, _HTTP_PORT = 443, 80
_PREFIX = "whsec_"

Resolve = Callable[[str, int], list[str]]
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def resolve_host(host: str, port: int) -> list[str]:
    """Every address of a name. OSError or UnicodeError where there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Webhooks:
    """The channel of that name."""

    def __init__(
        self,
        clock: Clock,
        *,
        resolve: Resolve = resolve_host,
        is_allowed: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
        total_s: float = TOTAL_S,
    ) -> None:
        """`tls` replaces the system's trust store."""
        self._clock = clock
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._tls = tls
        self._total_s = total_s

    def reaches(self, recipient: Recipient) -> bool:
        """Whether a recipient has an address to post to."""
        return bool(recipient.webhook_url)

    async def send(self, recipient: Recipient, notice: Notice) -> Outcome:
        """Post a notice once."""
        url = urlsplit(recipient.webhook_url or "")
        if url.scheme != "https" and not recipient.private:
            return Outcome(delivered=False, answer="the address is not https", final=True)
        request = _request(
            url, _headers(recipient, notice, self._clock.now_us() // 1_000_000), _body(recipient, notice)
        )
        try:
            async with asyncio.timeout(self._total_s):
                addresses = await self._find_addresses(url, private=recipient.private)
                if not addresses:
                    return Outcome(delivered=False, answer="the address is not on the public internet")
                return _outcome(await self._post(url, addresses, request))
        except TimeoutError:
            return Outcome(delivered=False, answer=f"no answer within {self._total_s:g} s")
        except ssl.SSLError as error:
            return Outcome(delivered=False, answer=f"TLS failed: {error.reason or 'no reason'}")
        except (OSError, ValueError):  # ValueError: a name that is none.
            return Outcome(delivered=False, answer="the receiver could not be reached")

    async def _find_addresses(self, url: SplitResult, *, private: bool) -> list[str]:
        """The addresses of the host; none if any of them is one that only we could reach."""
        host, port = url.hostname or "", _port_of(url)
        found = await aside(lambda: self._resolve(host, port))
        return found if private or all(self._is_allowed(one) for one in found) else []

    async def _post(self, url: SplitResult, addresses: list[str], request: bytes) -> int | None:
        """The status of the answer; None if it is no HTTP."""
        reader, writer = await self._connect(url, addresses[:ADDRESSES_MAX])
        try:
            writer.write(request)
            await writer.drain()
            return await _read_status(reader)
        finally:
            writer.transport.abort()  # Nothing is owed to a receiver who would not let go.

    async def _connect(self, url: SplitResult, addresses: list[str]) -> _Streams:
        """A connection to the first of the addresses that takes one. OSError if none does."""
        tls = self._get_tls() if url.scheme == "https" else None
        name = url.hostname if tls else None
        *others, last = addresses
        for address in others:
            with contextlib.suppress(OSError):
                return await _open(address, _port_of(url), tls, name)
        return await _open(last, _port_of(url), tls, name)

    def _get_tls(self) -> ssl.SSLContext:
        # Made on first use: reading the trust store takes tens of milliseconds.
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def sign(secret: str, id_: str, timestamp_s: int, body: bytes) -> str:
    """The signature of Standard Webhooks, version 1. A secret that is not `whsec_` and base64 is taken as it is."""
    key = secret.encode()
    if secret.startswith(_PREFIX):
        try:
            key = b64decode(secret.removeprefix(_PREFIX), validate=True)
        except ValueError:
            key = secret.encode()
    signed = b"%b.%d.%b" % (id_.encode(), timestamp_s, body)
    return f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def _headers(recipient: Recipient, notice: Notice, now_s: int) -> dict[str, str]:
    headers = {"webhook-id": notice.id, "webhook-timestamp": str(now_s)}
    if recipient.webhook_secret:
        headers["webhook-signature"] = sign(
            recipient.webhook_secret, notice.id, now_s, _body(recipient, notice)
        )
    return headers


def _body(recipient: Recipient, notice: Notice) -> bytes:
    created = datetime.fromtimestamp(notice.created_us // 1_000_000, UTC)
    return msgspec.json.encode(
        {
            "id": notice.id,
            "type": notice.kind,
            "created": created.isoformat().replace("+00:00", "Z"),
            "account": recipient.name,
            "data": notice.data,
            "subject": notice.subject,
            "text": notice.text,
        }
    )


def _request(url: SplitResult, headers: dict[str, str], body: bytes) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [
        f"POST {target} HTTP/1.1",
        f"host: {url.netloc}",
        "user-agent: farebox",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "accept: */*",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii") + body


def _port_of(url: SplitResult) -> int:
    return url.port or (_HTTPS_PORT if url.scheme == "https" else _HTTP_PORT)


async def _open(address: str, port: int, tls: ssl.SSLContext | None, name: str | None) -> _Streams:
    return await asyncio.open_connection(address, port, ssl=tls, server_hostname=name, limit=HEAD_BYTES_MAX)


async def _read_status(reader: asyncio.StreamReader) -> int | None:
    """The status of the final answer; what is said before it (1xx) is passed over."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        match = _STATUS.match(head)
        if match is None:
            return None
        status = int(match[1])
        if status >= 200:  # noqa: PLR2004 -- below it an answer is only announced
            return status


def _outcome(status: int | None) -> Outcome:
    if status is None:
        return Outcome(delivered=False, answer="the receiver's answer is no HTTP")
    delivered = 200 <= status < 300  # noqa: PLR2004 -- the statuses of success
    moved = "; redirects are not followed" if 300 <= status < 400 else ""  # noqa: PLR2004 -- of a redirect
    return Outcome(delivered, f"answered {status}{moved}", final=status == _GONE)
