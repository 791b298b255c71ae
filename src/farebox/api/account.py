"""What a key can learn about its own account: money, limits, and the receipts of its calls. Nothing of anyone else."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import msgspec

from farebox.accounts.keys import Key
from farebox.api.visit import Visit
from farebox.billing.budgets import Standing
from farebox.billing.receipts import Receipts
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.gateway.admit import authenticate, check_grant
from farebox.gateway.call import Grant
from farebox.gateway.house import House

PAGE_MOST = 100
# OpenRouter's words for the period of a key's limit; null is one that never resets.
_RESETS = {"day": "daily", "week": "weekly", "month": "monthly", "total": None}
_PAGE_SIZE = re.compile(r"[1-9][0-9]?|100")


def _raw(nano: int) -> msgspec.Raw:
    return msgspec.Raw(write_nano(nano).encode())


def _rfc_3339(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


class AccountSurfaces:
    """The account surfaces."""

    def __init__(self, house: House, receipts: Receipts) -> None:
        self._house = house
        self.receipts = receipts

    async def hello(self, visit: Visit) -> None:
        """`GET /api/hello`: what Claude Code asks first, to see whether its key is good."""
        self._admit(visit)
        visit.answer({"message": "hello"})

    async def credits(self, visit: Visit) -> None:
        """`GET …/credits`: AICredits' balance and OpenRouter's totals in one object."""
        grant = self._admit(visit)
        wallet = self.receipts.wallet(grant.account.id)
        visit.answer(
            {
                "object": "credits",
                "balance": _raw(wallet.balance_nano - wallet.held_nano),
                "held": _raw(wallet.held_nano),
                "currency": wallet.currency,
                "data": {
                    "total_credits": _raw(wallet.balance_nano + wallet.spent_nano),
                    "total_usage": _raw(wallet.spent_nano),
                },
            }
        )

    async def key(self, visit: Visit) -> None:
        """`GET …/key`: OpenRouter's description of the key that asks."""
        grant = self._admit(visit)
        now_us = self._house.clock.now_us()
        spent = await asyncio.to_thread(self.receipts.spent_by_key, grant.key.id, grant.account.id, now_us)
        budgets = await asyncio.to_thread(self._budgets, grant.key, now_us)
        tightest = min(budgets, key=lambda budget: budget.left_nano, default=None)
        visit.answer(
            {
                "data": {
                    "label": grant.key.name or grant.key.hint,
                    "limit": tightest and _raw(tightest.amount_nano),
                    "limit_remaining": tightest and _raw(tightest.left_nano),
                    "limit_reset": tightest and _RESETS[tightest.period],
                    "budgets": [self._budget(budget, now_us) for budget in budgets],
                    "stopped_at": grant.key.paused_us and _rfc_3339(grant.key.paused_us),
                    "usage": _raw(spent.ever_nano),
                    "usage_daily": _raw(spent.day_nano),
                    "usage_weekly": _raw(spent.week_nano),
                    "usage_monthly": _raw(spent.month_nano),
                    "is_free_tier": grant.plan.name == "free",
                    "plan": grant.plan.name,
                    "expires_at": grant.key.expires_us and _rfc_3339(grant.key.expires_us),
                    "rate_limit": {"requests": grant.plan.chat_rpm, "interval": "1m"},
                }
            }
        )

    def _budgets(self, key: Key, now_us: int) -> list[Standing]:
        starts_us = {guard.period: guard.starts_us for guard in self._house.guards.of(key, now_us)}
        return self.receipts.budgets(key, starts_us)

    def _budget(self, budget: Standing, now_us: int) -> dict[str, object]:
        end_us = self._house.guards.end_us(budget.period, now_us)
        return {
            "period": budget.period,
            "limit": _raw(budget.amount_nano),
            "used": _raw(budget.spent_nano),
            "held": _raw(budget.held_nano),
            "remaining": _raw(budget.left_nano),
            "resets_at": end_us and _rfc_3339(end_us),
        }

    async def generation(self, visit: Visit) -> None:
        """`GET …/generation?id=`: one call in OpenRouter's form; takes the call's id or a reply's."""
        grant = self._admit(visit)
        row = self.receipts.find(grant.account.id, visit.query("id") or "")
        if row is None:
            raise _no_request()
        visit.answer({"data": self.receipts.generation(row)})

    async def requests(self, visit: Visit) -> None:
        """`GET …/requests`: the account's calls, newest first; `before` and `limit` page through them."""
        grant = self._admit(visit)
        limit = visit.query("limit") or "20"
        if _PAGE_SIZE.fullmatch(limit) is None:
            raise Fault(
                Kind.BAD_REQUEST, f"limit must be a whole number from 1 to {PAGE_MOST}.", param="limit"
            )
        rows = self.receipts.page(grant.account.id, before=visit.query("before"), limit=int(limit) + 1)
        shown = rows[: int(limit)]
        visit.answer(
            {
                "object": "list",
                "data": [self.receipts.summary(row) for row in shown],
                "has_more": len(rows) > len(shown),
            }
        )

    async def request(self, visit: Visit) -> None:
        """`GET …/requests/{id}`: the receipt."""
        grant = self._admit(visit)
        row = self.receipts.find(grant.account.id, visit.rest)
        if row is None:
            raise _no_request()
        visit.answer(self.receipts.receipt(row))

    def _admit(self, visit: Visit) -> Grant:
        grant = visit.grant = authenticate(visit.secret(), self._house, counts=False)
        visit.headers += grant.headers
        check_grant(grant, visit.profile)
        return grant


def _no_request() -> Fault:
    return Fault(
        Kind.NOT_FOUND, "There is no such request of this account.", param="id", code="request_not_found"
    )
