"""Models that choose the next token as they like."""

from __future__ import annotations

from farebox.providers.quirks.body import Body, Dropped, drop

SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")


def no_sampling(body: Body) -> Dropped:
    """`temperature`, `top_p`, `top_k` and both penalties are left out.

    Source: OpenAI's guide to reasoning models (known from memory); Anthropic's migration guide, for Claude Opus 4.7 and
    every later model, whose refusal reads "`temperature` is deprecated for this model".
    """
    return drop(body, *SAMPLING)
