"""The sheet of an invoice or a credit note, from what was kept when it was issued and nothing else."""

from __future__ import annotations

from farebox.billing.papers.buyers import Buyer
from farebox.billing.papers.invoices import Invoice, Seller
from farebox.billing.papers.pages.amounts import Writer, percent, written_date
from farebox.billing.papers.pages.sheet import Column, Fact, Party, Sheet, Table
from farebox.billing.periods import Calendar

_TITLES = {"invoice": "Invoice", "credit_note": "Credit note"}


def invoice_sheet(document: Invoice) -> Sheet:
    """The texts of a document."""
    write = Writer(document.currency)
    decimals = write.decimals(
        [document.net_nano, document.total_nano, *(line.amount_nano for line in document.tax)]
    )
    title = _TITLES[document.kind]
    if document.kind == "invoice" and document.seller.tax_id:
        title = "Tax invoice"
    amount = f"Amount ({document.currency})"
    code = [(Column("Code", 2, number=False), document.item_code)] if document.item_code else []
    cells = [
        (Column("Description", 6, number=False), document.item),
        *code,
        (Column(amount, 3), write.amount(document.net_nano, decimals)),
    ]
    return Sheet(
        name=document.number,
        title=title,
        subtitle=document.number,
        parties=(
            seller_party("Seller", document.seller),
            buyer_party("Buyer", document.buyer, document.seller.tax_id_name),
        ),
        facts=_facts(document),
        tables=(Table("", tuple(column for column, _ in cells), (tuple(text for _, text in cells),)),),
        totals=(
            Fact("Net", write.amount(document.net_nano, decimals)),
            *(
                Fact(
                    f"{line.name} {percent(line.basis_points)}" if line.basis_points else line.name,
                    write.amount(line.amount_nano, decimals),
                )
                for line in document.tax
            ),
            Fact("Total", write.paid(document.total_nano), strong=True),
        ),
        notes=_notes(document, write),
    )


def seller_party(heading: str, seller: Seller) -> Party:
    """The operator as documents name them."""
    tax = (f"{seller.tax_id_name}: {seller.tax_id}",) if seller.tax_id else ()
    lines = (*seller.address, seller.region, *tax, seller.email)
    return Party(heading, seller.name, tuple(line for line in lines if line))


def buyer_party(heading: str, buyer: Buyer, tax_id_name: str) -> Party:
    """The customer as documents name them."""
    tax = (f"{tax_id_name}: {buyer.tax_id}",) if buyer.tax_id else ()
    lines = (*buyer.address, buyer.region, *tax, buyer.email)
    return Party(heading, buyer.name, tuple(line for line in lines if line))


def _facts(document: Invoice) -> tuple[Fact, ...]:
    calendar = Calendar(document.time_zone)
    facts = [Fact("Number", document.number), Fact("Date", written_date(calendar, document.issued_us))]
    credits_back = document.invoice is not None
    if document.invoice is not None and document.invoice_issued_us is not None:
        of = f"{document.invoice} of {written_date(calendar, document.invoice_issued_us)}"
        facts.append(Fact("For invoice", of))
    facts.append(Fact("Refunded on" if credits_back else "Paid on", written_date(calendar, document.paid_us)))
    facts.append(Fact("Payment", " ".join(filter(None, (document.processor, document.processor_ref)))))
    facts.append(Fact("Reference", document.topup_id))
    if document.reason:
        facts.append(Fact("Reason", document.reason))
    return tuple(facts)


def _notes(document: Invoice, write: Writer) -> tuple[str, ...]:
    wallet = (
        f"{write.paid(document.credit_nano)} was added to the wallet."
        if document.kind == "invoice"
        else f"This credit note reduces invoice {document.invoice}."
    )
    return tuple(note for note in (wallet, document.note) if note)
