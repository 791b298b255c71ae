"""A shop with both processors, each a stand-in on loopback, and a customer who pays there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from farebox.billing.payments.rules import RULES
from farebox.billing.telling.notices import list_notices
from farebox.store.database import Record
from tests.api.caller import Caller
from tests.support import razorpay_standin, stripe_standin
from tests.support.gateway import Gateway, running
from tests.support.razorpay_standin import RazorpayStandin
from tests.support.stripe_standin import StripeStandin

CONFIG = """
[wallet]
currency = "INR"
fx = {{ USD = "88" }}

[payments]
processors = ["stripe", "razorpay", "dev"]
tax_rate_basis_points = 1800
tax_name = "GST"

[payments.stripe]
secret_key = "$STRIPE_SECRET_KEY"
{stripe_hook}
api_base = "{stripe_base}"

[payments.razorpay]
key_id = "rzp_test_1"
key_secret = "rzp-secret-canary"
{razorpay_hook}
api_base = "{razorpay_base}"
"""
HOOKS = {
    "stripe_hook": f'webhook_secret = "{stripe_standin.WEBHOOK_SECRET}"',
    "razorpay_hook": f'webhook_secret = "{razorpay_standin.WEBHOOK_SECRET}"',
}


class Shop:
    """The gateway with its processors, and `acme`, whose wallet begins empty."""

    def __init__(self, gateway: Gateway, stripe: StripeStandin, razorpay: RazorpayStandin) -> None:
        self.gateway = gateway
        self.stripe = stripe
        self.razorpay = razorpay
        self.caller = Caller(gateway, credit="0")

    async def start(self, processor: str, amount: str = "100", **members: object) -> Any:
        body = {"amount": amount, "processor": processor, **members}
        answer = await self.caller.post("/v1/wallet/topups", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def status(self, id_: str) -> str:
        return str((await self.caller.get(f"/v1/wallet/topups/{id_}")).json()["status"])

    def session_of(self, id_: str) -> str:
        sessions = self.stripe.sessions.items()
        return next(ref for ref, session in sessions if session["client_reference_id"] == id_)

    def link_of(self, id_: str) -> str:
        return next(ref for ref, link in self.razorpay.links.items() if link["reference_id"] == id_)

    async def tell(self, processor: str, event: tuple[bytes, Mapping[str, str]]) -> httpx2.Response:
        body, headers = event
        return await self.gateway.client.post(f"/webhooks/{processor}", content=body, headers=dict(headers))

    async def stripe_says(self, kind: str, about: dict[str, Any], **members: Any) -> int:
        return (await self.tell("stripe", self.stripe.event(kind, about, **members))).status_code

    async def razorpay_says(self, kind: str, part: str, id_: str, **members: Any) -> int:
        return (await self.tell("razorpay", self.razorpay.event(kind, part, id_, **members))).status_code

    async def paid_by_stripe(self, amount: str = "100") -> tuple[str, str]:
        """A top-up that was paid and credited, and its payment."""
        id_ = (await self.start("stripe", amount))["id"]
        session = self.session_of(id_)
        payment = self.stripe.pay(session)
        said = await self.stripe_says("checkout.session.completed", {"id": session}, id_=f"evt_{id_}")
        assert said == 200
        assert await self.status(id_) == "paid"
        return id_, payment

    @property
    def balance(self) -> float:
        return self.gateway.balance_nano() / 10**9

    def rows(self, sql: str) -> list[Record]:
        return list(self.gateway.office.database.rows(sql))

    def notices(self) -> list[str]:
        with self.gateway.office.database.read() as view:
            return [one.notice.text for one in list_notices(view, None)]

    async def later(self, work: Any, *arguments: object) -> Any:
        return await asyncio.to_thread(work, *arguments)

    def assert_whole(self) -> None:
        self.gateway.assert_balanced()
        breaches = {rule: self.rows(sql) for rule, sql in RULES.items()}
        assert not {rule: rows for rule, rows in breaches.items() if rows}


@asynccontextmanager
async def shop_in(folder: Path, **hooks: str) -> AsyncIterator[Shop]:
    """A shop; `stripe_hook=""` leaves out the secret of its webhooks."""
    with stripe_standin.serve_stripe() as stripe, razorpay_standin.serve_razorpay() as razorpay:
        config = CONFIG.format(
            stripe_base=stripe.api_base, razorpay_base=razorpay.api_base, **{**HOOKS, **hooks}
        )
        environment = {"STRIPE_SECRET_KEY": stripe_standin.SECRET_KEY}
        async with running(folder, config, environment) as gateway:
            shop = Shop(gateway, stripe, razorpay)
            yield shop
            shop.assert_whole()


def read(answer: httpx2.Response) -> Any:
    """The body of an answer that went well."""
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content)
