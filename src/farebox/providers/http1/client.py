"""The real way out: requests to providers over pooled HTTP/1.1 connections."""

from __future__ import annotations

import ssl

from farebox.providers.http1 import faults
from farebox.providers.http1.origin import Origin
from farebox.providers.http1.pool import Pool, PoolLimits
from farebox.providers.http1.proxy import Proxies
from farebox.providers.http1.reply import Reply
from farebox.providers.http1.request import Template, make_template, write_head
from farebox.providers.upstream import Endpoint, Outgoing

_TEMPLATES_MAX = 1024  # Of endpoints and paths in use; an old key is forgotten with its template.
_DIRECT = Proxies()
_USUAL = PoolLimits()


class HttpUpstream:
    """An `Upstream` over the network. Redirects are not followed: a 3xx is a reply like any other."""

    def __init__(
        self,
        proxies: Proxies = _DIRECT,
        pool_limits: PoolLimits = _USUAL,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls` replaces the system's trust store."""
        self._proxies = proxies
        self._pool_limits = pool_limits
        self._tls = tls
        self._pools: dict[Origin, Pool] = {}
        self._templates: dict[tuple[object, ...], tuple[Template, Pool]] = {}
        self._closed = False

    async def send(self, endpoint: Endpoint, outgoing: Outgoing) -> Reply:
        """Send one request and wait for the head of its reply; a provider's Fault if none comes."""
        key = (endpoint, outgoing.path, outgoing.method, outgoing.stream, outgoing.headers)
        template, pool = self._templates.get(key) or self._prepare(key, endpoint, outgoing)
        head = write_head(template, outgoing)
        connection = pool.find_idle()
        if connection is not None:
            reply = await connection.exchange(head, outgoing.body, endpoint.limits, stream=outgoing.stream)
            # A provider may close an unused connection at the very moment we use it. Then no byte of a reply comes,
            # and sending again over a fresh connection, once, is what RFC 9110, 9.2.2 and 9112, 9.3.1 have in mind.
            if not reply.stale:
                return _begun(reply)
        connection = await pool.connect(endpoint.limits)
        return _begun(await connection.exchange(head, outgoing.body, endpoint.limits, stream=outgoing.stream))

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for pool in self._pools.values():
            await pool.close()

    def _prepare(
        self, key: tuple[object, ...], endpoint: Endpoint, outgoing: Outgoing
    ) -> tuple[Template, Pool]:
        if self._closed:
            raise faults.closing()
        if len(self._templates) >= _TEMPLATES_MAX:
            self._templates.clear()
        template = make_template(endpoint, outgoing, self._proxies)
        origin = template.origin
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, template.proxy, self._pool_limits, self._get_tls)
        prepared = self._templates[key] = (template, pool)
        return prepared

    def _get_tls(self) -> ssl.SSLContext:
        # Made on first use: reading the trust store takes tens of milliseconds and megabytes.
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


def _begun(reply: Reply) -> Reply:
    if not reply.status and reply.fault is not None:
        raise reply.fault
    return reply
