"""Models and servers that know no penalties."""

from __future__ import annotations

from farebox.providers.quirks.body import Body, Dropped, drop


def no_penalties(body: Body) -> Dropped:
    """`presence_penalty` and `frequency_penalty` are left out.

    Source: xAI's guide to reasoning models and Cerebras's page on compatibility with OpenAI (known from memory).
    """
    return drop(body, "presence_penalty", "frequency_penalty")
