"""Models that do not think, and those that cannot be told how hard."""

from __future__ import annotations

from farebox.providers.quirks.body import Body, Dropped, drop


def no_effort(body: Body) -> Dropped:
    """`reasoning_effort` is left out.

    Source: OpenAI, Groq and xAI refuse it by name where a model does not take it (known from memory).
    """
    return drop(body, "reasoning_effort")
