"""Server-sent events as a strict reader takes them apart, and as a provider puts them together."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One event; `name` is empty where it says none."""

    name: str
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def read_events(body: bytes, *, comments: bool = False, crlf: bool = False) -> list[Line]:
    """The events of a whole stream: each ends in a blank line, nothing is left over, and each line has a name."""
    text = body.decode()
    if crlf:
        text = text.replace("\r\n", "\n")
    assert text.endswith("\n\n"), f"the stream ends inside an event: {text[-80:]!r}"
    events = []
    for block in text[:-2].split("\n\n"):
        name, data = "", []
        for line in block.strip("\n").split("\n"):
            if line.startswith("data: "):
                data.append(line[6:])
            elif line.startswith("event: "):
                name = line[7:]
            else:
                assert line.startswith(":" if comments else ("data: ", "event: ")), (
                    f"a line that is none of this dialect: {line!r}"
                )
        if data:
            events.append(Line(name, "\n".join(data)))
        else:
            assert not name, f"the event {name!r} has no data"
    return events


def write_event(data: Any, name: str = "") -> bytes:
    """One event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def pieces(text: str, size: int = 5) -> list[str]:
    """A text in pieces of so many characters, so that words, escapes and JSON are cut anywhere."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def need(wire: dict[str, Any], *names: str) -> None:
    """These members are there."""
    missing = [name for name in names if name not in wire]
    assert not missing, f"{missing} missing in {wire}"


def same(what: str, told: object, wanted: object) -> None:
    """These are equal; the sentence says what they are, for the grid is also played without pytest."""
    assert told == wanted, f"{what}: {told!r}, not {wanted!r}"
