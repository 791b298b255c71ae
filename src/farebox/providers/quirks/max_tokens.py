"""Many servers know the limit by its older name alone."""

from __future__ import annotations

from farebox.providers.quirks.body import Body, Dropped, rename


def max_tokens(body: Body) -> Dropped:
    """`max_completion_tokens` goes out as `max_tokens`.

    Source: Mistral refuses the newer name ("Extra inputs are not permitted", as its clients report); DeepSeek's
    reference knows the older one alone; every local engine knows it.
    """
    return rename(body, "max_completion_tokens", "max_tokens")
