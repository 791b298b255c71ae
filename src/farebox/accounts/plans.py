"""Plans: what an account may do in a minute, and with which models."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

UNLIMITED_MODELS = ("*",)


class Plan(msgspec.Struct, frozen=True):
    """One plan's entitlements. A limit of 0 means: not available."""

    name: str
    chat_rpm: int
    image_rpm: int
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    models: tuple[str, ...] = UNLIMITED_MODELS  # Shell patterns over full model ids.
    markup_nano: int | None = None  # Instead of the wallet's markup.

    def allows(self, model_id: str) -> bool:
        """Whether the plan includes a model."""
        return self.models == UNLIMITED_MODELS or any(
            fnmatchcase(model_id, pattern) for pattern in self.models
        )


class PlanChange(msgspec.Struct, frozen=True):
    """An operator's row for a plan: None leaves the built-in value as it is."""

    name: str
    chat_rpm: int | None = None
    image_rpm: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    models: tuple[str, ...] | None = None
    markup_nano: int | None = None


# The Console platform's table; Enterprise is "custom" there, Premium is Serika's paid tier.
BUILT_IN = (
    Plan("free", chat_rpm=10, image_rpm=5),
    Plan("standard", chat_rpm=60, image_rpm=20),
    Plan("premium", chat_rpm=120, image_rpm=40),
    Plan("pro", chat_rpm=300, image_rpm=60),
    Plan("enterprise", chat_rpm=3000, image_rpm=600),
)
DEFAULT_PLAN = "standard"


def plan_table(changes: Iterable[PlanChange]) -> dict[str, Plan]:
    """Lay the operator's rows over the built-in plans; a new name starts from the default plan."""
    plans = {plan.name: plan for plan in BUILT_IN}
    for change in changes:
        base = plans.get(change.name) or msgspec.structs.replace(plans[DEFAULT_PLAN], name=change.name)
        given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
        plans[change.name] = msgspec.structs.replace(base, **given)
    return plans
