"""Lines: where in a TOML text each key path stands, so that a refusal can name the line.

tomllib has read the text before and found it whole; it keeps no positions. So this scanner need not judge, only walk:
headers, keys and the nesting of inline values. Everything else is skipped.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

KeyPath = tuple[str | int, ...]  # `("models", 0, "routes", 1, "provider")`; the whole file is `()`.

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_KEY_PART = re.compile(rf"""{_BARE_KEY.pattern}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
# A scalar of any kind. Long strings come first; up to two quotes may stand before their closing three.
_SCALAR = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")'
    r"|'''.*?'''(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|[^,\]}#\n]+",
    re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every table, key and list member of a text that tomllib accepts."""
    return _Scanner(text.replace("\r\n", "\n")).whole()


def write_path(path: KeyPath) -> str:
    """A key path as people write it: `models[0].routes[1].provider`, odd keys in quotes."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if _BARE_KEY.fullmatch(step) else repr(step)
            text += f".{name}" if text else name
    return text


class _Scanner:
    """One walk over one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._rows: dict[KeyPath, int] = {}  # Rows so far of each `[[…]]`.

    def whole(self) -> dict[KeyPath, int]:
        """Walk all statements."""
        table: KeyPath = ()
        while self._skip(_GAP) and self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> KeyPath:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        line = self._line()
        self._at += brackets
        *outer, last = self._key()
        self._at += brackets
        path: KeyPath = ()
        for step in outer:
            path = self._row((*path, step))
            self._note(path, line)
        path = (*path, last)
        self._note(path, line)
        if brackets == 2:  # noqa: PLR2004 -- `[[` as TOML writes it
            self._rows[path] = self._rows.get(path, -1) + 1
        path = self._row(path)
        self._note(path, line)
        return path

    def _row(self, path: KeyPath) -> KeyPath:
        """A table's path, or that of the latest row where it is a list of tables."""
        return (*path, self._rows[path]) if path in self._rows else path

    def _pair(self, table: KeyPath) -> None:
        line, path = self._line(), table
        for step in self._key():
            path = (*path, step)
            self._note(path, line)
        self._at += 1  # The equals sign.
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        opening = self._text[self._at]
        if opening not in "[{":
            self._skip(_SCALAR)
            return
        self._at += 1
        index = 0
        while self._skip(_GAP) and self._text[self._at] not in "]}":
            if opening == "{":
                self._pair(path)
            else:
                self._note((*path, index), self._line())
                self._value((*path, index))
            index += 1
            self._skip(_GAP)
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _key(self) -> list[str]:
        """A dotted key, up to the bracket or equals sign behind it."""
        parts: list[str] = []
        while not parts or self._text[self._at] == ".":
            self._at += bool(parts)
            self._skip(_BLANK)
            start = self._at
            self._skip(_KEY_PART)
            # tomllib knows the escapes of quoted keys.
            (part,) = tomllib.loads(f"{self._text[start : self._at]} = 0")
            parts.append(part)
            self._skip(_BLANK)
        return parts

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Move behind a match; True, so that it can stand before the condition of a loop."""
        match = pattern.match(self._text, self._at)
        assert match is not None, "tomllib accepts what this scanner cannot walk"
        self._at = match.end()
        return True

    def _line(self) -> int:
        return bisect_right(self._line_ends, self._at - 1) + 1

    def _note(self, path: KeyPath, line: int) -> None:
        self._lines.setdefault(path, line)  # Where it was opened.
