"""How hard a model is to think: the field's words ↔ budgets of tokens.

OpenAI and xAI take words, Anthropic and Gemini take budgets as well. There is no official exchange rate; the budgets
here are those that most clients use, and each common word's budget is the largest that comes back as the same word.
"""

from __future__ import annotations

from typing import Final

NONE: Final = "none"
# Words by rising budget in tokens.
BUDGETS: Final[dict[str, int]] = {
    "minimal": 1_024,
    "low": 4_096,
    "medium": 16_384,
    "high": 32_768,
    "xhigh": 65_536,
}
_COMMON: Final = ("low", "medium", "high")
BUDGET_MIN: Final = 1_024  # Anthropic refuses less.


def budget_of(effort: str) -> int:
    """The budget of a word; 0 for "none", and the middle for a word nobody knows."""
    return 0 if effort == NONE else BUDGETS.get(effort, BUDGETS["medium"])


def effort_of(budget: int) -> str:
    """The word for a budget: the smallest that allows it, of the three that every provider knows."""
    if budget == 0:
        return NONE
    return next((word for word in _COMMON if budget <= BUDGETS[word]), _COMMON[-1])
