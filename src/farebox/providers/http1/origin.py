"""Where a base URL leads: scheme, host and port, and the path below which requests go."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

_DEFAULT_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[!-~]*")  # A request target holds neither spaces nor line ends (RFC 9112, 3.2).


class Origin(msgspec.Struct, frozen=True):
    """One place to connect to; connections are shared by everything with the same origin."""

    scheme: str
    host: str  # In lower case, an IPv6 address without its brackets.
    port: int

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port as a Host header says them, the default port left out."""
        if self.port == _DEFAULT_PORTS[self.scheme]:
            return self._bracketed
        return f"{self._bracketed}:{self.port}"

    @property
    def address(self) -> str:
        """Host and port, both always there, as CONNECT says them."""
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def split_base(base_url: str) -> tuple[Origin, str]:
    """Split a base URL into its origin and its path (no slash at the end). ValueError never repeats the URL."""
    if _VISIBLE.fullmatch(base_url) is None:
        raise ValueError("a base URL holds visible ASCII characters only")
    parts = urlsplit(base_url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("a base URL begins with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL holds no user or password; the key is a setting of its own")
    if parts.query or parts.fragment:
        raise ValueError("a base URL has no query and no fragment")
    parts.hostname.encode("idna")  # What the resolver would otherwise refuse in the middle of a call.
    port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    return Origin(parts.scheme, parts.hostname, port), parts.path.rstrip("/")


def check_target(target: str) -> str:
    """Give back a request target, or ValueError: nothing in it may end the request line."""
    if not target.startswith("/") or "#" in target or _VISIBLE.fullmatch(target) is None:
        raise ValueError(
            "a path begins with a slash and holds visible ASCII characters only; percent-encode the rest"
        )
    return target
