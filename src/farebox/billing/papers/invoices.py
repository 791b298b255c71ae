"""Invoices: a tax document for each paid top-up, and a credit note for each refund; numbered without a gap.

What is printed is kept as JSON when a document is issued and never changed: a later setting makes later documents. The
number is counted up in the transaction that keeps the document, so that a number is either a document's or was never
given. Asking twice for the document of one top-up or refund gives the same one.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from farebox.billing.papers.buyers import Buyer, get_buyer
from farebox.billing.papers.tax import BASIS_POINTS, TaxLine, TaxPart, coin_nano, split_tax
from farebox.billing.periods import Calendar
from farebox.store.database import Record, Transaction

PAGE_MOST = 100

# Each query's rows are the breaches: what it is, what is there, what should be.
RULES: dict[str, str] = {
    "a top-up has at most one invoice": """
        SELECT topup_id, COUNT(*), 1 FROM invoices WHERE kind = 'invoice' GROUP BY topup_id HAVING COUNT(*) > 1""",
    "an invoice is a top-up's, and comes to what was paid": """
        SELECT i.number, i.total, t.total FROM invoices i LEFT JOIN topups t
        ON t.id = i.topup_id AND t.account_id = i.account_id
        WHERE i.kind = 'invoice' AND (t.id IS NULL OR i.total <> t.total OR i.tax <> t.tax)""",
    "numbers of a series have no gap": """
        SELECT s.series, COUNT(i.number), s.last FROM invoice_series s LEFT JOIN invoices i ON i.series = s.series
        GROUP BY s.series, s.last
        HAVING COUNT(i.number) <> s.last OR COALESCE(MAX(i.n), 0) <> s.last""",
    "every number is of a series": """
        SELECT i.number, i.series, s.series FROM invoices i LEFT JOIN invoice_series s ON s.series = i.series
        WHERE s.series IS NULL""",
    "credit notes take no more than their invoice": """
        SELECT i.number, SUM(c.total), i.total FROM invoices c JOIN invoices i ON i.number = c.invoice
        GROUP BY i.number, i.total, i.tax, i.account_id
        HAVING SUM(c.total) > i.total OR SUM(c.tax) > i.tax OR MIN(c.account_id) <> i.account_id
        OR MAX(c.account_id) <> i.account_id""",
}


class Seller(msgspec.Struct, frozen=True):
    """Who sells: the operator."""

    name: str
    address: tuple[str, ...] = ()
    region: str = ""
    tax_id: str = ""
    tax_id_name: str = "Tax ID"  # As the law calls it: GSTIN, VAT ID.
    email: str = ""


class Terms(msgspec.Struct, frozen=True):
    """What the operator's settings say of documents to come. `year_start_month` begins a year of numbers."""

    seller: Seller
    calendar: Calendar
    prefix: str = "INV"
    credit_note_prefix: str = "CN"
    year_start_month: int = 1
    item: str = "Prepaid credit for AI model usage"
    item_code: str = ""
    parts: tuple[TaxPart, ...] = ()
    parts_away: tuple[TaxPart, ...] = ()  # For a buyer of another region; empty: the same.
    note: str = ""


class Paid(msgspec.Struct, frozen=True):
    """A top-up that was paid: what was charged in all, how much of it is tax, what the wallet got."""

    id: str
    account_id: int
    credit_nano: int
    tax_nano: int
    total_nano: int
    currency: str
    processor: str
    processor_ref: str | None
    paid_us: int
    tax_name: str = "Tax"  # What the tax was called when it was paid, where the terms name no parts.


class Refunded(msgspec.Struct, frozen=True):
    """Money of a top-up that went back to its payer: in all, and of it what is not tax."""

    id: str
    topup_id: str
    credit_nano: int
    total_nano: int
    reason: str | None
    refunded_us: int


class Invoice(msgspec.Struct, frozen=True):
    """A document as it was issued. A credit note (`kind`) names its invoice in `invoice`; amounts are positive."""

    number: str
    kind: Literal["invoice", "credit_note"]
    account_id: int
    topup_id: str
    seller: Seller
    buyer: Buyer
    item: str
    item_code: str
    net_nano: int
    tax: tuple[TaxLine, ...]
    tax_nano: int
    total_nano: int
    credit_nano: int  # What the wallet got, or gave back.
    currency: str
    processor: str
    processor_ref: str | None
    paid_us: int
    issued_us: int
    time_zone: str  # In which its dates are told.
    note: str
    refund_id: str | None = None
    invoice: str | None = None
    invoice_issued_us: int | None = None
    reason: str | None = None


_INSERT = (
    "INSERT INTO invoices (number, kind, series, n, account_id, topup_id, refund_id, invoice, net, tax, total,"
    " currency, issued, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COUNT_UP = (
    "INSERT INTO invoice_series (series, last) VALUES (?, 1)"
    " ON CONFLICT (series) DO UPDATE SET last = invoice_series.last + 1 RETURNING last"
)


def issue(work: Transaction, paid: Paid, terms: Terms, now_us: int) -> Invoice:
    """The invoice of a paid top-up: as it stands, else made now."""
    known = find_invoice_of(work, paid.id)
    if known is not None:
        return known
    buyer = get_buyer(work, paid.account_id)
    series, n = _next_number(work, terms.prefix, terms, now_us)
    document = Invoice(
        number=_number(series, n),
        kind="invoice",
        account_id=paid.account_id,
        topup_id=paid.id,
        seller=terms.seller,
        buyer=buyer,
        item=terms.item,
        item_code=terms.item_code,
        net_nano=paid.total_nano - paid.tax_nano,
        tax=split_tax(
            paid.tax_nano,
            _parts(terms, buyer, paid),
            coin_nano(paid.currency),
        ),
        tax_nano=paid.tax_nano,
        total_nano=paid.total_nano,
        credit_nano=paid.credit_nano,
        currency=paid.currency,
        processor=paid.processor,
        processor_ref=paid.processor_ref,
        paid_us=paid.paid_us,
        issued_us=now_us,
        time_zone=terms.calendar.time_zone,
        note=terms.note,
    )
    _keep(work, document, series, n)
    return document


