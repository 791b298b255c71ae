"""Splicing one JSON object: values of its own members are replaced where they stand, every other byte stays as it was.

A relay promises its caller the provider's bytes but for a few declared members. Decoding and encoding again would keep
the meaning and lose the bytes; looking for `"id":` alone would find it in a nested object as well. So the object is
decoded for its members, in order, each with its value as written; a name that stands in the text once stands where the
member does, and where it stands more often, the text is walked along the members.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

# What decoding a stranger's JSON raises.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SPACE = re.compile(rb"[ \t\r\n]*")
_BLANK = ord(" ")  # And above every other space.
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode
_KEYS = {name: _encode(name) for name in ("id", "model", "usage")}  # Those a relay asks for in every reply.

Places = dict[str, tuple[int, int]]  # Where the values of members begin and end.


class Layout(NamedTuple):
    """An object inside a text."""

    text: bytes
    start: int
    end: int
    members: Mapping[str, msgspec.Raw]

    def value(self, name: str) -> bytes:
        """A member's value as written; empty if there is no such member."""
        raw = self.members.get(name)
        return b"" if raw is None else bytes(raw)

    def ends_before(self, names: tuple[str, ...], at: int) -> bool:
        """Whether all these members are there, and stand before this place in the text."""
        places = self._find(names)
        return places is not None and all(name in places and places[name][1] <= at for name in names)

    def replaced(self, news: Mapping[str, bytes]) -> bytes:
        """The text with these values instead; a member that is not there is put in front.

        An object that says a name twice, or in escapes, is written anew first: then each stands there once.
        """
        places = self._find(news)
        if places is None:
            anew = self.text[: self.start] + _encode(self.members) + self.text[self.end :]
            return lay_out(anew, self.start, self.start + len(_encode(self.members))).replaced(news)
        text, at, pieces = self.text, 0, []
        if len(places) < len(news):
            at = _after_space(text, self.start) + 1
            added = [b"%b:%b" % (_encode(name), new) for name, new in news.items() if name not in places]
            pieces = [text[:at], b",".join(added), b"," if self.members else b""]
        for start, end, name in sorted([(*place, name) for name, place in places.items()]):
            pieces += (text[at:start], news[name])
            at = end
        pieces.append(text[at:])
        return b"".join(pieces)

    def _find(self, names: Mapping[str, bytes] | tuple[str, ...]) -> Places | None:
        text, members = self.text, self.members
        places = {}
        for name in names:
            raw = members.get(name)
            if raw is not None:
                key = _KEYS.get(name) or _encode(name)
                place = text.find(key, self.start)
                if place < 0 or text.find(key, place + 1) >= 0:
                    return self._walk(names)
                start, value = _after_colon(text, place + len(key)), bytes(raw)
                if not text.startswith(value, start):
                    return self._walk(names)
                places[name] = start, start + len(value)
        return places

    def _walk(self, names: Mapping[str, bytes] | tuple[str, ...]) -> Places | None:
        """Look at every member in its turn; None if they are not those that were decoded."""
        text, at = self.text, _after_space(self.text, self.start) + 1
        places = {}
        for name, raw in self.members.items():
            at = _after_space(text, at)
            key, value = _encode(name), bytes(raw)
            if not text.startswith(key, at):
                return None
            start = _after_colon(text, at + len(key))
            if not text.startswith(value, start):
                return None
            places[name] = start, start + len(value)
            at = _after_space(text, start + len(value)) + 1
        whole = text.startswith(b"}", at - 1)
        return {name: places[name] for name in names if name in places} if whole else None


def lay_out(text: bytes, start: int, end: int) -> Layout:
    """Decode the members of the object that `text` is from `start` to `end`. Raises one of UNREADABLE if it is none."""
    return Layout(text, start, end, _members.decode(text[start:end]))


def _after_colon(text: bytes, at: int) -> int:
    if text.startswith(b":", at) and text[at + 1] > _BLANK:
        return at + 1
    return _after_space(text, _after_space(text, at) + 1)


def _after_space(text: bytes, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()
