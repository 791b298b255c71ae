"""What a key reads of its account's money: exact to the last digit, its own alone, in every form there is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx2
import msgspec
import pytest
import pytest_asyncio

from farebox.app.paperwork import invoice_terms
from farebox.billing.papers.invoicing import issue_for, issue_missing
from farebox.billing.periods import Calendar
from farebox.core.money import NANO
from farebox.gateway.profiles import BASES
from farebox.ledger.moves import Move, move
from farebox.ledger.rules import TransferKind
from tests.api.caller import Caller, error_of
from tests.support.gateway import Gateway, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
[wallet]
currency = "INR"
time_zone = "Asia/Kolkata"
fx = { USD = "88" }

[payments]
tax_rate_basis_points = 1800
tax_name = "GST"

[invoices]
seller = "Acme Private Limited"
tax_id = "29ABCDE1234F1Z5"
tax_lines = [ { name = "CGST", basis_points = 900 }, { name = "SGST", basis_points = 900 } ]
paper = "letter"

[[providers]]
name = "sandbox"
base_url = "http://127.0.0.1:9"

[[models]]
id = "openai/gpt-4o-mini"
routes = [ { provider = "sandbox", model = "x" } ]
"""
INDIA = Calendar("Asia/Kolkata")
DAY_US = 86_400_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway in India; nobody calls a model here."""
    async with running(tmp_path_factory.mktemp("india"), CONFIG) as gateway:
        yield gateway


def read(answer: httpx2.Response) -> Any:
    """An answer whose numbers stay exact."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, no-store"
    return msgspec.json.Decoder(float_hook=Decimal).decode(answer.content)


def account_of(caller: Caller) -> int:
    rows = caller.gateway.office.database.rows("SELECT id FROM accounts WHERE name = ?", caller.account)
    return int(str(next(iter(rows))[0]))


def book(caller: Caller, id_: str, kind: TransferKind, change_nano: int, at_us: int) -> None:
    """Move money at a given time."""
    with caller.gateway.office.database.transaction() as work:
        move(work, Move(id_, account_of(caller), kind, change_nano, "INR", "by a test", at_us))


def top_up(caller: Caller, id_: str, *, issued: bool = True) -> None:
    """A top-up of 100 with 18 of tax, paid; its invoice is made with it, or left for the duty."""
    office = caller.gateway.office
    now_us = office.clock.now_us()
    with office.database.transaction() as work:
        work.run(
            "INSERT INTO topups (id, account_id, processor, processor_ref, status, credit, tax, total, currency,"
            " tax_name, return_url, paid, created, updated)"
            " VALUES (?, ?, 'dev', ?, 'paid', ?, ?, ?, 'INR', 'GST', '', ?, ?, ?)",
            *(
                id_,
                account_of(caller),
                f"ref-{id_}",
                100 * NANO,
                18 * NANO,
                118 * NANO,
                now_us,
                now_us,
                now_us,
            ),
        )
        if issued:
            issue_for(work, id_, invoice_terms(office.settings), now_us)


async def test_the_wallet_says_what_is_there_held_and_spendable(shop: Gateway) -> None:
    caller = Caller(shop, "wallet", credit="41.250000001")
    answer = await caller.get("/v1/wallet")
    assert (
        b'"balance":41.250000001,"held":0,"spendable":41.250000001,"spent":0,"currency":"INR"'
        in answer.content
    )
    assert read(answer)["object"] == "wallet"


@pytest.mark.parametrize("base", BASES)
async def test_the_wallet_is_below_every_base(shop: Gateway, base: str) -> None:
    caller = Caller(shop, "bases")
    for path in ("", "/transfers", "/invoices", "/statements", "/billing"):
        assert (await caller.get(f"{base}/wallet{path}")).status_code == 200


async def test_transfers_are_told_newest_first_with_the_balance_after_each(shop: Gateway) -> None:
    caller = Caller(shop, "history", credit="10")
    now_us = shop.office.clock.now_us()
    for number, change in enumerate((NANO, -2, 3)):
        kind = TransferKind.TOP_UP if change > 0 else TransferKind.CORRECTION
        book(caller, f"move-{number}", kind, change, now_us)
    seen: list[Any] = []
    before = ""
    while True:
        page = read(await caller.get(f"/v1/wallet/transfers?limit=3{before}"))
        seen += page["data"]
        if not page["has_more"]:
            break
        before = f"&before={seen[-1]['id']}"
    told = [(one["kind"], Decimal(one["amount"]), Decimal(one["balance_after"])) for one in seen]
    assert told == [
        ("top_up", Decimal("3E-9"), Decimal("11.000000001")),
        ("correction", Decimal("-2E-9"), Decimal("10.999999998")),
        ("top_up", Decimal(1), Decimal(11)),
        ("grant", Decimal(10), Decimal(10)),
    ]
    assert seen[0]["reason"] == "by a test"
    only = read(await caller.get("/v1/wallet/transfers?kind=correction"))["data"]
    assert [(one["id"], Decimal(one["balance_after"])) for one in only] == [
        ("move-1", Decimal("10.999999998"))
    ]


