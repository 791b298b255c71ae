"""`farebox invoices`: list them, make missing ones, write one to a file; and who they are made out to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from farebox.accounts.accounts import get_account
from farebox.app.office import Office
from farebox.app.paperwork import invoice_terms
from farebox.app.press import Press
from farebox.billing.papers.buyers import Buyer, get_buyer, save_buyer
from farebox.billing.papers.invoices import find_invoice, list_invoices
from farebox.billing.papers.invoicing import issue_missing
from farebox.billing.papers.monthly import find_statement
from farebox.billing.papers.pages.html import to_html
from farebox.billing.papers.pages.invoice import invoice_sheet
from farebox.billing.papers.pages.sheet import Sheet
from farebox.billing.papers.pages.statement import statement_sheet
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened
from farebox.cli.table import new_table, print_table
from farebox.cli.times import write_time
from farebox.core.money import write_nano

app = App(name="invoices", help="List invoices and credit notes, make missing ones, write one to a file.")

Paper = Annotated[Literal["a4", "letter"] | None, Parameter(help="The size of paper, if not the setting's.")]
FORMS = (".html", ".pdf")


@app.command(name="list")
def list_newest(
    *,
    account: Annotated[str | None, Parameter(help="Only this account's.")] = None,
    limit: Annotated[int, Parameter(help="How many at most.")] = 50,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Invoices and credit notes, newest first."""
    with opened(data, config, make=False) as office, office.database.read() as view:
        owner = None if account is None else get_account(view, account).id
        table = new_table("number", "issued", "buyer", "net", "tax", "total", "for invoice")
        for one in list_invoices(view, owner, before=None, limit=limit):
            amounts = (write_nano(nano) for nano in (one.net_nano, one.tax_nano))
            total = f"{write_nano(one.total_nano)} {one.currency}"
            table.add_row(
                one.number, write_time(one.issued_us), one.buyer.name, *amounts, total, one.invoice or ""
            )
        print_table(table)


@app.command
def make(*, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Make the invoices of paid top-ups and the credit notes of refunds that are not there yet."""
    with opened(data, config, make=False) as office:
        made = issue_missing(office.database, invoice_terms(office.settings), office.clock.now_us())
    print(f"{made} made.")


@app.command
def show(
    number: Annotated[str, Parameter(help="Its number.")],
    file: Annotated[Path, Parameter(help="Where to; what it ends in, .html or .pdf, is how.")],
    /,
    *,
    paper: Paper = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Write an invoice or a credit note to a file."""
    with opened(data, config, make=False) as office:
        with office.database.read() as view:
            row = view.one("SELECT account_id FROM invoices WHERE number = ?", number)
            found = None if row is None else find_invoice(view, int(row[0] or 0), number)
        if found is None:
            raise ValueError(f"there is no invoice {number!r}")
        write_document(office, invoice_sheet(found), file, paper)


@app.command
def buyer(
    account: Annotated[str, Parameter(help="Whose invoices.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Whom they name.")] = None,
    address: Annotated[list[str] | None, Parameter(help="A line of it; once for each.")] = None,
    tax_id: Annotated[str | None, Parameter(help="Their tax id.")] = None,
    details: Annotated[
        Path | None, Parameter(help="A JSON file with all of it, region and email too.")
    ] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Say or show who an account's invoices are made out to from now on. What is not given stays as it is."""
    with opened(data, config, make=False) as office, office.database.transaction() as work:
        owner = get_account(work, account)
        said = _read_details(details) if details else get_buyer(work, owner.id)
        given = {"name": name, "address": None if address is None else tuple(address), "tax_id": tax_id}
        changes = {member: value for member, value in given.items() if value is not None}
        if changes or details:
            said = save_buyer(work, owner.id, msgspec.structs.replace(said, **changes), office.clock.now_us())
    print(msgspec.json.encode(said).decode())


def write_statement(office: Office, account: str, month: str, file: Path) -> None:
    """Write an account's statement of a month to a file. ValueError if it has none."""
    terms = invoice_terms(office.settings)
    with office.database.read() as view:
        owner = get_account(view, account)
        found = find_statement(view, owner.id, month, terms.calendar, office.clock.now_us())
    if found is None:
        raise ValueError(f"{account} has no statement of {month!r}")
    write_document(office, statement_sheet(found, terms.seller), file, None)


def write_document(office: Office, sheet: Sheet, file: Path, paper: str | None) -> None:
    """Write a sheet as its file's name says. UsageError if that is no form, ValueError if PDF cannot be printed."""
    if file.suffix not in FORMS:
        raise UsageError(f"{file} must end in one of {', '.join(FORMS)}")
    if file.suffix == ".html":
        content: bytes | None = to_html(sheet)
    else:
        press = Press(office.settings.invoices)
        content = press.printed(sheet, paper or press.paper)
    if content is None:
        raise ValueError("no PDF can be printed: install farebox[pdf], and look at [invoices] fonts")
    file.write_bytes(content)
    print(f"Wrote {file}.")


def _read_details(file: Path) -> Buyer:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Buyer)
    except msgspec.DecodeError as error:
        raise UsageError(f"{file}: {error}") from None
