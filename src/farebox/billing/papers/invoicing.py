"""Invoicing: which top-ups and refunds want a document, and making those that are not there yet.

Whoever marks a top-up paid makes its invoice in the same transaction (`issue_for`). `issue_missing` makes what was
paid otherwise: before there were invoices, or while a release without them ran.
"""

from __future__ import annotations

from farebox.billing.papers.invoices import Invoice, Paid, Refunded, Terms, issue, issue_credit_note
from farebox.store.database import Database, Record, Transaction

BATCH = 50  # Documents in one transaction, so that calls need not wait long for it.

_PAID = (
    "SELECT t.id, t.account_id, t.credit, t.tax, t.total, t.currency, t.processor,"
    " COALESCE(t.payment_ref, t.processor_ref), t.paid, t.tax_name FROM topups t"
)
_REFUNDED = "SELECT r.id, r.topup_id, r.credit, r.total, r.reason, r.updated FROM topup_refunds r"
_WITHOUT_INVOICE = (
    f"{_PAID} LEFT JOIN invoices i ON i.topup_id = t.id AND i.kind = 'invoice'"
    " WHERE t.paid IS NOT NULL AND i.number IS NULL ORDER BY t.paid, t.id LIMIT ?"
)
# A refund beyond what is left of the invoice gets no credit note, and is not asked for again.
_WITHOUT_CREDIT_NOTE = (
    "SELECT r.id, r.topup_id, r.credit, r.total, r.reason, r.updated FROM topup_refunds r"
    " JOIN invoices i ON i.topup_id = r.topup_id AND i.kind = 'invoice'"
    " LEFT JOIN invoices c ON c.refund_id = r.id AND c.kind = 'credit_note'"
    " WHERE r.status = 'done' AND c.number IS NULL"
    " AND i.total > (SELECT COALESCE(SUM(n.total), 0) FROM invoices n WHERE n.invoice = i.number)"
    " ORDER BY r.updated, r.id LIMIT ?"
)


def issue_for(work: Transaction, topup_id: str, terms: Terms, now_us: int) -> Invoice | None:
    """The invoice of a top-up that is paid, made in the caller's transaction; None where it is not paid."""
    row = work.one(f"{_PAID} WHERE t.id = ? AND t.paid IS NOT NULL", topup_id)
    return None if row is None else issue(work, _paid(row), terms, now_us)


def credit_for(work: Transaction, refund_id: str, terms: Terms, now_us: int) -> Invoice | None:
    """The credit note of a refund that is done, made in the caller's transaction; None where there is none to make."""
    row = work.one(f"{_REFUNDED} WHERE r.id = ? AND r.status = 'done'", refund_id)
    return None if row is None else issue_credit_note(work, _refunded(row), terms, now_us)


def issue_missing(database: Database, terms: Terms, now_us: int) -> int:
    """Make the documents that are not there yet, oldest first; how many. Not for the loop's thread."""
    made = 0
    while _missing(database):
        with database.transaction() as work:
            rows = work.all(_WITHOUT_INVOICE, BATCH)
            documents = [issue(work, _paid(row), terms, now_us) for row in rows]
            refunds = work.all(_WITHOUT_CREDIT_NOTE, BATCH)
            notes = [issue_credit_note(work, _refunded(row), terms, now_us) for row in refunds]
            made += len(documents) + len(notes)
    return made


def _missing(database: Database) -> bool:
    """Whether anything is, seen without a writer's turn."""
    with database.read() as view:
        return view.one(_WITHOUT_INVOICE, 1) is not None or view.one(_WITHOUT_CREDIT_NOTE, 1) is not None


def _paid(row: Record) -> Paid:
    id_, account_id, credit, tax, total, currency, processor, reference, paid, tax_name = row
    return Paid(
        id=str(id_),
        account_id=int(account_id or 0),
        credit_nano=int(credit or 0),
        tax_nano=int(tax or 0),
        total_nano=int(total or 0),
        currency=str(currency),
        processor=str(processor),
        processor_ref=None if reference is None else str(reference),
        paid_us=int(paid or 0),
        tax_name=str(tax_name),
    )


def _refunded(row: Record) -> Refunded:
    id_, topup_id, credit, total, reason, updated = row
    return Refunded(
        id=str(id_),
        topup_id=str(topup_id),
        credit_nano=int(credit or 0),
        total_nano=int(total or 0),
        reason=None if reason is None else str(reason),
        refunded_us=int(updated or 0),
    )
