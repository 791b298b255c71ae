"""Invoices: one for each paid top-up, numbered without a gap, never changed; and their credit notes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.billing.papers.buyers import Buyer, find_buyer, get_buyer, save_buyer
from farebox.billing.papers.invoices import find_invoice, find_invoice_of, list_invoices
from farebox.billing.papers.invoicing import issue_for, issue_missing
from farebox.billing.papers.tax import TaxLine
from farebox.core.money import NANO
from tests.ledger.ledger_file import NOW_US
from tests.unit.billing.invoiced import SELLER, TERMS, InvoicedShop, changed, invoiced_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[InvoicedShop]:
    with invoiced_shop(tmp_path) as made:
        yield made
        assert made.breaches() == []


def at(text: str) -> int:
    """Microseconds of a time that names its offset."""
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_a_paid_top_up_gets_an_invoice_with_its_tax_in_lines(shop: InvoicedShop) -> None:
    shop.pay("t1")
    document = shop.issue("t1")
    assert (document.number, document.kind) == ("INV-2023-000001", "invoice")
    assert (document.net_nano, document.tax_nano, document.total_nano) == (100 * NANO, 18 * NANO, 118 * NANO)
    assert document.tax == (TaxLine("CGST", 900, 9 * NANO), TaxLine("SGST", 900, 9 * NANO))
    assert (document.processor, document.processor_ref, document.topup_id) == ("stripe", "pi_t1", "t1")
    assert (document.seller, document.buyer) == (SELLER, Buyer("a"))


def test_asking_twice_gives_the_same_invoice_and_uses_no_number(shop: InvoicedShop) -> None:
    shop.pay("t1")
    shop.pay("t2")
    first = shop.issue("t1")
    assert shop.issue("t1", changed(TERMS, item="Other"), NOW_US + 1) == first
    assert shop.issue("t2").number == "INV-2023-000002"


def test_what_is_not_paid_has_no_invoice(shop: InvoicedShop) -> None:
    shop.pay("t1", paid=False)
    with shop.ledger.database.transaction() as work:
        assert issue_for(work, "t1", TERMS, NOW_US) is None
        assert issue_for(work, "none", TERMS, NOW_US) is None


def test_a_transaction_that_fails_gives_its_number_back(shop: InvoicedShop) -> None:
    shop.pay("t1")

    def fail() -> None:
        with shop.ledger.database.transaction() as work:
            issue_for(work, "t1", TERMS, NOW_US)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert shop.issue("t1").number == "INV-2023-000001"


def test_numbers_run_by_prefix_and_year_and_the_year_is_the_zones(shop: InvoicedShop) -> None:
    for number in range(1, 6):
        shop.pay(f"t{number}")
    new_year = at("2027-01-01T00:00:00+05:30")
    numbers = [
        shop.issue("t1", now_us=new_year - 1).number,
        shop.issue("t2", now_us=new_year).number,
        shop.issue("t3", changed(TERMS, prefix="ACME"), new_year).number,
        shop.issue("t4", now_us=new_year).number,
        # April begins India's year of accounts.
        shop.issue("t5", changed(TERMS, prefix="FY", year_start_month=4), new_year).number,
    ]
    assert numbers == [
        *("INV-2026-000001", "INV-2027-000001", "ACME-2027-000001", "INV-2027-000002", "FY-2026-000001"),
    ]


def test_later_settings_and_details_change_no_issued_invoice(shop: InvoicedShop) -> None:
    shop.pay("t1")
    issued = shop.issue("t1")
    shop.name(Buyer("New name"))
    shop.issue("t1", changed(TERMS, note="New note"))
    with shop.ledger.database.read() as view:
        assert find_invoice(view, shop.a, issued.number) == find_invoice_of(view, "t1") == issued


@pytest.mark.parametrize(
    ("region", "names"),
    [
        ("", ["CGST", "SGST"]),
        ("karnataka", ["CGST", "SGST"]),
        ("Maharashtra", ["IGST"]),
    ],
)
def test_the_tax_lines_depend_on_the_buyers_region(shop: InvoicedShop, region: str, names: list[str]) -> None:
    shop.name(Buyer("Buyer Ltd", ("Street 1", "Town"), region, "27AAAAA0000A1Z5", "ap@buyer.example"))
    shop.pay("t1")
    document = shop.issue("t1")
    assert [line.name for line in document.tax] == names
    assert document.buyer.tax_id == "27AAAAA0000A1Z5"


def test_without_lines_in_the_settings_the_tax_is_one_line_by_its_name(shop: InvoicedShop) -> None:
    shop.pay("t1")
    shop.pay("t2", tax=0)
    bare = changed(TERMS, parts=(), parts_away=())
    assert shop.issue("t1", bare).tax == (TaxLine("GST", 0, 18 * NANO),)
    assert shop.issue("t2", bare).tax == ()


def test_a_tax_paid_at_another_rate_than_the_settings_is_one_line(shop: InvoicedShop) -> None:
    shop.pay("t1", tax=12)
    shop.pay("t2", tax=18)
    assert shop.issue("t1").tax == (TaxLine("GST", 0, 12 * NANO),)
    assert len(shop.issue("t2").tax) == 2


def test_a_full_refund_is_credited_by_a_note_of_its_own_series(shop: InvoicedShop) -> None:
    shop.pay("t1")
    invoice = shop.issue("t1")
    shop.give_back("r1", "t1", 100 * NANO, 118 * NANO)
    note = shop.credit("r1")
    assert note is not None
    assert (note.number, note.kind, note.invoice) == ("CN-2023-000001", "credit_note", invoice.number)
    assert (note.net_nano, note.tax, note.total_nano) == (100 * NANO, invoice.tax, 118 * NANO)
    assert note.reason == "asked for it"
    assert shop.credit("r1") == note


def test_credit_notes_never_take_more_than_the_invoice(shop: InvoicedShop) -> None:
    shop.pay("t1")
    shop.issue("t1")
    for number, units in enumerate((59, 29, 60, 5)):
        shop.give_back(f"r{number}", "t1", units * NANO * 100 // 118, units * NANO)
    notes = [shop.credit(f"r{number}") for number in range(4)]
    assert [note and note.total_nano for note in notes] == [59 * NANO, 29 * NANO, 30 * NANO, None]
    assert issue_missing(shop.ledger.database, TERMS, NOW_US) == 0


def test_a_refund_without_an_invoice_has_no_credit_note(shop: InvoicedShop) -> None:
    shop.pay("t1")
    shop.give_back("r1", "t1", 100 * NANO, 118 * NANO)
    assert shop.credit("r1") is None


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    credit=st.integers(1, 10**6),
    tax=st.integers(0, 10**6),
    refunds=st.lists(st.tuples(st.integers(0, 10**15), st.integers(1, 10**15)), max_size=4),
)
def test_whatever_is_refunded_the_rules_of_invoices_hold(
    shop: InvoicedShop, credit: int, tax: int, refunds: list[tuple[int, int]]
) -> None:
    with shop.ledger.database.read() as view:
        count = int(str((view.one("SELECT COUNT(*) FROM topups") or (0,))[0]))
    shop.pay(f"t{count}", credit, tax)
    for number, (net, total) in enumerate(refunds):
        shop.give_back(f"r{count}.{number}", f"t{count}", min(net, total), total)
    issue_missing(shop.ledger.database, TERMS, NOW_US)
    assert shop.breaches() == []
    with shop.ledger.database.read() as view:
        assert len(list_invoices(view, shop.a, before=None, limit=10**6)) >= count + 1


def test_what_is_missing_is_made_oldest_first_and_once(shop: InvoicedShop) -> None:
    for number in range(120):
        shop.pay(f"t{number:03d}", account=shop.b if number % 2 else shop.a)
    shop.give_back("r1", "t000", NANO, NANO)
    assert issue_missing(shop.ledger.database, TERMS, NOW_US) == 121
    assert issue_missing(shop.ledger.database, TERMS, NOW_US) == 0
    with shop.ledger.database.read() as view:
        found = find_invoice_of(view, "t119")
    assert found is not None
    assert found.number == "INV-2023-000120"


def test_pages_of_invoices_are_newest_first_and_of_one_account(shop: InvoicedShop) -> None:
    for number in range(7):
        shop.pay(f"t{number}", account=shop.b if number == 3 else shop.a)
        shop.issue(f"t{number}", now_us=NOW_US + number // 2)
    with shop.ledger.database.read() as view:
        seen: list[str] = []
        while page := list_invoices(view, shop.a, before=seen[-1] if seen else None, limit=2):
            seen += [one.number for one in page]
        everybody = [one.number for one in list_invoices(view, None, before=None, limit=100)]
        foreign = list_invoices(view, shop.b, before=seen[0], limit=100)
        assert find_invoice(view, shop.b, seen[0]) is None
    assert seen == [f"INV-2023-00000{n}" for n in (7, 6, 5, 3, 2, 1)]
    assert everybody == [f"INV-2023-00000{n}" for n in (7, 6, 5, 4, 3, 2, 1)]
    assert foreign == []


OVERDRAWN = (
    "INSERT INTO invoices SELECT 'CN-1', 'credit_note', series, 9, account_id, topup_id, 'r', number, net + 1, tax,"
    " total + 1, currency, issued, content FROM invoices WHERE n = 1"
)
BROKEN = [
    ("DELETE FROM invoices WHERE n = 1", "numbers of a series have no gap"),
    ("UPDATE invoice_series SET last = 3", "numbers of a series have no gap"),
    ("DELETE FROM invoice_series", "every number is of a series"),
    (
        "UPDATE topups SET tax = 17000000000, credit = 101000000000",
        "an invoice is a top-up's, and comes to what was paid",
    ),
    (
        "UPDATE topups SET account_id = 2 WHERE id = 't1'",
        "an invoice is a top-up's, and comes to what was paid",
    ),
    (
        OVERDRAWN,
        "credit notes take no more than their invoice",
    ),
]


@pytest.mark.parametrize(("sql", "rule"), BROKEN)
def test_a_broken_rule_is_found(tmp_path: Path, sql: str, rule: str) -> None:
    with invoiced_shop(tmp_path) as shop:
        for id_ in ("t1", "t2"):
            shop.pay(id_)
            shop.issue(id_)
        with shop.ledger.database.transaction() as work:
            work.run(sql)
        assert rule in shop.breaches()


def test_the_database_itself_refuses_a_second_invoice_of_a_top_up(shop: InvoicedShop) -> None:
    shop.pay("t1")
    shop.issue("t1")
    again = (
        "INSERT INTO invoices SELECT 'X', kind, series, 2, account_id, topup_id, refund_id, invoice, net, tax, total,"
        " currency, issued, content FROM invoices"
    )
    with pytest.raises(sqlite3.IntegrityError), shop.ledger.database.transaction() as work:
        work.run(again)


def test_billing_details_are_trimmed_and_kept(shop: InvoicedShop) -> None:
    with shop.ledger.database.read() as view:
        assert find_buyer(view, shop.a) is None
        assert get_buyer(view, shop.a) == Buyer("a")
    said = Buyer(" Жан Дюпон ", (" 1 rue X ", "", "Paris"), "", " FR123 ", "jean@example.com")
    kept = shop.name(said)
    assert kept == Buyer("Жан Дюпон", ("1 rue X", "Paris"), "", "FR123", "jean@example.com")
    with shop.ledger.database.read() as view:
        assert get_buyer(view, shop.a) == kept


@pytest.mark.parametrize(
    "buyer",
    [
        Buyer(""),
        Buyer("x" * 201),
        Buyer("a\nb"),
        Buyer("a\u202eb"),  # Turns the rest of the line around.
        Buyer("a", tuple("1234567")),
        Buyer("a", ("x" * 121,)),
        Buyer("a", email="nobody"),
        Buyer("a", tax_id="1\x00"),
    ],
)
def test_billing_details_that_cannot_be_printed_are_refused(shop: InvoicedShop, buyer: Buyer) -> None:
    with pytest.raises(ValueError), shop.ledger.database.transaction() as work:
        save_buyer(work, shop.a, buyer, NOW_US)


def test_names_that_need_a_joiner_can_be_written(shop: InvoicedShop) -> None:
    assert shop.name(Buyer("श्री\u200dमान")).name == "श्री\u200dमान"
