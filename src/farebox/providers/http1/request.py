"""The head of a request, built from nothing: no header of a caller passes, and nothing can break out of its line.

What stays the same for an endpoint and a path is made once (`make_template`); a call adds its content type and length.
"""

from __future__ import annotations

import re

import msgspec

from farebox.providers.http1.origin import Origin, check_target, split_base
from farebox.providers.http1.proxy import Proxies, Proxy, find_proxy
from farebox.providers.upstream import Endpoint, Outgoing

_JSON = "application/json"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # token, RFC 9110, 5.6.2
_VALUE = re.compile(r"[\t !-~\x80-\xff]*")  # field-value: no CR, LF or NUL
_METHOD = re.compile(r"[A-Z]+")
# These frame the message or belong to the connection, so they are ours alone.
_OURS = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "upgrade"),
        *("content-length", "content-type", "transfer-encoding", "expect", "host"),
    }
)


class Template(msgspec.Struct, frozen=True):
    """The constant part of the requests to one endpoint and path with the same headers of their own."""

    origin: Origin
    proxy: Proxy | None
    head: bytes  # Request line and headers; the blank line is still to come.

    def __repr__(self) -> str:
        """Name the origin without what is sent there: the head holds a key."""
        return f"Template({self.origin!r})"


def make_template(endpoint: Endpoint, outgoing: Outgoing, proxies: Proxies) -> Template:
    """Write the constant part of a request. ValueError, without the value, where a header or the path is unsafe.

    `accept-encoding` is identity for streams and plain replies alike: inflating costs more CPU than the few kilobytes
    of a reply are worth, and some servers hold events back to compress them together. What comes compressed all the
    same is inflated.
    """
    origin, base_path = split_base(endpoint.base_url)
    proxy = find_proxy(proxies, origin)
    target = check_target(base_path + outgoing.path)
    if _METHOD.fullmatch(outgoing.method) is None:
        raise ValueError("a method is written in capital letters")
    through = (
        proxy is not None and not origin.secure
    )  # Then the proxy must be told the whole URL (RFC 9112, 3.2.2).
    lines = [
        f"{outgoing.method} {f'http://{origin.authority}{target}' if through else target} HTTP/1.1",
        f"host: {origin.authority}",
        "user-agent: farebox",
        f"accept: {'text/event-stream' if outgoing.stream else '*/*'}",
        "accept-encoding: identity",
    ]
    if through and proxy is not None and proxy.authorization is not None:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    lines += _write_headers(_credential(endpoint) + endpoint.headers + outgoing.headers)
    return Template(origin, proxy, "".join(f"{line}\r\n" for line in lines).encode("latin-1"))


def write_head(template: Template, outgoing: Outgoing) -> bytes:
    """The whole head of one request, blank line included. ValueError where its content type is unsafe."""
    length = len(outgoing.body)
    if outgoing.content_type == _JSON and length:
        return template.head + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % length
    lines: list[str] = []
    if length:
        if _VALUE.fullmatch(outgoing.content_type) is None:
            raise ValueError("the content type holds a character that no header may hold")
        lines.append(f"content-type: {outgoing.content_type}")
    if length or outgoing.method != "GET":
        lines.append(f"content-length: {length}")
    return template.head + "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _credential(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    if endpoint.api_key is None:
        return ()
    bearer = endpoint.auth_header.lower() == "authorization"
    return ((endpoint.auth_header, f"Bearer {endpoint.api_key}" if bearer else endpoint.api_key),)


def _write_headers(headers: tuple[tuple[str, str], ...]) -> list[str]:
    for name, value in headers:
        if _NAME.fullmatch(name) is None or name.lower() in _OURS:
            raise ValueError(f"{name!r} cannot be the name of a header here")
        if _VALUE.fullmatch(value) is None:
            raise ValueError(f"the header {name!r} holds a character that no header may hold")
    return [f"{name.lower()}: {value}" for name, value in headers]
