"""A shop whose top-ups are paid and want invoices: a real ledger file, with rows as payments leave them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from farebox.billing.papers.buyers import Buyer, save_buyer
from farebox.billing.papers.invoices import RULES, Invoice, Seller, Terms
from farebox.billing.papers.invoicing import credit_for, issue_for
from farebox.billing.papers.tax import TaxPart
from farebox.billing.periods import Calendar
from farebox.core.money import NANO
from tests.ledger.ledger_file import CURRENCY, NOW_US, LedgerFile, ledger_in

GST = (TaxPart("CGST", 900), TaxPart("SGST", 900))
IGST = (TaxPart("IGST", 1800),)
SELLER = Seller("Acme Private Limited", ("12 MG Road", "Bengaluru"), "Karnataka", "29ABCDE1234F1Z5", "GSTIN")
TERMS = Terms(SELLER, Calendar("Asia/Kolkata"), parts=GST, parts_away=IGST, item_code="998319")


class InvoicedShop:
    """Accounts `a` and `b`; amounts in whole units of the currency."""

    def __init__(self, ledger: LedgerFile) -> None:
        self.ledger = ledger
        self.a, self.b = ledger.open_wallet("a"), ledger.open_wallet("b")

    def pay(
        self, id_: str, credit: int = 100, tax: int = 18, *, account: int | None = None, paid: bool = True
    ) -> None:
        """A top-up as its processor leaves it."""
        with self.ledger.database.transaction() as work:
            work.run(
                "INSERT INTO topups (id, account_id, processor, processor_ref, payment_ref, status, credit, tax, total,"
                " currency, tax_name, return_url, paid, created, updated)"
                " VALUES (?, ?, 'stripe', ?, ?, ?, ?, ?, ?, ?, 'GST', '', ?, ?, ?)",
                *(id_, account or self.a, f"cs_{id_}", f"pi_{id_}", "paid" if paid else "pending"),
                *(credit * NANO, tax * NANO, (credit + tax) * NANO, CURRENCY),
                *(NOW_US if paid else None, NOW_US, NOW_US),
            )

    def give_back(self, id_: str, topup: str, credit_nano: int, total_nano: int) -> None:
        """A refund that reached its payer."""
        with self.ledger.database.transaction() as work:
            work.run(
                "INSERT INTO topup_refunds (id, topup_id, account_id, status, credit, total, taken, lost, reason,"
                " created, updated) VALUES (?, ?, ?, 'done', ?, ?, ?, 0, 'asked for it', ?, ?)",
                *(id_, topup, self.a, credit_nano, total_nano, credit_nano, NOW_US, NOW_US),
            )

    def issue(self, topup: str, terms: Terms = TERMS, now_us: int = NOW_US) -> Invoice:
        with self.ledger.database.transaction() as work:
            document = issue_for(work, topup, terms, now_us)
        assert document is not None
        return document

    def credit(self, refund: str, terms: Terms = TERMS) -> Invoice | None:
        with self.ledger.database.transaction() as work:
            return credit_for(work, refund, terms, NOW_US)

    def name(self, buyer: Buyer) -> Buyer:
        """Say who `a` is."""
        with self.ledger.database.transaction() as work:
            return save_buyer(work, self.a, buyer, NOW_US)

    def breaches(self) -> list[str]:
        """The rules of invoices that are broken."""
        with self.ledger.database.read() as view:
            return [rule for rule, sql in RULES.items() if view.all(sql)]


@contextmanager
def invoiced_shop(folder: Path) -> Iterator[InvoicedShop]:
    with ledger_in(folder) as ledger:
        yield InvoicedShop(ledger)


def changed(terms: Terms, **members: object) -> Terms:
    """Terms with other members."""
    return msgspec.structs.replace(terms, **members)
