from __future__ import annotations

import msgspec
import pytest

from farebox.accounts.plans import BUILT_IN, DEFAULT_PLAN, Plan, PlanChange, plan_table


def test_the_built_in_table_is_the_console_platforms() -> None:
    table = plan_table([])
    assert {plan.name: (plan.chat_rpm, plan.image_rpm) for plan in table.values()} == {
        "free": (10, 5),
        "standard": (60, 20),
        "premium": (120, 40),
        "pro": (300, 60),
        "enterprise": (3000, 600),
    }
    assert DEFAULT_PLAN in table


def test_a_row_changes_what_it_gives_and_nothing_else() -> None:
    table = plan_table([PlanChange("free", chat_rpm=1, models=("a/*",)), PlanChange("pro", image_rpm=0)])
    before = {plan.name: plan for plan in BUILT_IN}
    assert table["free"] == msgspec.structs.replace(before["free"], chat_rpm=1, models=("a/*",))
    assert table["pro"] == msgspec.structs.replace(before["pro"], image_rpm=0)
    assert table["standard"] == before["standard"]
    assert set(table) == set(before)


def test_a_new_name_starts_from_the_default_plan() -> None:
    table = plan_table([PlanChange("team", chat_rpm=90, markup_nano=1_500_000_000)])
    assert table["team"] == Plan("team", chat_rpm=90, image_rpm=20, markup_nano=1_500_000_000)


def test_a_later_row_is_laid_over_an_earlier_one() -> None:
    table = plan_table([PlanChange("team", chat_rpm=90), PlanChange("team", image_rpm=9)])
    assert (table["team"].chat_rpm, table["team"].image_rpm) == (90, 9)


@pytest.mark.parametrize(
    ("patterns", "model", "allowed"),
    [
        (("*",), "openai/gpt-4o", True),
        (("openai/*",), "openai/gpt-4o", True),
        (("openai/*",), "OpenAI/gpt-4o", False),
        (("openai/gpt-4o",), "openai/gpt-4o-mini", False),
        (("a/*", "openai/gpt-4?"), "openai/gpt-4o", True),
        ((), "openai/gpt-4o", False),
    ],
)
def test_a_plan_includes_the_models_its_patterns_name(
    patterns: tuple[str, ...], model: str, allowed: bool
) -> None:
    assert Plan("team", chat_rpm=1, image_rpm=1, models=patterns).allows(model) is allowed
