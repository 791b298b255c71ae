"""How a customer pays: by a page of the processor's, at once with `dev`, or by a code."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from farebox.billing.payments.auto_settings import AutoTopup, set_auto_topup
from farebox.billing.payments.codes import NewCode, create_code
from farebox.billing.payments.processors import build_processor
from farebox.billing.payments.processors.processor import Order, ProcessorRefusedError, Terms
from farebox.core.money import NANO
from tests.api.caller import Caller, error_of
from tests.api.paying import Shop, read, shop_in
from tests.support.stripe_standin import DECLINED


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_in(tmp_path) as shop:
        yield shop


async def test_a_top_up_names_the_page_where_it_is_paid(shop: Shop) -> None:
    topup = await shop.start("stripe", return_url="https://shop.example/back?a=1")
    assert topup["object"] == "topup"
    assert (topup["status"], topup["credit"], topup["tax"], topup["total"]) == ("pending", 100, 18, 118)
    assert topup["url"].startswith("https://stripe.example/cs_test_")
    (asked,) = shop.stripe.asked
    assert asked.form["client_reference_id"] == topup["id"] == asked.headers["idempotency-key"]
    assert asked.form["success_url"] == f"https://shop.example/back?a=1&topup={topup['id']}"
    assert asked.form["line_items[0][price_data][unit_amount]"] == "10000"
    assert asked.form["line_items[1][price_data][product_data][name]"] == "GST"
    assert asked.form["line_items[1][price_data][currency]"] == "inr"


async def test_the_first_processor_is_the_usual_one_and_dev_pays_at_once(shop: Shop) -> None:
    answer = await shop.caller.post("/v1/wallet/topups", {"amount": "25"})
    assert read(answer)["processor"] == "stripe"
    topup = await shop.start("dev", "25")
    assert (topup["status"], topup["url"]) == ("paid", None)
    assert shop.balance == 25


async def test_a_repeat_with_an_idempotency_key_is_the_same_payment(shop: Shop) -> None:
    body = {"amount": "25", "processor": "dev"}
    told = [
        read(await shop.caller.post("/v1/wallet/topups", body, idempotency_key="once"))["id"]
        for _ in range(3)
    ]
    assert len(set(told)) == 1
    assert shop.balance == 25


async def test_top_ups_are_listed_newest_first_and_only_ones_own(shop: Shop) -> None:
    ids = [(await shop.start("dev", "10"))["id"] for _ in range(3)]
    page = read(await shop.caller.get("/v1/wallet/topups?limit=2"))
    assert [one["id"] for one in page["data"]] == ids[:0:-1]
    assert page["has_more"]
    rest = read(await shop.caller.get(f"/v1/wallet/topups?before={ids[1]}"))
    assert [one["id"] for one in rest["data"]] == ids[:1]
    other = Caller(shop.gateway, "other")
    assert read(await other.get("/v1/wallet/topups"))["data"] == []
    foreign = error_of(await other.get(f"/v1/wallet/topups/{ids[0]}"), 404)
    absent = error_of(await other.get("/v1/wallet/topups/01ABSENT"), 404)
    assert foreign == absent


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"amount": "4.99"}, "amount"),
        ({"amount": "10001"}, "amount"),
        ({"amount": "25.001"}, "amount"),
        ({"amount": "-25"}, "amount"),
        ({"amount": "1e3"}, "amount"),
        ({"amount": "25", "processor": "manual"}, "processor"),
        ({"amount": "25", "processor": "nobody"}, "processor"),
        ({"amount": "25", "return_url": "http://shop.example"}, "return_url"),
        ({"amount": "25", "return_url": "javascript:alert(1)"}, "return_url"),
        ({"amount": "25", "return_url": "https://a@b.example/"}, "return_url"),
        ({"amount": 25}, None),
        ({"amount": "25", "currency": "USD"}, None),
        ({}, None),
        (b"[", None),
        (b'"' + b"x" * 5_000, None),
    ],
)
async def test_a_top_up_that_cannot_be_is_refused_by_name(
    shop: Shop, body: object, param: str | None
) -> None:
    answer = await shop.caller.post("/v1/wallet/topups", body)
    assert answer.status_code in {400, 413}
    assert answer.json()["error"].get("param") == param
    assert shop.rows("SELECT * FROM topups") == []


async def test_without_a_key_nobody_pays_or_redeems(shop: Shop) -> None:
    for path in ("topups", "redeem"):
        answer = await shop.gateway.client.post(f"/v1/wallet/{path}", json={"amount": "25"})
        assert answer.status_code == 401


async def test_a_processor_that_is_down_or_refuses_says_so_without_its_words(shop: Shop) -> None:
    shop.stripe.broken = True
    answer = await shop.caller.post("/v1/wallet/topups", {"amount": "25"})
    assert error_of(answer, 502)["type"] == "service_unavailable_error"
    assert "canary" not in answer.text
    assert statuses(shop) == ["created"]
    shop.stripe.broken = False
    with shop.gateway.office.database.transaction() as work:
        work.run("UPDATE topups SET next_check = 1")
    await shop.later(shop.gateway.worker.topups.resolve_due)
    assert statuses(shop) == ["pending"]


def statuses(shop: Shop) -> list[object]:
    return [status for (status,) in shop.rows("SELECT status FROM topups")]


async def test_a_code_is_redeemed_once(shop: Shop) -> None:
    office = shop.gateway.office
    with office.database.transaction() as work:
        code = create_code(work, NewCode(25 * NANO, "INR"), office.clock.now_us())
    redeemed = read(await shop.caller.post("/v1/wallet/redeem", {"code": code}))
    assert (redeemed["object"], redeemed["credit"], redeemed["currency"]) == ("redemption", 25, "INR")
    assert (await shop.caller.post("/v1/wallet/redeem", {"code": code})).status_code == 409
    assert (await Caller(shop.gateway, "other").post("/v1/wallet/redeem", {"code": code})).status_code == 404
    assert shop.balance == 25
    kinds = read(await shop.caller.get("/v1/wallet/transfers"))["data"]
    assert [one["kind"] for one in kinds] == ["grant"]


async def test_guessing_codes_is_stopped(shop: Shop) -> None:
    told = [
        (await shop.caller.post("/v1/wallet/redeem", {"code": f"guess-{number}"})) for number in range(11)
    ]
    assert [answer.status_code for answer in told] == [404] * 10 + [429]
    assert int(told[-1].headers["retry-after"]) > 500


async def test_a_wallet_that_runs_low_is_topped_up_by_the_duty(shop: Shop) -> None:
    assert read(await shop.caller.get("/v1/wallet/auto_topup")) == {"object": "auto_topup", "active": False}
    office = shop.gateway.office
    (row,) = shop.rows("SELECT id FROM accounts")
    wanted = AutoTopup(int(str(row[0])), "dev", "card", 20 * NANO, 50 * NANO, 120 * NANO, active=True)
    with office.database.transaction() as work:
        set_auto_topup(work, wanted, office.clock.now_us())
    end_s = time.monotonic() + 10
    while shop.balance == 0 and time.monotonic() < end_s:
        await shop.later(time.sleep, 0.1)
    assert shop.balance == 50
    told = read(await shop.caller.get("/v1/wallet/auto_topup"))
    assert (told["active"], told["threshold"], told["amount"], told["monthly_cap"]) == (True, 20, 50, 120)
    assert "card" not in str(told)


async def test_a_saved_card_is_kept_charged_and_declined(shop: Shop) -> None:
    id_ = (await shop.start("stripe", save_method=True))["id"]
    shop.stripe.pay(shop.session_of(id_))
    topups = shop.gateway.worker.topups
    assert (await shop.later(topups.check, id_)).method == "cus_1:pm_1"
    processor = topups.processors["stripe"]
    order = Order("01AUTO", 10 * NANO, 0, "INR", "", "https://localhost/", 0, method="cus_1:pm_1")
    payment = processor.look_up((await shop.later(processor.start, order)).ref)
    assert payment is not None
    assert (payment.order_id, payment.state.value, payment.paid_nano) == ("01AUTO", "paid", 10 * NANO)
    with pytest.raises(ProcessorRefusedError, match="card_declined"):
        processor.start(Order("02", NANO, 0, "INR", "", "", 0, method=f"cus_1:{DECLINED}"))


async def test_no_key_of_a_processor_is_told_anywhere(shop: Shop) -> None:
    await shop.start("razorpay")
    text = str(shop.rows("SELECT * FROM topups")) + repr(shop.gateway.office.settings)
    assert "canary" not in text


def find_stripe_mock() -> str | None:
    """stripe-mock on the path, or where the Makefile puts it."""
    return shutil.which("stripe-mock") or shutil.which(str(Path(sys.executable).with_name("stripe-mock")))


@contextmanager
def stripe_mock() -> Iterator[str]:
    program = find_stripe_mock()
    if program is None:
        pytest.skip("not tested against Stripe's own mock: `make test` installs it where there is Go")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([program, "-http-port", str(port)], stdout=subprocess.DEVNULL) as process:
        base = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                httpx2.get(base)
            except httpx2.TransportError:
                time.sleep(0.05)
            else:
                break
        try:
            yield base
        finally:
            process.kill()


@pytest.mark.parametrize(("currency", "amount"), [("INR", 100), ("JPY", 2_500), ("KWD", 10)])
def test_stripes_own_mock_takes_our_sessions_and_answers_what_we_read(currency: str, amount: int) -> None:
    with stripe_mock() as base:
        processor = build_processor("stripe", Terms({"secret_key": "sk_test_123"}, base))
        order = Order(
            "01MOCK", amount * NANO, amount * NANO // 10, currency, "GST", "https://shop.example/", 0,
            keep_method=True,
        )  # fmt: skip
        started = processor.start(order)
        assert started.ref.startswith("cs_")
        processor.look_up(started.ref)
