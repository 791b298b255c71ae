"""Words for effort and budgets of tokens, and back."""

from __future__ import annotations

import pytest

from farebox.dialects.effort import BUDGET_MIN, BUDGETS, budget_of, effort_of


@pytest.mark.parametrize("word", ["none", "low", "medium", "high"])
def test_a_common_word_comes_back_as_itself(word: str) -> None:
    assert effort_of(budget_of(word)) == word


def test_harder_words_have_larger_budgets_that_every_provider_takes() -> None:
    assert sorted(BUDGETS.values()) == list(BUDGETS.values())
    assert min(BUDGETS.values()) >= BUDGET_MIN


def test_a_word_nobody_knows_is_in_the_middle() -> None:
    assert budget_of("ludicrous") == budget_of("medium")


@pytest.mark.parametrize(("budget", "word"), [(0, "none"), (1, "low"), (4097, "medium"), (10**6, "high")])
def test_any_budget_has_a_word_that_every_provider_knows(budget: int, word: str) -> None:
    assert effort_of(budget) == word
