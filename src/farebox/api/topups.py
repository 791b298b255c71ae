"""How a key pays into its account's wallet: top-ups, redemption codes, and what is bought automatically."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from farebox.api.once import Once
from farebox.api.visit import Visit
from farebox.billing.payments.auto_settings import AutoTopup, find_auto_topup
from farebox.billing.payments.codes import Codes
from farebox.billing.payments.rows import PAGE_MOST, Topup, find_topup, list_topups
from farebox.billing.payments.topups import Topups, Wish
from farebox.core.errors import Fault, Kind
from farebox.core.money import parse_nano, write_nano
from farebox.features.idempotency.feature import Scope
from farebox.gateway.admit import authenticate, check_grant
from farebox.gateway.house import House
from farebox.store.database import Database

BODY_MOST = 4_096
URL_MOST = 500
STARTS_AT_ONCE = 8  # Of one worker: each may wait for its processor, and threads are few.
_PAGE_SIZE = re.compile(r"[1-9][0-9]?|100")
_HOME = {"127.0.0.1", "localhost", "::1"}
_STARTS = Scope("topup")
_CODES = Scope("redeem")
T = TypeVar("T")


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST to `…/wallet/topups`."""

    amount: str
    processor: str | None = None
    return_url: str | None = None
    save_method: bool = False


class _Typed(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a POST to `…/wallet/redeem`."""

    code: str


class TopupSurfaces:
    """The surfaces that bring money in."""

    def __init__(self, house: House, database: Database, topups: Topups, codes: Codes, once: Once) -> None:
        self._house = house
        self._database = database
        self._topups = topups
        self._codes = codes
        self._once = once
        self._starting = 0

    async def start(self, visit: Visit) -> None:
        """`POST …/wallet/topups`: begin a payment. With an idempotency key, a repeat is the same payment."""
        await self._once.handle(visit, self._admit(visit), _STARTS, self._start)

    async def topups(self, visit: Visit) -> None:
        """`GET …/wallet/topups`: newest first; `before` and `limit` page through them."""
        account_id, limit = self._admit(visit), visit.query("limit") or "20"
        if _PAGE_SIZE.fullmatch(limit) is None:
            raise _bad("limit", f"limit must be a whole number from 1 to {PAGE_MOST}.")
        before = visit.query("before")

        def look() -> list[Topup]:
            with self._database.read() as view:
                return list_topups(view, account_id, before=before, limit=int(limit) + 1)

        rows = await asyncio.to_thread(look)
        shown = rows[: int(limit)]
        visit.answer(
            {
                "object": "list",
                "data": [topup_words(topup) for topup in shown],
                "has_more": len(rows) > len(shown),
            }
        )

    async def topup(self, visit: Visit) -> None:
        """`GET …/wallet/topups/{id}`."""
        account_id, id_ = self._admit(visit), visit.rest
        with self._database.read() as view:
            topup = find_topup(view, id_, account_id)
        if topup is None:
            raise Fault(
                Kind.NOT_FOUND, "There is no such top-up of this account.", code="topup_not_found", param="id"
            )
        visit.answer(topup_words(topup))

    async def redeem(self, visit: Visit) -> None:
        """`POST …/wallet/redeem`: credit a code."""
        await self._once.handle(visit, self._admit(visit), _CODES, self._redeem)

    async def automatic(self, visit: Visit) -> None:
        """`GET …/wallet/auto_topup`: what is bought when the wallet runs low. Changing it is the operator's."""
        account_id = self._admit(visit)
        with self._database.read() as view:
            setting = find_auto_topup(view, account_id)
        visit.answer(_auto_words(setting, self._topups.pricing.currency))

    async def _start(self, visit: Visit) -> None:
        asked, account_id = _body(visit, _Asked), self._admit(visit)
        try:
            amount_nano = parse_nano(asked.amount)
        except ValueError as error:
            raise _bad("amount", f"amount: {error}.") from error
        wish = Wish(
            account_id,
            amount_nano,
            _return_url(asked.return_url) or self._house.top_up_url,
            asked.processor,
            keep_method=asked.save_method,
            id=visit.id,
        )
        if self._starting >= STARTS_AT_ONCE:
            raise Fault(
                Kind.OVERLOADED, "Many payments are being started. Try again shortly.", retry_after_s=1
            )
        self._starting += 1
        try:
            topup = await asyncio.to_thread(self._topups.start, wish)
        finally:
            self._starting -= 1
        visit.answer(topup_words(topup))

    async def _redeem(self, visit: Visit) -> None:
        typed, account_id = _body(visit, _Typed), self._admit(visit)
        now_us = self._house.clock.now_us()
        redeemed = await asyncio.to_thread(self._codes.redeem, account_id, typed.code, now_us, visit.id)
        visit.answer(
            {
                "id": redeemed.transfer_id,
                "object": "redemption",
                "credit": _exact(redeemed.credit_nano),
                "currency": redeemed.currency,
            }
        )

    def _admit(self, visit: Visit) -> int:
        """The account of the key that asks."""
        if visit.grant is None:
            visit.grant = authenticate(visit.secret(), self._house, counts=False)
            visit.headers += visit.grant.headers
            check_grant(visit.grant, visit.profile)
            visit.headers += b"cache-control: private, no-store\r\n"
        return visit.grant.account.id


def topup_words(topup: Topup) -> dict[str, object]:
    """A top-up as its owner is told of it."""
    return {
        "id": topup.id,
        "object": "topup",
        "status": topup.status,
        "processor": topup.processor,
        "url": topup.url if topup.status == "pending" else None,
        "credit": _exact(topup.credit),
        "tax": _exact(topup.tax),
        "total": _exact(topup.total),
        "refunded": _exact(topup.refunded),
        "currency": topup.currency,
        "automatic": topup.automatic,
        "created": topup.created // 1_000_000,
        "paid": topup.paid and topup.paid // 1_000_000,
    }


def _auto_words(setting: AutoTopup | None, currency: str) -> dict[str, object]:
    if setting is None:
        return {"object": "auto_topup", "active": False}
    return {
        "object": "auto_topup",
        "active": setting.active,
        "processor": setting.processor,
        "threshold": _exact(setting.threshold),
        "amount": _exact(setting.amount),
        "monthly_cap": _exact(setting.monthly_cap),
        "failures": setting.failures,
        "currency": currency,
    }


def _return_url(url: str | None) -> str | None:
    """Where the payer's browser goes afterwards: encrypted, or this machine. We never fetch it."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HOME)
    except ValueError:  # An unclosed bracket.
        good = False
    if not good or not parts.hostname or "@" in parts.netloc or not re.fullmatch(r"[!-~]+", url):
        raise _bad("return_url", "return_url must be an address that begins with https://.")
    if len(url) > URL_MOST or parts.fragment:
        raise _bad("return_url", f"return_url may have {URL_MOST} characters, and no fragment.")
    return url


def _body(visit: Visit, kind: type[T]) -> T:
    request = visit.request
    if request.too_large or len(request.body) > BODY_MOST:
        raise Fault(Kind.TOO_LARGE, f"The body may have {BODY_MOST} bytes.")
    try:
        return msgspec.json.decode(request.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(Kind.BAD_REQUEST, f"The body cannot be used: {error}.") from error


def _bad(param: str, message: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, message, param=param)


def _exact(nano: int) -> msgspec.Raw:
    return msgspec.Raw(write_nano(nano).encode())
