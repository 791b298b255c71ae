"""Alerts in a whole gateway: told before calls fail, to whom it may concern, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path

import httpx2
import msgspec
import pytest

from farebox.accounts.accounts import Account, get_account
from farebox.accounts.budgets import Budget, set_budget
from farebox.app.alerting import Alerting
from farebox.billing.telling.contacts import Contact, set_contact
from farebox.billing.telling.notices import list_notices
from tests.gateway.shop import CANARY_KEY, MODEL, charge_of
from tests.support.answers import error
from tests.support.faulty import FaultyUpstream, serve_faulty
from tests.support.gateway import Gateway, running
from tests.support.post_office import MailServer, Receiver, serve_mail, serve_receiver

CONFIG = """
[server]
drain_s = 1

[[providers]]
name = "acme-ai"
base_url = "{provider}"
api_key = "{key}"

[[models]]
id = "{model}"
cost = {{ currency = "USD", input = "1", output = "2" }}
routes = [ {{ provider = "acme-ai", model = "up-1" }} ]

[alerts]
email = "ops@shop.example"
webhook = "http://127.0.0.1:{hook}/ops?token=t0ken"
webhook_secret = "s3cret"
allow_private = true

[email]
host = "127.0.0.1"
port = {mail}
security = "none"
sender = "billing@shop.example"
"""
CALL = {"model": MODEL, "messages": [{"role": "user", "content": "Hi!"}], "max_tokens": 5}
CHARGE_NANO = charge_of(11, 5)


class Scene(msgspec.Struct):
    """A shop with one provider, a receiver and a mail server; acme is told by mail."""

    gateway: Gateway
    provider: FaultyUpstream
    hook: Receiver
    mail: MailServer
    key: str
    acme: Account

    async def call(self) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        return await self.gateway.client.post("/v1/chat/completions", json=CALL, headers=headers)

    async def calls(self, count: int) -> None:
        for _ in range(count):
            answer = await self.call()
            assert answer.status_code == 200, answer.text

    async def told(self, to: str, count: int) -> list[EmailMessage]:
        """So many mails to an address, when they are here."""
        async with asyncio.timeout(15):
            while len(found := [mail for mail in self.mail.mails if mail["To"] == to]) < count:
                await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def open_scene(folder: Path, *, calls: int = 100) -> AsyncIterator[Scene]:
    """Open it with credit for so many calls."""
    async with serve_faulty() as provider, serve_receiver() as hook, serve_mail() as mail:
        config = CONFIG.format(
            provider=provider.base_url, key=CANARY_KEY, model=MODEL, hook=hook.port, mail=mail.port
        )
        async with running(folder, config) as gateway:
            key = gateway.key(credit=f"0.{calls * CHARGE_NANO:09d}")
            with gateway.office.database.transaction() as work:
                acme = get_account(work, "acme")
                set_contact(work, acme.id, Contact("ann@acme.example"))
            yield Scene(gateway, provider, hook, mail, key, acme)


async def test_a_customer_is_told_at_each_level_while_calls_still_succeed(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        await scene.calls(50)
        await scene.told("ann@acme.example", 1)
        await scene.calls(30)
        half, most = await scene.told("ann@acme.example", 2)
        assert half["Subject"] == "50 % of your balance is spent"
        assert most["Subject"] == "80 % of your balance is spent"
        assert "/console/wallet" in most.get_content()
        await scene.calls(10)  # Told before the failure.
        while (await scene.call()).status_code == 200:
            pass
        spent = (await scene.told("ann@acme.example", 3))[-1]
        assert spent["Subject"] == "100 % of your balance is spent"
        await scene.call()
        await asyncio.sleep(3.5)
        assert len(scene.mail.mails) == 3  # No level is told twice.
        assert not scene.hook.posted  # A customer's balance is the customer's.


async def test_a_customer_is_told_of_a_keys_budget(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        database, now_us = scene.gateway.office.database, scene.gateway.office.clock.now_us()
        with database.transaction() as work:
            row = work.one("SELECT id FROM keys WHERE account_id = ?", scene.acme.id)
            assert row is not None
            budget = Budget("day", 20 * CHARGE_NANO)
            set_budget(work, key_id=int(row[0] or 0), account_id=scene.acme.id, budget=budget, now_us=now_us)
        await asyncio.sleep(0.5)  # Until the worker follows.
        for _ in range(17):
            assert (await scene.call()).status_code == 200
        last = (await scene.told("ann@acme.example", 1))[-1]
        assert last["Subject"].startswith("80 % of the budget for this day of the key ")


async def test_the_operator_is_told_once_an_hour_that_a_provider_is_spent(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        scene.provider.script(error(402, "Insufficient Balance"))
        assert (await scene.call()).status_code in (502, 503)
        (post,) = await scene.hook.came(kind="provider_spent")
        (mail,) = await scene.told("ops@shop.example", 1)
        assert mail["Subject"] == "Your account at acme-ai is out of credit"
        assert post.json["data"] == {"provider": "acme-ai"}
        assert post.line.startswith("POST /ops?token=t0ken ")
        assert post.headers["webhook-id"] == post.json["id"]
        assert CANARY_KEY not in post.body.decode()
        await scene.call()
        await asyncio.sleep(2.2)
        assert len(scene.hook.posted) == 1
        with scene.gateway.office.database.read() as view:
            (listed,) = list_notices(view, None)
        assert {told.channel: told.state for told in listed.told} == {
            "email": "delivered",
            "webhook": "delivered",
        }


async def test_two_workers_tell_everything_once(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        office, worker = scene.gateway.office, scene.gateway.worker
        providers, wallets = worker.stock.providers, worker.house.wallets
        second = Alerting(office, providers, wallets, owner="another", top_up_url="https://shop.example")
        deliver = second.duties()[1].run

        async def run_second() -> None:
            while True:
                await asyncio.to_thread(second.look)
                await deliver()  # type: ignore[misc]  # A duty's result is any object.
                await asyncio.sleep(0.05)

        beside = asyncio.create_task(run_second())
        await scene.calls(85)
        await scene.told("ann@acme.example", 1)
        await asyncio.sleep(2.2)
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
        await second.stop()
        ids = [mail["Message-ID"] for mail in scene.mail.mails]
        assert len(ids) == len(set(ids)) == len({mail["Subject"] for mail in scene.mail.mails})


async def test_a_receiver_who_was_away_is_told_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene(tmp_path) as scene:
        scene.hook.answers = [b"HTTP/1.1 503 Away\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
        scene.provider.script(error(402))
        await scene.call()
        first, second = await scene.hook.came(2, wait_s=20)
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert "answered 503" in caplog.text
        for secret in ("t0ken", "s3cret", CANARY_KEY):
            assert secret not in caplog.text
