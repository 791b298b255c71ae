"""Say: what a call says to each of its routes, settled before any money moves.

Where caller and provider speak the same dialect and nothing rewrote the prompt, the bytes go as they came. Elsewhere
the prompt is read once, and fitted once for each dialect: what a provider cannot be told is refused by its name here,
before the hold, and never left to a provider's 400.
"""

from __future__ import annotations

from msgspec.structs import replace

from farebox.core.errors import Fault
from farebox.dialects.conversation import Prompt
from farebox.dialects.dialect import Dialect
from farebox.gateway.call import Call, Route
from farebox.gateway.prompt_cache import place_marks
from farebox.providers.quirks import apply_quirks
from farebox.providers.upstream import Outgoing

_LIMIT_UNKNOWN = 8_192  # Tokens, where a provider must be told a limit, and nobody knows the model's.


class Sayings:
    """One call in the words of its routes."""

    __slots__ = ("_anew", "_fitted", "_lost", "_made", "_read", "call")

    def __init__(self, call: Call) -> None:
        self.call = call
        self._anew = call.rewritten or call.head.sealed
        self._read: Prompt | None = None
        self._fitted: dict[str, Prompt] = {}
        # By the route: what was lost to quirks, and a request that was written early to know it.
        self._lost: dict[int, tuple[str, ...]] = {}
        self._made: dict[int, Outgoing] = {}

    def speakable(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """The routes whose dialect can say this call; the first Fault BAD_REQUEST if none can."""
        if not self._anew and len(routes) == 1 and not self._writes(routes[0]):
            return routes  # Most calls: one route, and a relay.
        found: list[Route] = []
        refused: Fault | None = None
        for route in routes:
            try:
                if self._writes(route):
                    self._fit(route.provider.dialect)
                found.append(route)
            except Fault as fault:
                refused = refused or fault
        if refused is not None and not found:
            raise refused
        return tuple(found)

    def limit(self, call: Call) -> None:
        """Take the call with a limit of the gateway's own instead, set since its prompt was read."""
        self.call = call
        self._fitted.clear()
        if self._read is not None:
            self._read = _with_limit(self._read, call)

    def outgoing(self, route: Route) -> Outgoing:
        """The request to a route's provider."""
        if self._made and (made := self._made.pop(id(route), None)) is not None:
            return made
        call, provider = self.call, route.provider
        target, stream = provider.dialect, call.head.stream
        if self._writes(route):
            prompt = _limited(self._fit(target), route)
            if call.head.cache and provider.takes_marks:
                prompt = place_marks(prompt)
            body = target.write_prompt(prompt, route.upstream_model, ask_usage=provider.stream_usage)
        else:
            body = target.write_relayed(
                call.body, route.upstream_model, call.head, ask_usage=provider.stream_usage
            )
        if route.quirks and (target is not call.dialect or any(not quirk.abroad for quirk in route.quirks)):
            adapted = apply_quirks(body, route.quirks, abroad=target is not call.dialect)
            body, self._lost[id(route)] = adapted.body, adapted.dropped
        path = target.path(route.upstream_model, stream=stream)
        return Outgoing(path, body, stream=stream, headers=headers_for(call, target))

    def dropped(self, route: Route) -> tuple[str, ...]:
        """The members that do not arrive at this route's provider."""
        if route.quirks and route.provider.dialect is not self.call.dialect and id(route) not in self._lost:
            # The headers of a stream are ready before it is asked for, and only the written body tells this.
            self._made[id(route)] = self.outgoing(route)
        dropped = self.call.head.dropped
        if self._lost:
            dropped += self._lost.get(id(route), ())
        return (*dropped, *self._fit(route.provider.dialect).dropped) if self._writes(route) else dropped

    def _writes(self, route: Route) -> bool:
        """Whether the prompt is written anew for this route; else its bytes go as they came."""
        call, provider = self.call, route.provider
        if provider.dialect is not call.dialect or self._anew:
            return True
        return call.head.cache and provider.takes_marks

    def _fit(self, dialect: Dialect) -> Prompt:
        fitted = self._fitted.get(dialect.name)
        if fitted is None:
            fitted = self._fitted[dialect.name] = dialect.fit_prompt(self._prompt())
        return fitted

    def _prompt(self) -> Prompt:
        if self._read is None:
            call = self.call
            prompt = replace(call.dialect.read_prompt(call.body), stream=call.head.stream or None)
            self._read = _with_limit(prompt, call)
        return self._read


def headers_for(call: Call, target: Dialect) -> tuple[tuple[str, str], ...]:
    """What a dialect's providers are told in headers; a caller of the same one may say some of it otherwise."""
    if target is not call.dialect or not call.head.headers:
        return target.headers
    return tuple((dict(target.headers) | dict(call.head.headers)).items())


def _with_limit(prompt: Prompt, call: Call) -> Prompt:
    """A prompt with the limit that the gateway set, if it set one."""
    if not call.head.limited:
        return prompt
    return replace(prompt, output=replace(prompt.output, limit=call.head.output_limit, limit_member=None))


def _limited(prompt: Prompt, route: Route) -> Prompt:
    """A prompt that says how long its answer may be, where its provider must be told."""
    if prompt.output.limit is not None or not route.provider.dialect.needs_limit:
        return prompt
    limit = route.listing.max_output or _LIMIT_UNKNOWN
    return replace(prompt, output=replace(prompt.output, limit=limit))
