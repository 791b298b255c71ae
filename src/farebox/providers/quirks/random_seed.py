"""Mistral has a word of its own for the seed."""

from __future__ import annotations

from farebox.providers.quirks.body import Body, Dropped, rename


def random_seed(body: Body) -> Dropped:
    """`seed` goes out as `random_seed`.

    Source: Mistral's API reference (known from memory).
    """
    return rename(body, "seed", "random_seed")
