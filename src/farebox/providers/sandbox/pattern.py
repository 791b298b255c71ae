"""Short texts for a regular expression, written by walking the pattern once; nothing is ever matched.

Matching a stranger's pattern can take for ever, walking it cannot. What has no simple example (lookaround, back
references, word boundaries) gives None, and the caller does without. ECMA-262 is the dialect JSON Schema names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_LENGTH_MAX = 1000  # Characters of a pattern, and of the text for it.
_DEPTH_MAX = 32  # Groups within groups.
_BRACES = re.compile(r"\{(\d{1,6})(,?)(\d{0,6})\}")
_CONTROLS: Mapping[str, str] = {"n": "\n", "t": "\t", "r": "\r"}
_CLASSES: Mapping[str, Sequence[tuple[str, str]]] = {
    "\\d": [("0", "9")],
    "\\w": [("a", "z"), ("A", "Z"), ("0", "9"), ("_", "_")],
    "\\s": [(" ", " ")],
    "\\D": [("a", "z"), ("!", "/")],
    "\\W": [("-", "-"), (" ", " ")],
    "\\S": [("a", "z"), ("!", "~")],
}
_READABLE = "a0A-_ .:/@#" + "".join(map(chr, range(33, 127)))


class _UnsupportedError(Exception):
    """This pattern has no simple example."""


def write_match(pattern: str, extra: int = 0) -> str | None:
    """A text that matches; `extra` more turns of every loop make it longer. None where we know none."""
    if len(pattern) > _LENGTH_MAX:
        return None
    walker = _Walker(pattern, extra)
    try:
        text = walker.alternatives(0)
    except (_UnsupportedError, IndexError):
        return None
    return text if walker.at == len(pattern) else None


class _Walker:
    """One walk over one pattern."""

    def __init__(self, pattern: str, extra: int) -> None:
        self.at = 0
        self._pattern = pattern
        self._extra = extra

    def alternatives(self, depth: int) -> str:
        """The first alternative's text; the others are walked and dropped."""
        if depth > _DEPTH_MAX:
            raise _UnsupportedError
        text = self._sequence(depth)
        while self._took("|"):
            self._sequence(depth)
        return text

    def _sequence(self, depth: int) -> str:
        text = ""
        while self.at < len(self._pattern) and self._pattern[self.at] not in "|)":
            atom = self._atom(depth)
            text += atom * self._times()
            if len(text) > _LENGTH_MAX:
                raise _UnsupportedError
        return text

    def _next_is(self, sign: str) -> bool:
        return self._pattern.startswith(sign, self.at)

    def _took(self, sign: str) -> bool:
        """Whether the next sign is this one; then it is behind us."""
        found = self._next_is(sign)
        self.at += found
        return found

    def _atom(self, depth: int) -> str:
        sign = self._pattern[self.at]
        self.at += 1
        match sign:
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "(":
                return self._group(depth)
            case "[":
                return self._member()
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                raise _UnsupportedError
        return sign

    def _group(self, depth: int) -> str:
        if self._next_is("?:"):
            self.at += 2
        elif self._next_is("?<") and self._pattern[self.at + 2] not in "=!":
            self.at += len(self._pattern[self.at :].partition(">")[0]) + 1
        elif self._next_is("?"):
            raise _UnsupportedError
        text = self.alternatives(depth + 1)
        if not self._took(")"):
            raise _UnsupportedError
        return text

    def _escape(self) -> str:
        sign = self._pattern[self.at]
        self.at += 1
        many = _CLASSES.get(f"\\{sign}")
        return many[0][0] if many else self._literal(sign)

    @staticmethod
    def _literal(sign: str) -> str:
        """What an escaped sign stands for."""
        if sign in _CONTROLS:
            return _CONTROLS[sign]
        if sign.isalnum():  # \b, \1, \p{…}, \u0041: each its own language.
            raise _UnsupportedError
        return sign

    def _member(self) -> str:
        """One character of a class, a readable one if there is any."""
        negated = self._took("^")
        ranges: list[tuple[str, str]] = []
        while not self._took("]"):
            ranges += self._range()
        for candidate in _READABLE:
            if any(low <= candidate <= high for low, high in ranges) != negated:
                return candidate
        if negated or not ranges:
            raise _UnsupportedError
        return ranges[0][0]

    def _range(self) -> Sequence[tuple[str, str]]:
        """The next member of a class: a sign, an escape for many, or a range."""
        sign = self._sign()
        if len(sign) > 1:
            return _CLASSES[sign]
        if not self._next_is("-") or self._next_is("-]"):
            return [(sign, sign)]
        self.at += 1
        return [(sign, self._sign())]

    def _sign(self) -> str:
        """One sign of a class; an escape that stands for many comes back whole."""
        sign = self._pattern[self.at]
        self.at += 1
        if sign != "\\":
            return sign
        kind = self._pattern[self.at]
        return f"\\{kind}" if self._took(kind) and f"\\{kind}" in _CLASSES else self._literal(kind)

    def _times(self) -> int:
        """How often the last atom is written."""
        low, high = self._quantifier()
        self._took("?")  # Laziness changes nothing here.
        if low > _LENGTH_MAX:
            raise _UnsupportedError
        return min(low + self._extra, high, _LENGTH_MAX)

    def _quantifier(self) -> tuple[int, int]:
        for sign, bounds in (("*", (0, _LENGTH_MAX)), ("+", (1, _LENGTH_MAX)), ("?", (0, 1))):
            if self._took(sign):
                return bounds
        braces = _BRACES.match(self._pattern, self.at)
        if braces is None:
            return 1, 1
        self.at = braces.end()
        low = int(braces[1])
        if not braces[2]:
            return low, low
        return low, int(braces[3]) if braces[3] else _LENGTH_MAX
