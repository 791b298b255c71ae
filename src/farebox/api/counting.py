"""Counting tokens, in Anthropic's words and in Google's: free, for any model, and no call in the key's window."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from farebox.api.inference import check_body, open_call
from farebox.api.visit import JSON, Visit
from farebox.dialects.anthropic import count as anthropic
from farebox.dialects.dialect import Asked, Dialect
from farebox.dialects.gemini import count as gemini
from farebox.dialects.splice import UNREADABLE
from farebox.gateway.admit import authenticate, check_grant
from farebox.gateway.count import Counter, count_tokens
from farebox.gateway.house import House

ANTHROPIC_COUNTER = Counter(
    anthropic.count_path, anthropic.write_count, anthropic.read_count, anthropic.write_counted
)
GEMINI_COUNTER = Counter(gemini.count_path, gemini.write_count, gemini.read_count, gemini.write_counted)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ONE = msgspec.Raw(b"1")


def messages_to_count(body: bytes) -> bytes:
    """A body for count_tokens as one for messages: it names no limit, since nothing is answered."""
    try:
        members = _members.decode(body)
    except UNREADABLE:
        return body  # The reader of the call says what is wrong with it.
    members.setdefault("max_tokens", _ONE)
    return msgspec.json.encode(members)


def contents_to_count(body: bytes) -> bytes:
    """A body for countTokens as one for generateContent: the whole request may stand inside."""
    try:
        members = _members.decode(body)
        inside = members.get("generateContentRequest") or members.get("generate_content_request")
    except UNREADABLE:
        return body
    return body if inside is None else bytes(inside)


class Counting:
    """The surfaces that count for one dialect; `as_call` makes a count's body the body of a call."""

    def __init__(
        self,
        house: House,
        dialect: Dialect,
        counter: Counter,
        read_asked: Callable[[Visit], Asked],
        as_call: Callable[[bytes], bytes],
    ) -> None:
        self._house = house
        self._dialect = dialect
        self._counter = counter
        self._read_asked = read_asked
        self._as_call = as_call

    async def handle(self, visit: Visit) -> None:
        """Check the caller and the prompt as a call's would be, then count."""
        house = self._house
        grant = visit.grant = authenticate(visit.secret(), house, counts=False)
        visit.headers += grant.headers
        check_grant(grant, visit.profile)
        check_body(visit.request)
        body = visit.request.body
        call = open_call(visit, self._dialect, self._as_call(body), self._read_asked(visit))
        tokens = await count_tokens(call, body, self._counter, house)
        visit.exchange.answer(200, visit.headers + JSON, self._counter.write_counted(tokens))
