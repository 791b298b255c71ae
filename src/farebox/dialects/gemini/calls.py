"""Which answer belongs to which call: Google's calls may lack ids, and then name and order tell.

A call without an id gets one of ours, the same whenever the same bytes are read, and goes home without it again.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from farebox.dialects.seal import unseal_id

_OURS: Final = "gemini_call_"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_REPLY_MAX = 40  # Characters of the reply's id: OpenAI takes 64 for the whole.


def reply_call_id(reply_id: str, at: int, said: str) -> str:
    """The id of a reply's call that has none; `said` stands in where the reply has no id either."""
    of = _UNSAFE.sub("", reply_id)[:_REPLY_MAX] or sha256(said.encode()).hexdigest()[:16]
    return f"{_OURS}{of}_{at}"


class Calls:
    """The calls of one conversation, in the order they are read."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._pending: list[tuple[str, str]] = []  # Id and name.
        self._made = 0

    def asked(self, given: str | None, name: str) -> str:
        """A call; its id."""
        call_id = self._new() if not given else unseal_id(given)[0]
        self._names[call_id] = name
        self._pending.append((call_id, name))
        return call_id

    def answered(self, given: str | None, name: str) -> tuple[str, bool]:
        """An answer: the id of its call, and whether there is such a call, of that name."""
        call_id = unseal_id(given)[0] if given else self._first(name)
        self._pending = [one for one in self._pending if one[0] != call_id]
        return call_id, self._names.get(call_id) == name

    def _first(self, name: str) -> str:
        return next((call_id for call_id, called in self._pending if called == name), None) or self._new()

    def _new(self) -> str:
        self._made += 1
        return f"{_OURS}{self._made}"

    @staticmethod
    def named(call_id: str) -> dict[str, object]:
        """The member that says an id, unless it is one of ours."""
        return {} if call_id.startswith(_OURS) else {"id": call_id}
