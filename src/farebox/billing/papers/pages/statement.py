"""The sheet of a monthly statement."""

from __future__ import annotations

from farebox.billing.papers.invoices import Seller
from farebox.billing.papers.monthly import ModelTotal, Statement
from farebox.billing.papers.pages.amounts import Writer, written_date, written_month, written_time
from farebox.billing.papers.pages.invoice import buyer_party, seller_party
from farebox.billing.papers.pages.sheet import Column, Fact, Sheet, Table
from farebox.billing.periods import Calendar
from farebox.ledger.rules import TransferKind

_KINDS = {
    TransferKind.TOP_UP: "Top-ups",
    TransferKind.GRANT: "Grants",
    TransferKind.REFUND: "Refunds",
    TransferKind.CORRECTION: "Corrections",
    TransferKind.CHARGE: "Charges",
}
_BOOKED = (
    "An entry belongs to the day on which it was booked: a call's charge, to the day on which the call ended."
    " Calls that cost nothing are not counted."
)


def statement_sheet(statement: Statement, seller: Seller) -> Sheet:
    """The texts of a statement."""
    calendar = Calendar(statement.time_zone)
    write = Writer(statement.currency)
    first = written_date(calendar, statement.start_us)
    last = written_date(calendar, statement.end_us - 1)
    running = f"Not final: this month had not ended on {written_time(calendar, statement.made_us)}."
    losses = (_losses(statement, write, calendar),) if statement.losses else ()
    return Sheet(
        name=f"statement-{statement.month}",
        title="Statement",
        subtitle=written_month(statement.month),
        parties=(
            seller_party("Issued by", seller),
            buyer_party("Account holder", statement.holder, seller.tax_id_name),
        ),
        facts=(
            Fact("Account", statement.account),
            Fact("Period", f"{first} to {last}"),
            Fact("Time zone", statement.time_zone),
            Fact("Currency", statement.currency),
        ),
        tables=(_summary(statement, write), _models(statement, write), _days(statement, write), *losses),
        totals=(),
        notes=(*(() if statement.complete else (running,)), _BOOKED),
    )


def _summary(statement: Statement, write: Writer) -> Table:
    totals = {total.kind: total for total in statement.totals}
    kinds = [totals[kind] for kind in _KINDS if totals[kind].count]
    amounts = write.column(
        [statement.opening_nano, *(total.change_nano for total in kinds), statement.closing_nano]
    )
    names = ["Opening balance", *(_KINDS[total.kind] for total in kinds), "Closing balance"]
    counts = ["", *(f"{total.count:,}" for total in kinds), ""]
    columns = (Column("", 4, number=False), Column("Entries", 2), Column(f"Amount ({write.currency})", 3))
    return Table("Summary", columns, tuple(zip(names, counts, amounts, strict=True)), strong=1)


def _models(statement: Statement, write: Writer) -> Table:
    rows = statement.models
    whole = ModelTotal(
        "All models",
        sum(row.calls for row in rows),
        sum(row.input_tokens for row in rows),
        sum(row.output_tokens for row in rows),
        sum(row.charge_nano for row in rows),
    )
    every = (*rows, whole)
    charges = write.column(row.charge_nano for row in every)
    columns = (
        *(Column("Model", 7, number=False), Column("Calls", 2), Column("Tokens in", 3)),
        *(Column("Tokens out", 3), Column(f"Charge ({write.currency})", 3)),
    )
    return Table(
        "Charges by model",
        columns,
        tuple(
            (row.model, f"{row.calls:,}", f"{row.input_tokens:,}", f"{row.output_tokens:,}", charge)
            for row, charge in zip(every, charges, strict=True)
        ),
        strong=1,
    )


def _days(statement: Statement, write: Writer) -> Table:
    days = statement.days
    came, charged, went, closing = (
        write.column(amounts)
        for amounts in (
            [day.in_nano for day in days],
            [-day.charge_nano for day in days],
            [-day.out_nano for day in days],
            [day.closing_nano for day in days],
        )
    )
    columns = (
        *(Column("Day", 3, number=False), Column("Money in", 3), Column("Calls", 2), Column("Charges", 3)),
        *(Column("Money out", 3), Column(f"Balance ({write.currency})", 3)),
    )
    rows = tuple(
        (day.name, in_, f"{day.calls:,}", charge, out, balance)
        for day, in_, charge, out, balance in zip(days, came, charged, went, closing, strict=True)
    )
    return Table("Day by day", columns, rows)


def _losses(statement: Statement, write: Writer, calendar: Calendar) -> Table:
    """What was owed and never came. It is no part of the balance."""
    amounts = write.column([*(loss.amount_nano for loss in statement.losses), statement.lost_nano])
    rows = [(calendar.day(loss.created_us).name, loss.reason or "") for loss in statement.losses]
    columns = (
        *(Column("Day", 3, number=False), Column("Reason", 8, number=False)),
        Column(f"Amount ({write.currency})", 3),
    )
    return Table(
        "Owed and not paid (no part of the balance)",
        columns,
        tuple(
            (day, reason, amount) for (day, reason), amount in zip([*rows, ("All", "")], amounts, strict=True)
        ),
        strong=1,
    )
