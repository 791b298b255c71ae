"""`farebox wallet`: credit by hand, and statements."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from farebox.accounts.accounts import get_account
from farebox.billing.papers.statements import Entry, entries
from farebox.cli.invoices import write_statement
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened, read_amount
from farebox.cli.table import new_table, print_table
from farebox.cli.times import write_time
from farebox.core.money import write_nano
from farebox.ledger.moves import Booked, Move, move
from farebox.ledger.rules import TransferKind

Owner = Annotated[str, Parameter(help="The account whose wallet it is.")]

app = App(name="wallet", help="Credit wallets by hand and read their statements.")


@app.command
def credit(
    account: Owner,
    amount: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="In the wallet's currency; negative is a correction.")
    ],
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Why; it stands on the statement.")] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Put money into a wallet, or take it out: a top-up, or if negative a correction."""
    change = read_amount(amount)
    if change == 0:
        raise UsageError("the amount is zero")
    kind = TransferKind.TOP_UP if change > 0 else TransferKind.CORRECTION
    with opened(data, config) as office, office.database.transaction() as work:
        owner, currency = get_account(work, account), office.settings.wallet.currency
        transfer = Move(office.ids.new(), owner.id, kind, change, currency, reason, office.clock.now_us())
        if move(work, transfer) != Booked(new=True):
            why = (
                "would hold more than the ledger can"
                if change > 0
                else f"has less than {write_nano(-change)} free"
            )
            raise ValueError(f"the wallet of {account} {why}")
        row = work.one("SELECT balance FROM wallets WHERE account_id = ?", owner.id)
    assert row is not None
    print(f"{account} has {write_nano(int(row[0] or 0))} {currency} now.")


@app.command
def statement(
    account: Owner,
    /,
    *,
    json: Annotated[bool, Parameter(negative="", help="JSON lines.")] = False,
    month: Annotated[
        str | None, Parameter(help="The statement of a month such as 2026-10, into a file.")
    ] = None,
    pdf: Annotated[
        Path | None, Parameter(help="That file; one that ends in .html is written as HTML.")
    ] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Every entry of a wallet, oldest first; or a month's statement as PDF or HTML."""
    if (month is None) != (pdf is None):
        raise UsageError("--month and --pdf go together")
    with opened(data, config) as office:
        if month is not None and pdf is not None:
            write_statement(office, account, month, pdf)
            return
        with office.database.read() as view:
            owner = get_account(view, account)
        lines = entries(office.database, owner.id)
        if json:
            for entry in lines:
                sys.stdout.buffer.write(msgspec.json.encode(_wire(entry)) + b"\n")
            sys.stdout.buffer.flush()
            return
        table = new_table("at", "kind", "amount", "balance", "tokens in", "out", "request")
        for entry in lines:
            table.add_row(
                write_time(entry.at_us),
                entry.kind,
                write_nano(entry.amount_nano),
                write_nano(entry.balance_after_nano),
                str(entry.input_tokens or ""),
                str(entry.output_tokens or ""),
                entry.request_id or entry.reason or "",
            )
        print_table(table)


def _wire(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "amount": write_nano(entry.amount_nano),
        "balance_after": write_nano(entry.balance_after_nano),
        "currency": entry.currency,
        "request_id": entry.request_id,
        "input_tokens": entry.input_tokens,
        "output_tokens": entry.output_tokens,
        "reason": entry.reason,
        "at": write_time(entry.at_us),
    }
