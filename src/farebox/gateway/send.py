"""Send: ask providers in order until one has something to say.

The next route is tried only before the first meaningful chunk, only for what another provider may do better
(`Row.next_route`), and at most TRIES_MAX times in all; never for the caller's own fault, which every provider would
refuse. An error body of a provider is never output: it is read only to tell whose fault it was.
"""

from __future__ import annotations

from farebox.core.clock import Clock
from farebox.core.errors import Fault, Kind
from farebox.dialects.dialect import Names
from farebox.gateway.call import Answer, Attempt, Call, Exchange, Route
from farebox.gateway.profiles import reply_model
from farebox.gateway.relay import RelayedReply, RelayedStream
from farebox.gateway.translate import TranslatedAnswer
from farebox.providers.refusals import read_refusal
from farebox.providers.upstream import Incoming, Outgoing

TRIES_MAX = 2
REPLY_BYTES_MAX = 64 << 20
REFUSAL_BYTES_MAX = 64 << 10
_FIRST_BAD_STATUS = 300  # Nothing is redirected: a provider that moved is misconfigured.


async def send(call: Call, routes: tuple[Route, ...], attempts: list[Attempt], clock: Clock) -> Exchange:
    """The first reply that has something to say; else the last provider's Fault. Notes every try in `attempts`."""
    for tried, route in enumerate(routes[: max(TRIES_MAX, 1 + len(call.head.fallback_models))], start=1):
        began_s = clock.monotonic_s()
        try:
            exchange = await _try(call, route)
        except Fault as fault:
            _note(attempts, route, fault, clock.monotonic_s() - began_s)
            if not fault.kind.row.next_route or tried == len(routes) or tried >= TRIES_MAX:
                raise
        else:
            _note(attempts, route, None, clock.monotonic_s() - began_s)
            return exchange
    raise AssertionError("the last route either answers or raises")


async def _try(call: Call, route: Route) -> Exchange:
    incoming = await route.provider.upstream.send(route.provider.endpoint, _outgoing(call, route))
    try:
        return Exchange(route, incoming, await _begun(call, route, incoming))
    except Fault as fault:
        incoming.cancel()
        if fault.kind is not Kind.PROVIDER_CUT:
            raise
        # Cut before it said anything: the next provider may be asked.
        raise Fault(
            Kind.PROVIDER_ERROR, "The model's provider failed before it answered. Try again."
        ) from fault
    except BaseException:
        incoming.cancel()
        raise


async def _begun(call: Call, route: Route, incoming: Incoming) -> Answer:
    """The answer once it has something to say; a provider's Fault if it never has."""
    if incoming.status >= _FIRST_BAD_STATUS:
        body = await incoming.read_whole(REFUSAL_BYTES_MAX)
        raise read_refusal(incoming.status, incoming.headers, body, secrets=_secrets_of(route))
    answer = _answer(call, route)
    if call.head.stream:
        await _read_to_content(incoming, answer)
    else:
        answer.feed(await incoming.read_whole(REPLY_BYTES_MAX))
        answer.close()
    # Of a plain answer nothing has left, whatever it said before it failed.
    if answer.fault is not None and not (call.head.stream and answer.events):
        raise answer.fault
    return answer


def _secrets_of(route: Route) -> tuple[str, ...]:
    """What no customer may read, should the provider echo it: our key, and where the provider is."""
    endpoint = route.provider.endpoint
    host = endpoint.base_url.partition("://")[2].partition("/")[0]
    return tuple(secret for secret in (endpoint.api_key, host, host.partition(":")[0]) if secret)


async def _read_to_content(incoming: Incoming, answer: Answer) -> None:
    """Read until a meaningful chunk, the finish, or the end: from then on this route it is."""
    while not (answer.events or answer.finished or answer.ended):
        piece = await incoming.read()
        if piece:
            answer.feed(piece)
        else:
            answer.close()


def _outgoing(call: Call, route: Route) -> Outgoing:
    target = route.provider.dialect
    if must_translate(call, route):
        body = target.write_prompt(call.dialect.read_prompt(call.body), route.upstream_model)
    else:
        body = target.write_relayed(
            call.body, route.upstream_model, call.head, ask_usage=route.provider.stream_usage
        )
    return Outgoing(target.path, body, stream=call.head.stream)


def must_translate(call: Call, route: Route) -> bool:
    """Relay only where both sides speak the same dialect and nothing rewrote the prompt."""
    return call.dialect.name != route.provider.dialect.name or call.rewritten


def _answer(call: Call, route: Route) -> Answer:
    names = names_of(call)
    if must_translate(call, route):
        return TranslatedAnswer(route.provider.dialect, call.dialect, call.head, names)
    relayed = RelayedStream if call.head.stream else RelayedReply
    return relayed(call.dialect, call.head, names)


def names_of(call: Call) -> Names:
    """How the caller knows this answer."""
    return Names(
        id=call.dialect.reply_id(call.id),
        model=reply_model(call.profile, call.head.model),
        created_s=call.began_us // 1_000_000,
    )


def _note(attempts: list[Attempt], route: Route, fault: Fault | None, took_s: float) -> None:
    attempts.append(
        Attempt(
            provider=route.provider.endpoint.provider,
            model=route.upstream_model,
            status=fault.status if fault else 200,
            error=fault.code if fault else None,
            latency_ms=round(took_s * 1000),
        )
    )
