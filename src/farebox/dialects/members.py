"""The members of one JSON object on its way in: what is understood is taken, what is left goes home as written."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import Members

T = TypeVar("T")

TEXT = msgspec.json.Decoder(str)
FLAG = msgspec.json.Decoder(bool)
WHOLE = msgspec.json.Decoder(int)
NUMBER: msgspec.json.Decoder[int | float] = msgspec.json.Decoder(int | float)
LIST = msgspec.json.Decoder(list[msgspec.Raw])
SOME_TEXT: msgspec.json.Decoder[str] = msgspec.json.Decoder(Annotated[str, msgspec.Meta(min_length=1)])
RAW = msgspec.json.Decoder(msgspec.Raw)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = b"null"


class Fields:
    """One object's members, each taken at most once. A null is nowhere taken: it says nothing, and goes home."""

    def __init__(self, raw: bytes | msgspec.Raw, path: str) -> None:
        self.path = path
        self._members = _decoded(raw, _OBJECT, path or "The request body")

    def take(self, name: str, decoder: msgspec.json.Decoder[T]) -> T | None:
        """Take a member out; None if it is absent or null, Fault BAD_REQUEST if it is of another shape."""
        raw = self._members.get(name)
        if raw is None or bytes(raw) == _NULL:
            return None
        value = _decoded(raw, decoder, self.at(name))
        del self._members[name]
        return value

    def need(self, name: str, decoder: msgspec.json.Decoder[T]) -> T:
        """Take a member that must be there."""
        value = self.take(name, decoder)
        if value is None:
            path = self.at(name)
            raise Fault(
                Kind.BAD_REQUEST, f"{path} is missing.", param=path, code="missing_required_parameter"
            )
        return value

    def says(self, names: frozenset[str]) -> bool:
        """Whether any of these members is there; most bodies have few of those that could be."""
        return not names.isdisjoint(self._members)

    def find(self, name: str, decoder: msgspec.json.Decoder[T]) -> T | None:
        """Take a member only if it is of this shape; otherwise leave it where it is."""
        try:
            return self.take(name, decoder)
        except Fault:
            return None

    def items(self, name: str) -> list[msgspec.Raw]:
        """Take a list; an empty one says nothing, and goes home."""
        raw = self._members.get(name)
        found = self.take(name, LIST) or []
        if raw is not None and not found:
            self._members[name] = raw
        return found

    def open(self, name: str) -> Fields | None:
        """Take a member that is an object, and open it; anything else is left where it is."""
        raw = self._members.get(name)
        if raw is None or not bytes(raw).startswith(b"{"):
            return None
        del self._members[name]
        return Fields(raw, self.at(name))

    def at(self, name: str) -> str:
        """The path of a member, as a caller would write it."""
        return f"{self.path}.{name}" if self.path else name

    def left(self) -> Members:
        """What was not taken."""
        return tuple((name, bytes(raw)) for name, raw in self._members.items())

    @property
    def exhausted(self) -> bool:
        """Whether nothing that says something is left."""
        return all(bytes(raw) == _NULL for raw in self._members.values())


def written(members: Members) -> dict[str, msgspec.Raw]:
    """Members as the encoder takes them."""
    return {name: msgspec.Raw(raw) for name, raw in members}


def _decoded(raw: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T], path: str) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).partition(" - at ")[0]
        raise Fault(Kind.BAD_REQUEST, f"{path} is not right: {reason}.", param=path) from error
