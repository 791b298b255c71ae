"""A caller's body on its way in: JSON of the right shape, or a Fault in their words; and what may not be in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.nesting import check_utf8

T = TypeVar("T")
# Why a member is refused: the two reasons that hold in every language.
COSTS: Final = "it costs money outside tokens and has no price here"
STATE: Final = "it names state kept at a provider, which belongs to no single customer"
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")


def decode_body(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a whole body; Fault BAD_REQUEST names what is wrong with it, and where."""
    check_utf8(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise no_json() from error


def no_json() -> Fault:
    """What is told to a caller whose body is none."""
    return Fault(
        Kind.BAD_REQUEST,
        "The request body is not valid JSON. Send one JSON object in UTF-8.",
        code="invalid_json",
    )


def invalid(error: msgspec.ValidationError, inside: str = "") -> Fault:
    """Put msgspec's message (`Expected …, got … - at `$.a[0].b``) into a caller's words.

    `inside`: the path of what was decoded, where that was not the whole body.
    """
    text, _, path = str(error).partition(" - at `$")
    param = (inside + path.rstrip("`").replace("[...]", "[]")).removeprefix(".")
    if text.startswith("Object missing required field"):
        member = text.split("`")[1]
        param = f"{param}.{member}" if param else member
        return Fault(Kind.BAD_REQUEST, f"{param} is missing.", param=param, code="missing_required_parameter")
    return Fault(
        Kind.BAD_REQUEST, f"{param or 'The request body'} is not right: {text}.", param=param or None
    )


def refused(member: str, reason: str) -> Fault:
    """What is told to a caller who asks for what is not sold here."""
    return Fault(Kind.BAD_REQUEST, f"{member} is not available: {reason}. Leave it out.", param=member)


def may_say(body: bytes, word: re.Pattern[bytes]) -> bool:
    """Whether a word may be in a JSON text: as it is, or hidden by an escaped letter."""
    return word.search(body) is not None or (b"\\u00" in body and _ESCAPED_LETTER.search(body) is not None)


class Suspects:
    """Members that never pass: some at the top of a body, and names of a provider's state anywhere inside it."""

    def __init__(
        self,
        top: Mapping[str, str],
        inside: Collection[str],
        free: frozenset[str],
        refuse: Callable[[str, str], Fault] = refused,
    ) -> None:
        """`top`: member → why. `free`: where names are the caller's own, such as schemas, nobody looks."""
        self._refuse = refuse
        self._top = top
        self._inside = inside
        self._free = free
        # Most bodies have none of these words; one search of the bytes says so before anything is decoded for it.
        self._word = re.compile('"(?:{})"'.format("|".join((*top, *inside))).encode())

    def check(self, body: bytes) -> None:
        """Fault BAD_REQUEST names the first that stands where it means something: inside a text it is harmless."""
        if not may_say(body, self._word):
            return
        try:
            whole = msgspec.json.decode(body)
        except msgspec.ValidationError as error:  # Valid JSON, but with a number that Python cannot hold.
            raise invalid(error) from error
        for name, reason in self._top.items():
            if whole.get(name) is not None:
                raise self._refuse(name, reason)
        for name in self._inside:
            if self._says(whole, name):
                raise self._refuse(name, STATE)

    def _says(self, value: object, name: str) -> bool:
        """Whether an object anywhere inside says something by that member; the body's depth is bounded by now."""
        if isinstance(value, dict):
            return value.get(name) is not None or any(
                self._says(inner, name) for key, inner in value.items() if key not in self._free
            )
        return isinstance(value, list) and any(self._says(inner, name) for inner in value)
