"""Gemini models that do not think."""

from __future__ import annotations

import msgspec

from farebox.providers.quirks.body import Body, Dropped

SETTINGS = "generationConfig"
THINKING = "thinkingConfig"


def no_thinking_config(body: Body) -> Dropped:
    """`generationConfig.thinkingConfig` is left out.

    Source: Google refuses it where a model does not think (known from memory).
    """
    if SETTINGS not in body:
        return ()
    settings = msgspec.json.decode(body[SETTINGS], type=Body)
    if settings.pop(THINKING, None) is None:
        return ()
    body[SETTINGS] = msgspec.Raw(msgspec.json.encode(settings))
    return (THINKING,)