async def test_times_bound_transfers_and_a_date_begins_in_the_zone(shop: Gateway) -> None:
    caller = Caller(shop, "bounds", credit="0")
    midnight = INDIA.day(shop.office.clock.now_us()).start_us
    book(caller, "before", TransferKind.TOP_UP, 1, midnight - 1)
    book(caller, "after", TransferKind.TOP_UP, 1, midnight)
    today = INDIA.day(midnight).name
    for query, expected in (
        (f"from={today}", ["after"]),
        (f"to={today}", ["before"]),
        ("from=2000-01-01T00:00:00%2B05:30", ["after", "before"]),
        ("from=2000-01-01T00:00:00+05:30&to=2000-01-02T00:00:00Z", []),
    ):
        found = read(await caller.get(f"/v1/wallet/transfers?{query}"))["data"]
        assert [one["id"] for one in found] == expected


async def test_days_are_told_newest_first_and_end_with_the_balance(shop: Gateway) -> None:
    caller = Caller(shop, "days", credit="0")
    today = INDIA.day(shop.office.clock.now_us())
    book(caller, "old", TransferKind.TOP_UP, 5 * NANO, today.start_us - 40 * DAY_US)
    book(caller, "eve", TransferKind.TOP_UP, 7 * NANO, today.start_us - 1)
    book(caller, "now", TransferKind.CORRECTION, -NANO, today.start_us)
    page = read(await caller.get("/v1/wallet/transfers?group=day"))
    assert (len(page["data"]), page["has_more"]) == (31, True)
    newest, eve = page["data"][:2]
    assert (newest["day"], newest["money_out"], newest["balance_after"]) == (today.name, 1, 11)
    assert (eve["money_in"], eve["balance_after"], page["data"][-1]["balance_after"]) == (7, 12, 5)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("transfers?limit=0", "limit"),
        ("transfers?limit=101", "limit"),
        ("transfers?kind=gift", "kind"),
        ("transfers?before=nothing", "before"),
        ("transfers?from=yesterday", "from"),
        ("transfers?to=2026-10-01T00:00:00", "to"),
        ("transfers?group=week", "group"),
        ("transfers?group=day&kind=charge", "group"),
        ("transfers?group=day&from=2020-01-01&to=2026-01-01", "from"),
        ("transfers?group=day&from=2026-01-02&to=2026-01-01", "from"),
        ("invoices?limit=x", "limit"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_by_name(shop: Gateway, path: str, param: str) -> None:
    error = error_of(await Caller(shop, "asks").get(f"/v1/wallet/{path}"), 400)
    assert error["param"] == param
    assert param in error["message"]


async def test_an_invoice_is_told_in_every_form(shop: Gateway) -> None:
    caller = Caller(shop, "buyer")
    top_up(caller, "paid-1")
    (listed,) = read(await caller.get("/v1/wallet/invoices"))["data"]
    number = listed["number"]
    assert re.fullmatch(r"INV-20\d\d-\d{6}", number)
    assert read(await caller.get(f"/v1/wallet/invoices/{number}")) == listed
    assert (listed["net"], listed["tax"], listed["total"], listed["currency"]) == (100, 18, 118, "INR")
    assert [(line["name"], line["amount"]) for line in listed["tax_lines"]] == [("CGST", 9), ("SGST", 9)]

    page = await caller.get(f"/v1/wallet/invoices/{number}.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "script" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "₹118.00" in page.text

    printed = await caller.get(f"/v1/wallet/invoices/{number}.pdf")
    assert printed.headers["content-type"] == "application/pdf"
    assert printed.headers["content-disposition"] == f'attachment; filename="{number}.pdf"'
    assert printed.content.startswith(b"%PDF-")
    assert (await caller.get(f"/v1/wallet/invoices/{number}.pdf?paper=letter")).content == printed.content
    assert (await caller.get(f"/v1/wallet/invoices/{number}.pdf?paper=a4")).content != printed.content
    assert error_of(await caller.get(f"/v1/wallet/invoices/{number}.pdf?paper=a0"), 400)["param"] == "paper"


async def test_an_invoice_that_nobody_made_is_made_by_the_duty(shop: Gateway) -> None:
    caller = Caller(shop, "forgotten")
    top_up(caller, "forgotten-1", issued=False)
    office = shop.office
    issue_missing(office.database, invoice_terms(office.settings), office.clock.now_us())
    assert len(read(await caller.get("/v1/wallet/invoices"))["data"]) == 1


async def test_a_strangers_document_and_an_absent_one_answer_alike(shop: Gateway) -> None:
    owner, stranger = Caller(shop, "owner"), Caller(shop, "stranger", credit="0")
    top_up(owner, "owned")
    (listed,) = read(await owner.get("/v1/wallet/invoices"))["data"]
    assert read(await stranger.get("/v1/wallet/invoices"))["data"] == []
    assert read(await stranger.get(f"/v1/wallet/invoices?before={listed['number']}"))["data"] == []
    told = [
        error_of(await stranger.get(f"/v1/wallet/invoices/{name}"), 404)
        for name in (
            listed["number"],
            f"{listed['number']}.pdf",
            f"{listed['number']}.html",
            "INV-1",
            "..%2f..",
            "%0d%0a",
        )
    ]
    assert {error["message"] for error in told} == {"There is no such invoice of this account."}
    month = INDIA.month(shop.office.clock.now_us()).name
    assert (await owner.get(f"/v1/wallet/statements/{month}")).status_code == 200
    for name in (month, f"{month}.pdf", "2026-13", "1999-01", "x"):
        error = error_of(await stranger.get(f"/v1/wallet/statements/{name}"), 404)
        assert error["metadata"]["error_type"] == "statement_not_found"


async def test_a_statement_is_told_in_every_form_and_agrees_with_the_wallet(shop: Gateway) -> None:
    caller = Caller(shop, "stated", credit="0")
    month = INDIA.month(shop.office.clock.now_us())
    book(caller, "last", TransferKind.TOP_UP, 2 * NANO, month.start_us - 1)
    book(caller, "first", TransferKind.TOP_UP, 3 * NANO + 1, month.start_us)
    newest, older = read(await caller.get("/v1/wallet/statements"))["data"]
    assert (newest["month"], newest["complete"], older["complete"]) == (month.name, False, True)
    assert newest["from"].endswith("-01T00:00:00+05:30")
    assert older["to"] == newest["from"]

    now = read(await caller.get(f"/v1/wallet/statements/{month.name}"))
    assert (now["opening_balance"], now["closing_balance"]) == (2, Decimal("5.000000001"))
    assert now["closing_balance"] == read(await caller.get("/v1/wallet"))["balance"]
    before = read(await caller.get(f"/v1/wallet/statements/{older['month']}"))
    assert (before["opening_balance"], before["closing_balance"], before["complete"]) == (0, 2, True)
    assert before["days"][-1]["balance_after"] == 2

    page = await caller.get(f"/v1/wallet/statements/{older['month']}.html")
    assert "Closing balance" in page.text
    assert "Acme Private Limited" in page.text
    printed = await caller.get(f"/v1/wallet/statements/{older['month']}.pdf")
    name = f"statement-{older['month']}.pdf"
    assert printed.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert (await caller.get(f"/v1/wallet/statements/{older['month']}.pdf")).content == printed.content


async def test_charges_of_calls_are_in_the_history_with_their_model_and_tokens(tmp_path: Any) -> None:
    async with running(tmp_path) as gateway:
        caller = Caller(gateway, "caller")
        answer = await caller.chat()
        assert answer.status_code == 200
        (charge, _) = read(await caller.get("/v1/wallet/transfers"))["data"]
        assert (charge["kind"], charge["request_id"]) == ("charge", answer.headers["x-request-id"])
        assert charge["model"] == "openai/gpt-4o-mini"
        assert charge["input_tokens"] > 0
        wallet = read(await caller.get("/v1/wallet"))
        assert charge["balance_after"] == wallet["balance"] == 10 + charge["amount"]
        assert wallet["spent"] == -charge["amount"]
        (month,) = read(await caller.get("/v1/wallet/statements"))["data"]
        stated = read(await caller.get(f"/v1/wallet/statements/{month['month']}"))
        (model,) = stated["models"]
        assert (model["calls"], model["charge"]) == (1, wallet["spent"])


async def test_billing_details_stand_on_the_invoices_after_them_and_not_before(shop: Gateway) -> None:
    caller = Caller(shop, "detailed")
    assert read(await caller.get("/v1/wallet/billing"))["name"] == "detailed"
    top_up(caller, "detailed-1")
    details = {
        "name": "Żółw & Söhne",
        "address": ["1 Road"],
        "region": "",
        "tax_id": "DE1",
        "email": "a@b.example",
    }
    said = read(await caller.post("/v1/wallet/billing", details))
    assert said == read(await caller.get("/v1/wallet/billing")) == {"object": "billing_details", **details}
    top_up(caller, "detailed-2")
    newer, older = read(await caller.get("/v1/wallet/invoices"))["data"]
    assert (newer["buyer"]["name"], older["buyer"]["name"]) == ("Żółw & Söhne", "detailed")
    assert read(await caller.get(f"/v1/wallet/invoices?limit=1&before={newer['number']}"))["data"] == [older]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"name": 5}',
        b'{"name": ""}',
        b'{"name": "a", "vat": "x"}',
        b'{"name": "a\\nb"}',
        b"\xff",
    ],
)
async def test_billing_details_that_cannot_be_used_are_refused(shop: Gateway, body: bytes) -> None:
    caller = Caller(shop, "bad-details")
    assert error_of(await caller.post("/v1/wallet/billing", body), 400)["message"]
    assert read(await caller.get("/v1/wallet/billing"))["name"] == "bad-details"


async def test_nothing_of_a_wallet_is_told_without_a_key(shop: Gateway) -> None:
    for path in (
        "",
        "/transfers",
        "/invoices",
        "/invoices/INV-2026-000001.pdf",
        "/statements",
        "/statements/2026-10",
        "/billing",
    ):
        assert (await shop.client.get(f"/v1/wallet{path}")).status_code == 401
    assert (await shop.client.post("/v1/wallet/billing", content=b"{}")).status_code == 401
