"""What processors tell: one credit for what is true, none for what is forged, repeated, stale or somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.api.caller import error_of
from tests.api.paying import Shop, shop_in

PAID = "checkout.session.completed"


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_in(tmp_path) as shop:
        yield shop


async def test_a_true_event_credits_once_however_often_it_comes(shop: Shop) -> None:
    id_ = (await shop.start("stripe"))["id"]
    session = shop.session_of(id_)
    shop.stripe.pay(session)
    event = shop.stripe.event(PAID, {"id": session})
    assert [(await shop.tell("stripe", event)).status_code for _ in range(5)] == [200] * 5
    assert (
        await shop.stripe_says("checkout.session.async_payment_succeeded", {"id": session}, id_="evt_2")
        == 200
    )
    assert shop.balance == 100
    assert shop.rows("SELECT processor, event_id, topup_id FROM payment_events") == [("stripe", "evt_1", id_)]


async def test_events_at_once_credit_once(shop: Shop) -> None:
    id_ = (await shop.start("stripe"))["id"]
    session = shop.session_of(id_)
    shop.stripe.pay(session)
    events = [shop.stripe.event(PAID, {"id": session}, id_=f"evt_{number}") for number in range(8)]
    told = await asyncio.gather(*(shop.tell("stripe", event) for event in [*events, *events]))
    assert {answer.status_code for answer in told} <= {200, 503}  # Beyond what is heard at once: sent again.
    assert shop.balance == 100


async def test_a_forged_event_is_refused_and_credits_nothing(shop: Shop) -> None:
    id_ = (await shop.start("stripe"))["id"]
    session = shop.session_of(id_)
    shop.stripe.pay(session)
    body, headers = shop.stripe.event(PAID, {"id": session}, secret="whsec_forged")
    assert error_of(await shop.tell("stripe", (body, headers)), 400)["message"]
    assert (await shop.tell("stripe", (body, {}))).status_code == 400
    true_body, true_headers = shop.stripe.event(PAID, {"id": session})
    assert (await shop.tell("stripe", (true_body + b" ", true_headers))).status_code == 400
    assert shop.balance == 0


async def test_a_stale_event_is_refused_and_the_poll_finds_out(shop: Shop) -> None:
    id_ = (await shop.start("stripe"))["id"]
    session = shop.session_of(id_)
    shop.stripe.pay(session)
    assert await shop.stripe_says(PAID, {"id": session}, age_s=301) == 400
    assert shop.balance == 0
    await shop.later(shop.gateway.worker.topups.check, id_)
    assert shop.balance == 100


async def test_what_an_event_says_is_not_believed(shop: Shop) -> None:
    session = shop.session_of((await shop.start("stripe"))["id"])
    assert await shop.stripe_says(PAID, {"id": session}) == 200  # It says: paid, and 999,999.99.
    assert shop.balance == 0


@pytest.mark.parametrize(("amount", "currency"), [(100, None), (11_801, None), (11_800, "usd")])
async def test_another_amount_or_currency_is_not_credited_and_the_operator_hears_of_it(
    shop: Shop, amount: int, currency: str | None
) -> None:
    id_ = (await shop.start("stripe"))["id"]
    session = shop.session_of(id_)
    shop.stripe.pay(session, amount, currency)
    assert await shop.stripe_says(PAID, {"id": session}) == 200
    assert await shop.status(id_) == "mismatch"
    assert shop.balance == 0
    assert len(shop.notices()) == 1


async def test_an_event_for_a_foreign_or_unknown_payment_changes_nothing(shop: Shop) -> None:
    mine = shop.session_of((await shop.start("stripe"))["id"])
    foreign = {**shop.stripe.sessions[mine], "id": "cs_foreign", "client_reference_id": "another-shop"}
    shop.stripe.sessions["cs_foreign"] = foreign
    shop.stripe.pay("cs_foreign")
    for number, session in enumerate(("cs_foreign", "cs_unknown")):
        assert await shop.stripe_says(PAID, {"id": session}, id_=f"evt_{number}") == 200
    assert await shop.stripe_says("customer.created", {"id": "cus_1"}) == 200
    assert shop.balance == 0
    assert shop.rows("SELECT * FROM payment_events") == []


async def test_an_event_before_our_row_knows_its_reference_is_credited(shop: Shop) -> None:
    id_ = (await shop.start("stripe"))["id"]
    session = shop.session_of(id_)
    with shop.gateway.office.database.transaction() as work:  # As if we died before the answer was written.
        work.run("UPDATE topups SET processor_ref = NULL, url = NULL, status = 'created'")
    shop.stripe.pay(session)
    assert await shop.stripe_says(PAID, {"id": session}) == 200
    assert shop.balance == 100


async def test_a_processor_that_is_down_is_asked_when_the_event_comes_again(shop: Shop) -> None:
    session = shop.session_of((await shop.start("stripe"))["id"])
    shop.stripe.pay(session)
    shop.stripe.broken = True
    assert await shop.stripe_says(PAID, {"id": session}) == 502
    shop.stripe.broken = False
    assert await shop.stripe_says(PAID, {"id": session}) == 200
    assert shop.balance == 100


@pytest.mark.parametrize("secret", ["", 'webhook_secret = ""', 'webhook_secret = " "'])
async def test_without_a_secret_there_is_no_endpoint(tmp_path: Path, secret: str) -> None:
    async with shop_in(tmp_path, stripe_hook=secret) as shop:
        session = shop.session_of((await shop.start("stripe"))["id"])
        shop.stripe.pay(session)
        for signed_with in ("", " ", "whsec_canary"):
            assert await shop.stripe_says(PAID, {"id": session}, secret=signed_with) == 404
        assert shop.balance == 0


@pytest.mark.parametrize("name", ["dev", "manual", "nobody", "stripe/more", "%2e"])
async def test_only_processors_with_events_have_an_endpoint(shop: Shop, name: str) -> None:
    assert (await shop.gateway.client.post(f"/webhooks/{name}", content=b"{}")).status_code == 404
    assert (await shop.gateway.client.get("/webhooks/stripe")).status_code == 405


async def test_a_refund_at_the_dashboard_takes_its_share_once(shop: Shop) -> None:
    id_, payment = await shop.paid_by_stripe()
    shop.stripe.give_back(payment, 5_900)
    for number in range(3):
        about = {"id": "ch_1", "payment_intent": payment}
        assert await shop.stripe_says("charge.refunded", about, id_=f"evt_{number}") == 200
    assert await shop.status(id_) == "partly_refunded"
    assert shop.balance == 50


async def test_our_own_refund_is_not_booked_again_by_its_event(shop: Shop) -> None:
    id_, payment = await shop.paid_by_stripe()
    topups = shop.gateway.worker.topups
    refund = await shop.later(topups.refund, id_, 40 * 10**9, "as asked")
    assert refund.status == "done"
    assert [one["amount"] for one in shop.stripe.refunds.values()] == [4_720]
    assert (
        await shop.stripe_says("charge.refunded", {"id": "ch_1", "payment_intent": payment}, id_="evt_r")
        == 200
    )
    assert shop.balance == 60


async def test_a_refund_that_races_calls_never_takes_what_is_held(shop: Shop) -> None:
    id_, _ = await shop.paid_by_stripe("20")
    with shop.gateway.office.database.transaction() as work:
        work.run("UPDATE wallets SET held = 15000000000")  # As calls under way hold it.
    topups = shop.gateway.worker.topups
    told = await asyncio.gather(
        *(shop.later(topups.refund, id_, 5 * 10**9, "race") for _ in range(4)), return_exceptions=True
    )
    assert sum(not isinstance(one, Exception) for one in told) == 1
    assert shop.balance == 15
    with shop.gateway.office.database.transaction() as work:
        work.run("UPDATE wallets SET held = 0")


async def test_a_dispute_closes_the_account_and_one_that_is_won_gives_back(shop: Shop) -> None:
    id_, payment = await shop.paid_by_stripe()
    dispute = shop.stripe.dispute(payment)
    about = {"id": dispute, "payment_intent": payment}
    for number in range(2):
        assert await shop.stripe_says("charge.dispute.created", about, id_=f"evt_{number}") == 200
    assert shop.balance == 0
    await asyncio.sleep(0.5)  # Every worker follows within a second.
    assert (await shop.caller.get("/v1/credits")).status_code == 403
    shop.stripe.dispute(payment, "won")
    assert await shop.stripe_says("charge.dispute.closed", about, id_="evt_won") == 200
    assert shop.balance == 100
    assert len(shop.notices()) == 2
    assert shop.rows("SELECT status FROM topups") == [("paid",)]
    assert id_


async def test_razorpay_credits_once_gives_back_and_is_disputed(shop: Shop) -> None:
    id_ = (await shop.start("razorpay"))["id"]
    link = shop.link_of(id_)
    assert (
        await shop.razorpay_says("payment_link.paid", "payment_link", link) == 200
    )  # Says it; it is not so.
    assert shop.balance == 0
    payment = shop.razorpay.pay(link)
    event = shop.razorpay.event("payment_link.paid", "payment_link", link)
    assert [(await shop.tell("razorpay", event)).status_code for _ in range(5)] == [200] * 5
    assert await shop.razorpay_says("order.paid", "payment", payment) == 200
    assert shop.balance == 100
    shop.razorpay.give_back(payment, 5_900)
    assert await shop.razorpay_says("refund.processed", "payment", payment, age_s=3_600) == 200  # Sent late.
    assert shop.balance == 50
    dispute = shop.razorpay.dispute(payment)
    assert await shop.razorpay_says("payment.dispute.created", "dispute", dispute) == 200
    assert shop.balance == 0
    shop.razorpay.dispute(payment, "won")
    assert await shop.razorpay_says("payment.dispute.won", "dispute", dispute) == 200
    assert shop.balance == 50
    assert await shop.razorpay_says("payment_link.paid", "payment_link", link, secret="forged") == 400


async def test_a_stale_event_of_razorpay_credits_only_what_razorpay_itself_says_is_paid(shop: Shop) -> None:
    link = shop.link_of((await shop.start("razorpay"))["id"])
    assert await shop.razorpay_says("payment_link.paid", "payment_link", link, age_s=86_400) == 200
    assert shop.balance == 0


@pytest.mark.parametrize(("amount", "currency"), [(100, None), (11_800, "USD")])
async def test_razorpay_with_another_amount_is_not_credited(
    shop: Shop, amount: int, currency: str | None
) -> None:
    id_ = (await shop.start("razorpay"))["id"]
    link = shop.link_of(id_)
    shop.razorpay.pay(link, amount, currency)
    assert await shop.razorpay_says("payment_link.paid", "payment_link", link) == 200
    assert await shop.status(id_) == "mismatch"
    assert shop.balance == 0


async def test_a_refund_of_ours_at_razorpay_is_made_once(shop: Shop) -> None:
    id_ = (await shop.start("razorpay"))["id"]
    payment = shop.razorpay.pay(shop.link_of(id_))
    topups = shop.gateway.worker.topups
    await shop.later(topups.check, id_)
    assert (await shop.later(topups.refund, id_, 100 * 10**9, "as asked")).status == "done"
    assert await shop.razorpay_says("refund.processed", "payment", payment) == 200
    assert [one["amount"] for one in shop.razorpay.refunds.values()] == [11_800]
    assert await shop.status(id_) == "refunded"
    assert shop.balance == 0
