"""Exchanges with providers, our own fixtures and recorded traffic alike, for tests that run over all of them.

Recordings lie in the folder that FAREBOX_RECORDINGS names, else in `../shared/recordings` beside the repository if it
is there; without either, the same tests run over the fixtures alone. A new file is picked up by being there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

VARIABLE = "FAREBOX_RECORDINGS"
ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
# Dialect → how the paths of its calls end.
PATHS: dict[str, tuple[str, ...]] = {
    "openai_chat": ("chat/completions",),
    "openai_responses": ("/responses",),
    "anthropic": ("v1/messages",),
    "gemini": (":generateContent", ":streamGenerateContent"),
}


class Exchange(msgspec.Struct, frozen=True):
    """One call and its answer, of which some halves may be missing."""

    dialect: str
    name: str
    recorded: bool
    request: bytes | None = None
    plain: bytes | None = None  # A reply of status 200 in one piece.
    stream: bytes | None = None  # A reply of status 200 as events.


class _File(msgspec.Struct):
    name: str
    path: str
    status: int
    stream: str | None = None
    request_body: msgspec.Raw = msgspec.Raw(b"null")
    response_body: str | None = None
    response_chunks: list[str] | None = None


def named_folder() -> Path | None:
    """The folder that the environment asks for."""
    name = os.environ.get(VARIABLE)
    return Path(name) if name else None


def find_folder() -> Path | None:
    """Where recordings are to be read from, if anywhere."""
    beside = ROOT.parent / "shared" / "recordings"
    return named_folder() or (beside if beside.is_dir() else None)


def read_fixtures() -> list[Exchange]:
    """Every case of every dialect below `fixtures`."""
    return [
        Exchange(
            dialect=case.parent.name,
            name=case.name,
            recorded=False,
            request=_found(case / "request.json"),
            plain=_found(case / "reply.json"),
            stream=_found(case / "stream.sse"),
        )
        for case in sorted(FIXTURES.glob("*/*"))
        if case.is_dir()
    ]


def read_recordings() -> list[Exchange]:
    """Every recorded exchange of a known dialect."""
    folder = find_folder()
    found = [_read_file(path) for path in sorted(folder.glob("*.json"))] if folder else []
    return [exchange for exchange in found if exchange]


def over_exchanges(has: Callable[[Exchange], object]) -> pytest.MarkDecorator:
    """Run a test over every exchange that has what it looks at."""
    chosen = [exchange for exchange in (*read_fixtures(), *read_recordings()) if has(exchange)]
    ids = [f"{'recorded' if one.recorded else 'fixture'}:{one.dialect}:{one.name}" for one in chosen]
    return pytest.mark.parametrize("exchange", chosen, ids=ids)


def _read_file(path: Path) -> Exchange | None:
    file = msgspec.json.decode(path.read_bytes(), type=_File)
    dialect = next((name for name, ends in PATHS.items() if file.path.endswith(ends)), None)
    if dialect is None:
        return None
    answered = file.status == 200
    events = "".join(file.response_chunks or ()).encode()
    if file.stream == "json-array":  # Google's other form of a stream.
        events = (file.response_body or "").encode()
    request = bytes(file.request_body)
    return Exchange(
        dialect=dialect,
        name=file.name,
        recorded=True,
        request=request if request.startswith(b"{") else None,
        plain=file.response_body.encode() if answered and file.response_body and not file.stream else None,
        stream=events if answered and events and file.stream in ("sse", "json-array") else None,
    )


def _found(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
