"""The pages of the documentation as tests see them: fenced blocks with their tags, tables, headings, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\S*)[ \t]*(.*)$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")


class Block(msgspec.Struct, frozen=True):
    """One fenced block: ```LANGUAGE TAG … and what stands in it."""

    page: str
    line: int  # Of its first line of text.
    language: str
    tags: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, str]:
    """Every page by its path from the root, with its text."""
    paths = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def page(name: str) -> str:
    """The text of one page, named by its path from the root."""
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        at += 1
        if fence is None:
            continue
        start = at
        while lines[at] != "```":  # A page whose fence stays open fails here, loudly.
            at += 1
        found.append(
            Block(name, start + 1, fence[1], tuple(fence[2].split()), "\n".join(lines[start:at]) + "\n")
        )
        at += 1
    return found


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of every page in one of these languages; of any, if none is named."""
    return [
        block
        for name, text in pages().items()
        for block in blocks(name, text)
        if not languages or block.language in languages
    ]


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers and lines of a page outside its fenced blocks."""
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield number, line


def headings(text: str) -> list[str]:
    """The headings of a page without their hashes."""
    return [line.lstrip("#").strip() for _, line in prose(text) if line.startswith("#")]


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures."""
    return [target for _, line in prose(text) for target in _LINK.findall(_CODE.sub("", line))]


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its two top lines; cells as written."""
    lines = iter(prose(text))
    for _, line in lines:
        if line.startswith("#") and line.lstrip("#").strip() == heading:
            break
    else:
        raise LookupError(f"there is no heading {heading!r}")
    rows = []
    for _, line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif rows or line.startswith("#"):
            break
    return rows[2:]
