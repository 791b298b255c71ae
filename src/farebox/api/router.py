"""The router: which surface a request is for. Exact paths by a dictionary; the few with an id by their prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from farebox.api.http import Request
from farebox.api.visit import Surface
from farebox.core.errors import Fault, Kind
from farebox.gateway.profiles import BASES, PROFILES, STANDARD, Profile


class Router:
    """Finds surfaces. `hosts` maps a host name to the profile that its plain bases behave as."""

    def __init__(self, surfaces: Iterable[Surface], hosts: Mapping[str, str]) -> None:
        self._exact: dict[str, dict[str, Surface]] = {}
        for surface in surfaces:
            self._exact.setdefault(surface.path, {})[surface.method] = surface
        self._prefixes = sorted((path for path in self._exact if path.endswith("/")), key=len, reverse=True)
        self._hosts = {host.lower(): PROFILES[name] for host, name in hosts.items()}

    def find(self, request: Request) -> tuple[Surface, Profile, str]:
        """The surface, the profile it is to behave as, and the id in its path; Fault NOT_FOUND or WRONG_METHOD."""
        methods, rest = self._exact.get(request.path), ""
        if methods is None or request.path.endswith("/"):
            methods, rest = self._by_prefix(unquote(request.path))
        if methods is None:
            raise Fault(
                Kind.NOT_FOUND,
                f"There is nothing at {request.path[:200]!r}. Check the path and your client's base URL.",
            )
        surface = methods.get("GET" if request.method == "HEAD" else request.method)
        if surface is None:
            raise Fault(
                Kind.WRONG_METHOD, f"{request.method} is not possible here; use {self.allowed(request)}."
            )
        return surface, self._as_host(surface.profile, request), rest

    def allowed(self, request: Request) -> str:
        """The methods of whatever is at this request's path, for the `Allow` of a 405 (RFC 9110, 15.5.6)."""
        methods = self._exact.get(request.path) or self._by_prefix(unquote(request.path))[0] or {}
        return ", ".join(sorted([*methods, *(["HEAD"] if "GET" in methods else [])]))

    def profile_of(self, request: Request) -> Profile:
        """The profile whose form an answer to this request takes, whether there is a surface or not."""
        bases = [base for base in BASES if request.path.startswith(f"{base}/")]
        return self._as_host(BASES[max(bases, key=len)] if bases else STANDARD, request)

    def _by_prefix(self, path: str) -> tuple[dict[str, Surface] | None, str]:
        for prefix in self._prefixes:
            if path.startswith(prefix) and len(path) > len(prefix):
                return self._exact[prefix], path[len(prefix) :]
        return None, ""

    def _as_host(self, profile: Profile, request: Request) -> Profile:
        if not self._hosts or profile is not STANDARD:
            return profile
        host = request.headers.get(b"host", b"").decode("latin-1").partition(":")[0].lower()
        return self._hosts.get(host, profile)
