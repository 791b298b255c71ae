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
from farebox.gateway.profiles import CodeStyle, reply_model
from farebox.gateway.relay import RelayedReply, RelayedStream
from farebox.gateway.say import Sayings
from farebox.gateway.translate import TranslatedAnswer
from farebox.providers.refusals import is_account_spent, read_refusal
from farebox.providers.upstream import Incoming

TRIES_MAX = 2
REPLY_BYTES_MAX = 64 << 20
REFUSAL_BYTES_MAX = 64 << 10
_JSON_TYPE, _EVENTS_TYPE = "application/json", "text/event-stream"
_FIRST_BAD_STATUS = 300  # Nothing is redirected: a provider that moved is misconfigured.


async def send(
    sayings: Sayings, routes: tuple[Route, ...], attempts: list[Attempt], clock: Clock
) -> Exchange:
    """The first reply that has something to say; else the last provider's Fault. Notes every try in `attempts`."""
    fallbacks = len(sayings.call.head.fallback_models)
    for tried, route in enumerate(routes[: max(TRIES_MAX, 1 + fallbacks)], start=1):
        began_s = clock.monotonic_s()
        try:
            exchange = await _try(sayings, route)
        except Fault as fault:
            _note(attempts, route, fault, clock.monotonic_s() - began_s)
            if not fault.kind.row.next_route or tried == len(routes) or tried >= TRIES_MAX:
                raise
        else:
            _note(attempts, route, None, clock.monotonic_s() - began_s)
            return exchange
    raise AssertionError("the last route either answers or raises")


async def _try(sayings: Sayings, route: Route) -> Exchange:
    incoming = await route.provider.upstream.send(route.provider.endpoint, sayings.outgoing(route))
    try:
        return Exchange(route, incoming, await _begun(sayings.call, route, incoming))
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
        raise refusal_of(route, incoming, await incoming.read_whole(REFUSAL_BYTES_MAX))
    answer = _answer(call, route, incoming)
    if call.head.stream:
        await _read_to_content(incoming, answer)
    else:
        answer.feed(await incoming.read_whole(REPLY_BYTES_MAX))
        answer.close()
    # Of a plain answer nothing has left, whatever it said before it failed.
    if answer.fault is not None and not (call.head.stream and answer.events):
        raise answer.fault
    return answer


def refusal_of(route: Route, incoming: Incoming, body: bytes) -> Fault:
    """What a provider's bad status means for the call."""
    if is_account_spent(incoming.status, body):
        route.provider.troubles.spent += 1
    return read_refusal(incoming.status, incoming.headers, body, secrets=_secrets_of(route))


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


def _answer(call: Call, route: Route, incoming: Incoming) -> Answer:
    source, names = route.provider.dialect, names_of(call)
    stream, form = call.head.stream, incoming.headers.get("content-type", "")
    # A few providers answer a stream in one piece or as a JSON array, or a plain call with events: what came is read
    # as what it is, and written as what was asked for.
    events = form.startswith(_EVENTS_TYPE)
    if source is not call.dialect or (form.startswith(_JSON_TYPE) if stream else events):
        return TranslatedAnswer(source.reader(stream=stream or events), call.dialect, call.head, names)
    relayed = RelayedStream if stream else RelayedReply
    return relayed(call.dialect, call.head, names)


def names_of(call: Call) -> Names:
    """How the caller knows this answer."""
    return Names(
        id=call.dialect.reply_id(call.id),
        model=reply_model(call.profile, call.head.model),
        created_s=call.began_us // 1_000_000,
        status_codes=call.profile.code_style is CodeStyle.STATUS,
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
