"""Plans over HTTP, to look at: they are the configuration file's, which is read at start."""

from __future__ import annotations

from farebox.accounts.plans import Plan
from farebox.api.admin.action import Action, Ask, Said, Words, list_words, reading
from farebox.api.admin.shop import Shop
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.store.database import Transaction


def plan_actions(shop: Shop) -> list[Action]:
    """The rows of the table."""
    plans = _Plans(shop)
    return [reading("plans", Said, plans.list), reading("plans/{plan}", Said, plans.get)]


class _Plans:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def list(self, ask: Ask, said: Said, view: Transaction) -> Words:
        del ask, said
        counts = {
            str(plan): int(count or 0)
            for plan, count in view.all("SELECT plan, COUNT(*) FROM accounts GROUP BY plan")
        }
        plans = self._shop.plans.values()
        return list_words([_words(plan, counts.get(plan.name, 0)) for plan in plans], None)

    def get(self, ask: Ask, said: Said, view: Transaction) -> Words:
        del said
        plan = self._shop.plans.get(ask.names["plan"])
        if plan is None:
            raise Fault(Kind.NOT_FOUND, "There is no such plan.", code="plan_not_found", param="plan")
        count = view.one("SELECT COUNT(*) FROM accounts WHERE plan = ?", plan.name)
        return _words(plan, int((count or (0,))[0] or 0))


def _words(plan: Plan, accounts: int) -> Words:
    return {
        "object": "plan",
        "name": plan.name,
        "chat_rpm": plan.chat_rpm,
        "image_rpm": plan.image_rpm,
        "tokens_per_minute": plan.tokens_per_minute,
        "concurrency": plan.concurrency,
        "models": list(plan.models),
        "markup": None if plan.markup_nano is None else write_nano(plan.markup_nano),
        "accounts": accounts,
    }
