"""Gemini models that cannot be told not to think."""

from __future__ import annotations

import msgspec

from farebox.providers.quirks.body import Body, Dropped
from farebox.providers.quirks.no_thinking_config import SETTINGS, no_thinking_config


class _Thinking(msgspec.Struct):
    budget: int | None = msgspec.field(default=None, name="thinkingBudget")


class _Settings(msgspec.Struct):
    thinking: _Thinking | None = msgspec.field(default=None, name="thinkingConfig")


def always_thinks(body: Body) -> Dropped:
    """`generationConfig.thinkingConfig` is left out where its budget is 0.

    Source: Google refuses a budget of 0 for the Pro models, which "only work in thinking mode" (known from memory).
    """
    if SETTINGS not in body:
        return ()
    settings = msgspec.json.decode(body[SETTINGS], type=_Settings)
    off = settings.thinking is not None and settings.thinking.budget == 0
    return no_thinking_config(body) if off else ()
