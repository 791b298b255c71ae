"""A refund while a call runs takes what is free and never what the call holds; the receipts explain all of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farebox.accounts.keys import get_key
from farebox.billing.payments.topups import Wish
from farebox.core.errors import Fault
from tests.gateway.shop import MODEL, charge_of
from tests.support.answers import chat, late
from tests.support.faulty import serve_faulty
from tests.support.gateway import Gateway, running

SHOP = """
[payments]
processors = ["dev"]
minimum = "0.001"

[[providers]]
name = "first"
base_url = "{url}"
api_key = "sk-any"

[[models]]
id = "{model}"
context_window = 200000
max_output = 1000
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "first", model = "up-1" }} ]
"""
CREDIT_NANO = 5_000_000_000
FREE_NANO = 4_990_000_000  # In whole coins, beside a hold of 0.002 or so.


async def held_nano(gateway: Gateway) -> int:
    """What the running call holds, once it does."""
    async with asyncio.timeout(5):
        while True:
            ((held,),) = gateway.office.database.rows("SELECT held FROM wallets")
            if held:
                return int(held)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("part", ["all of it", "what is free"])
async def test_a_refund_leaves_a_running_call_what_it_holds(tmp_path: Path, part: str) -> None:
    async with serve_faulty() as upstream:
        upstream.script(late(chat("Hello.", usage=(10, 5)), 0.5))
        async with running(tmp_path, SHOP.format(url=upstream.base_url, model=MODEL)) as gateway:
            secret = gateway.key(credit="0")
            with gateway.office.database.read() as view:
                account_id = get_key(view, secret).account_id
            topups = gateway.worker.topups
            paid = await asyncio.to_thread(
                topups.start,
                Wish(account_id=account_id, amount_nano=CREDIT_NANO, return_url=""),
            )
            assert paid.status == "paid"
            body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000}
            headers = {"authorization": f"Bearer {secret}"}
            call = asyncio.create_task(
                gateway.client.post("/v1/chat/completions", json=body, headers=headers)
            )
            held = await held_nano(gateway)
            if part == "all of it":
                with pytest.raises(Fault, match="free"):
                    await asyncio.to_thread(topups.refund, paid.id, CREDIT_NANO, "asked")
                refunded = 0
            else:
                refunded = FREE_NANO
                made = await asyncio.to_thread(topups.refund, paid.id, refunded, "asked")
                assert made.credit == refunded
            answer = await call
            assert answer.status_code == 200
            receipt = (
                await gateway.client.get(f"/v1/requests/{answer.headers['x-request-id']}", headers=headers)
            ).json()
            assert receipt["hold"] == held / 1e9
            assert receipt["charge"] == charge_of(10, 5) / 1e9
            assert gateway.balance_nano() == CREDIT_NANO - refunded - charge_of(10, 5)
            assert gateway.holds() == 0
            gateway.assert_balanced()
