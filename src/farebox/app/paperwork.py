"""Paperwork: what the settings say of invoices, in the words of billing; and the duty that makes missing ones."""

from __future__ import annotations

import logging

from farebox.api.wallet_history import WalletHistory
from farebox.app.duties import Duty
from farebox.app.office import Office
from farebox.app.press import Press
from farebox.billing.papers.invoices import Seller, Terms
from farebox.billing.papers.invoicing import issue_missing
from farebox.billing.papers.tax import TaxPart
from farebox.billing.periods import Calendar
from farebox.config.settings import Settings
from farebox.gateway.house import House

log = logging.getLogger("farebox")
ISSUE_S = 10.0
NOBODY = "The operator of this service"  # Who sells where the settings name nobody.


def invoice_terms(settings: Settings) -> Terms:
    """What documents issued from now on say."""
    said, payments = settings.invoices, settings.payments
    rate = payments.tax_rate_basis_points
    whole = (TaxPart(payments.tax_name, rate),) if rate else ()
    return Terms(
        seller=Seller(
            said.seller or NOBODY, said.address, said.region, said.tax_id, said.tax_id_name, said.email
        ),
        calendar=Calendar(settings.wallet.time_zone),
        prefix=said.prefix,
        credit_note_prefix=said.credit_note_prefix,
        year_start_month=said.year_start_month,
        item=said.item,
        item_code=said.item_code,
        parts=tuple(TaxPart(line.name, line.basis_points) for line in said.tax_lines) or whole,
        parts_away=tuple(TaxPart(line.name, line.basis_points) for line in said.tax_lines_away),
        note=said.note,
    )


def wallet_history(house: House, office: Office) -> WalletHistory:
    """The handlers of the wallet's surfaces."""
    settings = office.settings
    return WalletHistory(house, office.database, invoice_terms(settings), Press(settings.invoices))


def issue_duty(office: Office) -> Duty:
    """Makes the invoices and credit notes that nobody made."""
    terms = invoice_terms(office.settings)

    def issue() -> None:
        made = issue_missing(office.database, terms, office.clock.now_us())
        if made:
            log.info("issued %d invoices and credit notes", made)

    return Duty("issue missing invoices", ISSUE_S, issue, in_thread=True)