def issue_credit_note(work: Transaction, refunded: Refunded, terms: Terms, now_us: int) -> Invoice | None:
    """The credit note of a refund: as it stands, else made now. None where there is nothing to take from.

    That is: no invoice was issued, or its credit notes come to it already. More than is left is never credited: what
    a payer got back beyond the price is no refund of it.
    """
    known = _one(work, "refund_id = ? AND kind = 'credit_note'", refunded.id)
    if known is not None:
        return known
    of = find_invoice_of(work, refunded.topup_id)
    if of is None:
        return None
    credited, tax_credited = _credited(work, of.number)
    total = min(refunded.total_nano, of.total_nano - credited)
    if total <= 0:
        return None
    tax = min(refunded.total_nano - refunded.credit_nano, of.tax_nano - tax_credited, total)
    series, n = _next_number(work, terms.credit_note_prefix, terms, now_us)
    document = msgspec.structs.replace(
        of,
        number=_number(series, n),
        kind="credit_note",
        net_nano=total - tax,
        tax=split_tax(
            tax, [TaxPart(line.name, line.basis_points) for line in of.tax], coin_nano(of.currency)
        ),
        tax_nano=tax,
        total_nano=total,
        credit_nano=total - tax,
        paid_us=refunded.refunded_us,
        issued_us=now_us,
        refund_id=refunded.id,
        invoice=of.number,
        invoice_issued_us=of.issued_us,
        reason=refunded.reason,
    )
    _keep(work, document, series, n)
    return document


def find_invoice(view: Transaction, account_id: int, number: str) -> Invoice | None:
    """An account's document by its number."""
    return _one(view, "number = ? AND account_id = ?", number, account_id)


def find_invoice_of(view: Transaction, topup_id: str) -> Invoice | None:
    """The invoice of a top-up."""
    return _one(view, "topup_id = ? AND kind = 'invoice'", topup_id)


def list_invoices(
    view: Transaction, account_id: int | None, *, before: str | None, limit: int
) -> list[Invoice]:
    """Documents, newest first, after the one a caller has seen; of one account, or for the operator of all."""
    owner, owners = ("account_id = ?", [account_id]) if account_id is not None else ("1 = 1", [])
    page, seen = "1 = 1", list[str | int]()
    if before is not None:
        seen_sql = f"SELECT issued FROM invoices WHERE number = ? AND {owner}"  # noqa: S608 -- as below
        row = view.one(seen_sql, before, *owners)
        if row is None:
            return []
        issued_us = int(row[0] or 0)
        page, seen = "(issued < ? OR (issued = ? AND number < ?))", [issued_us, issued_us, before]
    rows = view.all(
        f"SELECT content FROM invoices WHERE {owner} AND {page}"  # noqa: S608 -- the clauses above
        " ORDER BY issued DESC, number DESC LIMIT ?",
        *owners,
        *seen,
        limit,
    )
    return [_read(row) for row in rows]


def _next_number(work: Transaction, prefix: str, terms: Terms, now_us: int) -> tuple[str, int]:
    local = terms.calendar.local(now_us)
    year = local.year if local.month >= terms.year_start_month else local.year - 1
    series = f"{prefix}-{year}"
    row = work.one(_COUNT_UP, series)
    assert row is not None
    return series, int(row[0] or 0)


def _number(series: str, n: int) -> str:
    return f"{series}-{n:06d}"


def _parts(terms: Terms, buyer: Buyer, paid: Paid) -> tuple[TaxPart, ...]:
    """The parts of the tax that was paid. If it was paid at another rate than the terms', none of them is claimed."""
    away = buyer.region and buyer.region.casefold() != terms.seller.region.casefold()
    parts = (terms.parts_away or terms.parts) if away else terms.parts
    rate = sum(part.basis_points for part in parts)
    due = (paid.total_nano - paid.tax_nano) * rate
    agrees = abs(paid.tax_nano * BASIS_POINTS - due) <= coin_nano(paid.currency) * BASIS_POINTS
    return parts if parts and agrees else (TaxPart(paid.tax_name or "Tax", 0),)


def _keep(work: Transaction, document: Invoice, series: str, n: int) -> None:
    work.run(
        _INSERT,
        *(document.number, document.kind, series, n, document.account_id, document.topup_id),
        *(document.refund_id, document.invoice, document.net_nano, document.tax_nano, document.total_nano),
        *(document.currency, document.issued_us, msgspec.json.encode(document).decode()),
    )


def _credited(view: Transaction, number: str) -> tuple[int, int]:
    row = view.one(
        "SELECT COALESCE(SUM(total), 0), COALESCE(SUM(tax), 0) FROM invoices WHERE invoice = ?", number
    )
    assert row is not None
    return int(row[0] or 0), int(row[1] or 0)


def _one(view: Transaction, where: str, *values: str | int) -> Invoice | None:
    row = view.one(f"SELECT content FROM invoices WHERE {where}", *values)  # noqa: S608 -- this file's own clauses
    return None if row is None else _read(row)


def _read(row: Record) -> Invoice:
    return msgspec.json.decode(str(row[0]), type=Invoice)
