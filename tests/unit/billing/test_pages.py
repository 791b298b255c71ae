"""Pages and PDF: every digit is there, nothing of a customer's becomes markup, the same sheet gives the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.papers.buyers import Buyer
from farebox.billing.papers.invoices import Invoice, Seller
from farebox.billing.papers.monthly import Day, Loss, ModelTotal, Statement, Total
from farebox.billing.papers.pages.amounts import (
    MINUS,
    Writer,
    percent,
    written_date,
    written_month,
    written_time,
)
from farebox.billing.papers.pages.html import to_html
from farebox.billing.papers.pages.invoice import invoice_sheet
from farebox.billing.papers.pages.sheet import Column, Sheet, Table
from farebox.billing.papers.pages.statement import statement_sheet
from farebox.billing.papers.pdf import SYSTEM_FONTS, FontError, Printer
from farebox.billing.papers.tax import TaxLine
from farebox.billing.periods import Calendar
from farebox.core.money import MAX_NANO, NANO, parse_nano
from farebox.ledger.rules import TransferKind

INDIA = Calendar("Asia/Kolkata")
HOSTILE = "<script>alert(1)</script> & \"Söhne\" 'x'"
SELLER = Seller("Acme Private Limited", ("12 MG Road",), "Karnataka", "29ABC", "GSTIN", "pay@acme.example")
INVOICE = Invoice(
    number="INV-2026-000123",
    kind="invoice",
    account_id=1,
    topup_id="01M7XWM8211GFVBR317H8F0EEQ",
    seller=SELLER,
    buyer=Buyer(HOSTILE, ("Plot 7",), "", "27AAA", "ap@buyer.example"),
    item="Prepaid credit",
    item_code="998319",
    net_nano=100_000 * NANO,
    tax=(TaxLine("CGST", 900, 9_000 * NANO), TaxLine("SGST", 950, 9_000 * NANO + 1)),
    tax_nano=18_000 * NANO + 1,
    total_nano=118_000 * NANO + 1,
    credit_nano=100_000 * NANO,
    currency="INR",
    processor="stripe",
    processor_ref="pi_1",
    paid_us=1_791_225_690_000_000,
    issued_us=1_791_225_790_000_000,
    time_zone="Asia/Kolkata",
    note="Credit is no deposit.",
)


def statement(models: int = 2, days: int = 31) -> Statement:
    """October 2026, whose amounts need every decimal."""
    month = INDIA.month_of(2026, 10)
    names = [day.name for day in INDIA.days(month.start_us, month.end_us)][:days]
    totals = [Total(kind, 0, 0) for kind in TransferKind if kind is not TransferKind.CHARGE]
    return Statement(
        account_id=1,
        account="acme",
        holder=Buyer("acme"),
        month="2026-10",
        time_zone="Asia/Kolkata",
        start_us=month.start_us,
        end_us=month.end_us,
        made_us=month.end_us + 7,
        complete=True,
        currency="INR",
        opening_nano=50 * NANO,
        closing_nano=50 * NANO - 1,
        totals=(*totals, Total(TransferKind.CHARGE, 1, -1)),
        models=tuple(ModelTotal(f"maker/model-{number}", 1, 5, 7, 1) for number in range(models)),
        days=tuple(Day(name, 0, 1, 1, 0, 50 * NANO - 1) for name in names),
        losses=(Loss("l", 5 * NANO, HOSTILE, month.start_us),),
    )


@given(st.integers(-MAX_NANO, MAX_NANO), st.sampled_from(["INR", "USD", "JPY", "KWD"]))
def test_an_amount_is_written_with_all_its_digits(nano: int, currency: str) -> None:
    text = Writer(currency).amount(nano)
    assert parse_nano(text.replace(",", "").replace(MINUS, "-")) == nano


@given(st.lists(st.integers(-MAX_NANO, MAX_NANO).filter(bool), min_size=1))
def test_amounts_below_each_other_have_their_points_below_each_other(amounts: list[int]) -> None:
    column = Writer("INR").column(amounts)
    assert len({len(text.partition(".")[2]) for text in column}) == 1
    assert [parse_nano(text.replace(",", "").replace(MINUS, "-")) for text in column] == amounts


def test_amounts_look_as_they_do_where_their_currency_is_used() -> None:
    rupees, dollars, yen = Writer("INR"), Writer("USD"), Writer("JPY")
    assert [rupees.amount(whole * NANO) for whole in (0, 999, 1000, 99_999, 100_000, 1_234_567_890)] == [
        *("0.00", "999.00", "1,000.00", "99,999.00", "1,00,000.00", "1,23,45,67,890.00"),
    ]
    assert dollars.amount(1_234_567_500_000_001) == "1,234,567.500000001"
    assert rupees.paid(118_000 * NANO) == "₹1,18,000.00"
    assert (yen.paid(5 * NANO), Writer("CHF").paid(-5 * NANO)) == ("¥5", f"{MINUS}CHF 5.00")
    assert rupees.column([0, NANO, -1]) == ["0", "1.000000000", f"{MINUS}0.000000001"]


def test_rates_and_dates_are_words() -> None:
    assert [percent(points) for points in (900, 1800, 250, 5)] == ["9 %", "18 %", "2.5 %", "0.05 %"]
    assert written_date(INDIA, 1_791_225_000_000_000) == "6 October 2026"
    assert written_time(INDIA, 1_791_225_000_000_000) == "6 October 2026, 00:00"
    assert written_month("2026-10") == "October 2026"


def test_what_a_customer_wrote_never_becomes_markup() -> None:
    for sheet in (invoice_sheet(INVOICE), statement_sheet(statement(), SELLER)):
        page = to_html(sheet).decode()
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Söhne&quot; &#x27;x&#x27;" in page
        assert not re.search(r"(?:src|href|url\()", page), "a page loads nothing"


def test_an_invoice_says_everything_that_was_kept() -> None:
    sheet = invoice_sheet(INVOICE)
    page = to_html(sheet).decode()
    assert (sheet.title, sheet.name) == ("Tax invoice", "INV-2026-000123")
    for text in (
        *(
            "Acme Private Limited",
            "12 MG Road",
            "Karnataka",
            "GSTIN: 29ABC",
            "pay@acme.example",
            "GSTIN: 27AAA",
        ),
        *("6 October 2026", "stripe pi_1", "01M7XWM8211GFVBR317H8F0EEQ", "Prepaid credit", "998319"),
        *("CGST 9 %", "SGST 9.5 %", "9,000.000000001", "₹1,18,000.000000001", "Credit is no deposit."),
    ):
        assert text in page, text


def test_a_seller_without_a_tax_id_makes_no_tax_invoice() -> None:
    plain = msgspec.structs.replace(INVOICE, seller=Seller("Acme"))
    assert invoice_sheet(plain).title == "Invoice"


def test_a_credit_note_names_its_invoice_and_the_reason() -> None:
    note = msgspec.structs.replace(
        INVOICE,
        number="CN-1",
        kind="credit_note",
        invoice="INV-1",
        invoice_issued_us=INVOICE.issued_us,
        reason="why",
    )
    page = to_html(invoice_sheet(note)).decode()
    for text in ("Credit note", "INV-1 of 6 October 2026", "Refunded on", "why", "reduces invoice INV-1"):
        assert text in page


def test_a_statement_that_is_complete_is_the_same_whenever_it_is_made() -> None:
    once, again = statement(), msgspec.structs.replace(statement(), made_us=statement().made_us + 10**12)
    assert statement_sheet(once, SELLER) == statement_sheet(again, SELLER)
    running = msgspec.structs.replace(once, complete=False)
    assert "Not final" in to_html(statement_sheet(running, SELLER)).decode()


@pytest.mark.parametrize("paper", ["a4", "letter"])
def test_the_same_sheet_is_printed_as_the_same_bytes(paper: str) -> None:
    for sheet in (invoice_sheet(INVOICE), statement_sheet(statement(), SELLER)):
        printed = Printer(paper).print(sheet)
        assert printed.startswith(b"%PDF-")
        assert Printer(paper).print(sheet) == printed
    assert Printer("a4").print(sheet) != Printer("letter").print(sheet)


def test_a_long_statement_goes_over_pages_that_are_counted() -> None:
    printed = Printer("a4").print(statement_sheet(statement(models=100), SELLER))
    assert _pages(printed) >= 4
    assert _pages(Printer("a4").print(invoice_sheet(INVOICE))) == 1


@pytest.mark.parametrize(
    "text",
    ["x" * 500, "ж" * 500, "\u202eabc\x00", "हिन्दी 日本語 😀 عربي", "₹₹₹", "", " ", "a\ud800b", f"{MINUS}5"],
)
def test_any_text_can_be_printed(text: str) -> None:
    table = Table(text, (Column(text, 1, number=False), Column("n", 1)), ((text, text),), strong=1)
    sheet = msgspec.structs.replace(invoice_sheet(INVOICE), tables=(table,), notes=(text,))
    assert _pages(Printer("letter").print(sheet)) >= 1


def test_a_font_of_the_settings_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(FontError, match=r"absent\.ttf"):
        Printer("a4", [str(tmp_path / "absent.ttf")])
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    with pytest.raises(FontError, match=r"broken\.ttf"):
        Printer("a4", [str(broken)])


@pytest.mark.skipif(
    not any(Path(path).is_file() for path in SYSTEM_FONTS), reason="this system has no such font"
)
def test_a_font_of_the_system_is_taken_in_for_what_helvetica_lacks() -> None:
    plain = msgspec.structs.replace(INVOICE, buyer=Buyer("Plain"), currency="EUR")
    foreign = msgspec.structs.replace(plain, buyer=Buyer("Жан Дюпон"))
    assert b"/FontFile2" not in Printer("a4").print(invoice_sheet(plain))
    assert b"/FontFile2" in Printer("a4").print(invoice_sheet(foreign))


def _pages(printed: bytes) -> int:
    """How many pages a document says it has."""
    return int(re.findall(rb"/Count (\d+)", printed)[-1])


def test_a_document_names_itself_and_carries_no_time() -> None:
    sheet: Sheet = invoice_sheet(INVOICE)
    printed = Printer("a4").print(sheet)
    assert b"Tax invoice INV-2026-000123" in printed
    assert b"20000101000000" in printed  # The library's word for no date.
