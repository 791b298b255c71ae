"""OpenAI's reasoning models know the limit by its newer name alone."""

from __future__ import annotations

from farebox.providers.quirks.body import Body, Dropped, rename


def max_completion_tokens(body: Body) -> Dropped:
    """`max_tokens` goes out as `max_completion_tokens`.

    Source: OpenAI refuses the old name by `unsupported_parameter` (recorded of gpt-5-nano).
    """
    return rename(body, "max_tokens", "max_completion_tokens")
