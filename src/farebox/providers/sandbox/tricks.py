"""Magic prompts, as test cards: a line of the last user message that makes the sandbox misbehave to order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from farebox.providers.sandbox.request import MalformedError

WAIT_S_MAX = 120.0  # Longer than any sensible first-byte limit, short enough that a forgotten one ends.
LONG_MAX = 100_000  # Tokens of one answer, all choices together: 400 kB.

TRICKS: Mapping[str, str] = MappingProxyType(
    {
        "error": "`sandbox:error 429` replies with that status (400 to 599) and an error body; 429 and 503 say when "
        "to retry.",
        "slow": "`sandbox:slow 5` waits so many seconds before the first byte, at most 120.",
        "long": "`sandbox:long 2000` writes so many tokens, at most 100000 and never above the caller's limit.",
        "cut": "`sandbox:cut 3` breaks the stream off after so many chunks of content, or a plain reply halfway.",
        "stall": "`sandbox:stall 2` pauses so many seconds in the middle of the reply, at most 120.",
        "nousage": "`sandbox:nousage` reports no usage.",
        "usage": "`sandbox:usage -5` reports that number as prompt and as completion tokens.",
        "empty": "`sandbox:empty` answers with nothing at all.",
        "refuse": "`sandbox:refuse` refuses in a sentence, as a model does.",
    }
)

_Seconds = Annotated[float, Meta(ge=0)]


class Tricks(Struct, frozen=True):
    """What the magic prompts of one request ask for; each field is named as its prompt."""

    error: Annotated[int, Meta(ge=400, le=599)] | None = None
    slow: _Seconds = 0.0  # Seconds.
    long: Annotated[int, Meta(ge=1)] | None = None  # Tokens.
    cut: Annotated[int, Meta(ge=0)] | None = None  # Chunks.
    stall: _Seconds = 0.0  # Seconds.
    nousage: bool = False
    usage: int | None = None
    empty: bool = False
    refuse: bool = False


_FLAGS = frozenset({"nousage", "empty", "refuse"})
_NONE = Tricks()
_CARD = re.compile(
    rf"^sandbox:({'|'.join(TRICKS)})\b(?:[ \t]+(-?[0-9]{{1,15}}(?:\.[0-9]{{1,6}})?)(?!\S))?.*$\n?",
    re.MULTILINE,
)


def read_tricks(text: str) -> tuple[Tricks, str]:
    """The tricks of a user's text and the text without them; MalformedError if a number is missing or absurd."""
    if "sandbox:" not in text:
        return _NONE, text
    asked: dict[str, str | bool] = {}
    for card in _CARD.finditer(text):
        name, number = card.groups()
        if name not in _FLAGS and number is None:
            raise MalformedError(
                f"The magic prompt sandbox:{name} needs a number: {TRICKS[name]}", "messages"
            )
        asked[name] = True if name in _FLAGS else number
    try:
        tricks = msgspec.convert(asked, Tricks, strict=False)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        raise MalformedError(
            f"The magic prompt sandbox:{name} cannot do that: {TRICKS[name]}", "messages"
        ) from None
    return tricks, _CARD.sub("", text).strip()
