"""Tokens of the sandbox: four bytes each, a rule that anyone can check by hand."""

from __future__ import annotations

import msgspec

BYTES = 4
PER_MESSAGE = 4  # Role and separators, roughly what the real vocabularies take.
PER_IMAGE = 85  # What OpenAI counts for an image of low detail; other media count the same here.


def count(text: str) -> int:
    """Tokens of a text; an empty one has none."""
    return -(-len(text.encode()) // BYTES)


def count_data(value: msgspec.Struct) -> int:
    """Tokens of a value written as JSON."""
    return -(-len(msgspec.json.encode(value)) // BYTES)


def fitting(text: str, tokens: int) -> str:
    """The longest beginning of `text` that has at most so many tokens and splits no character."""
    data = text.encode()
    return text if len(data) <= tokens * BYTES else data[: tokens * BYTES].decode(errors="ignore")
