"""Claude models that take an effort in place of a budget for thinking."""

from __future__ import annotations

from typing import Final

import msgspec

from farebox.dialects.effort import BUDGETS, effort_of
from farebox.providers.quirks.body import Body, Dropped

_MOST: Final = "xhigh"  # Beyond the words that every provider knows.


class _Thinking(msgspec.Struct, omit_defaults=True):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _OutputConfig(msgspec.Struct, omit_defaults=True):
    effort: str | None = None
    format: msgspec.Raw = msgspec.Raw()


def adaptive_thinking(body: Body) -> Dropped:
    """`thinking` with a budget becomes adaptive: `output_config.effort` says the budget, and thoughts stay shown.

    Source: Anthropic's page on adaptive thinking: from Claude Opus 4.7 on, a budget is refused, and thoughts come
    without their text unless `display` is "summarized".
    """
    if "thinking" not in body:
        return ()
    thinking = msgspec.json.decode(body["thinking"], type=_Thinking)
    if thinking.type != "enabled":
        return ()
    budget = thinking.budget_tokens or BUDGETS["medium"]
    config = msgspec.json.decode(body.get("output_config", b"{}"), type=_OutputConfig)
    config.effort = config.effort or (_MOST if budget > BUDGETS["high"] else effort_of(budget))
    adaptive = _Thinking("adaptive", display=thinking.display or "summarized")
    body["thinking"] = msgspec.Raw(msgspec.json.encode(adaptive))
    body["output_config"] = msgspec.Raw(msgspec.json.encode(config))
    return ()
