"""`farebox topups`: payments into wallets, and giving them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
from cyclopts import App, Parameter, validators

from farebox.accounts.accounts import get_account, read_accounts
from farebox.api.topups import topup_words
from farebox.app.paying import build_topups
from farebox.billing.payments.auto_settings import AutoTopup, set_auto_topup, stop_auto_topup
from farebox.billing.payments.rows import PAGE_MOST, Topup, list_topups
from farebox.billing.payments.topups import refunds_in
from farebox.cli.options import DEFAULT_DATA, Config, Data, opened, read_amount
from farebox.cli.table import new_table, print_table
from farebox.cli.times import write_time
from farebox.core.errors import Fault
from farebox.core.money import write_nano

Id = Annotated[str, Parameter(help="The top-up's id.")]
Owner = Annotated[str, Parameter(help="The account whose wallet it is.")]

app = App(
    name="topups", help="List, check and refund payments into wallets; have wallets filled by themselves."
)


@app.command(name="list")
def list_(
    *,
    account: Annotated[str | None, Parameter(help="Only this account's.")] = None,
    limit: Annotated[
        int, Parameter(help="How many.", validator=validators.Number(gte=1, lte=PAGE_MOST))
    ] = 50,
    json: Annotated[bool, Parameter(negative="", help="JSON lines.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Top-ups, newest first."""
    with opened(data, config) as office, office.database.read() as view:
        chosen = None if account is None else get_account(view, account).id
        names = {one.id: one.name for one in read_accounts(view)}
        topups = list_topups(view, chosen, limit=limit)
    if json:
        for topup in topups:
            print(msgspec.json.encode({"account": names[topup.account_id], **_texts(topup)}).decode())
        return
    table = new_table("id", "at", "account", "processor", "status", "credit", "tax", "refunded", "reference")
    for topup in topups:
        table.add_row(
            topup.id,
            write_time(topup.created),
            names[topup.account_id],
            topup.processor,
            topup.status,
            write_nano(topup.credit),
            write_nano(topup.tax),
            write_nano(topup.refunded),
            topup.payment_ref or topup.processor_ref or "",
        )
    print_table(table)


@app.command
def refund(
    topup: Id,
    amount: Annotated[
        str, Parameter(help="Of the credit, in the wallet's currency; its tax goes back with it.")
    ],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; it stands on the statement.")],
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Give money back to whoever paid: out of the wallet first, then by the processor."""
    nano = read_amount(amount)
    with opened(data, config) as office, _refusals():
        topups = build_topups(office)
        made = topups.refund(topup, nano, reason)
        currency = topups.pricing.currency
    if made.status == "undone":
        raise ValueError("the processor refused the refund; its credit is back in the wallet")
    state = "is on its way" if made.status == "done" else "waits for the processor, and is tried again"
    print(f"{write_nano(made.total)} {currency} {state} (refund {made.id}).")


@app.command
def check(topup: Id, /, *, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Ask the processor what became of a top-up, and book it."""
    with opened(data, config) as office, _refusals():
        found = build_topups(office).check(topup)
        refunds = refunds_in(office.database, topup)
    print(f"{found.id} is {found.status}: {write_nano(found.credit)} {found.currency} by {found.processor}.")
    for one in refunds:
        print(
            f"refund {one.id} is {one.status}: {write_nano(one.credit)} {found.currency}, {one.reason or ''}"
        )


@app.command
def auto(
    account: Owner,
    /,
    *,
    below: Annotated[str, Parameter(help="Buy when the wallet has less than this free.")],
    amount: Annotated[str, Parameter(help="How much to buy at a time.")],
    monthly: Annotated[str, Parameter(help="How much to buy at most in a calendar month.")],
    method: Annotated[str, Parameter(help="The saved method that is charged, as the processor names it.")],
    processor: Annotated[str, Parameter(help="Whose method it is.")] = "stripe",
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Buy credit for an account whenever its wallet runs low, by a saved payment method."""
    threshold, bought, cap = (read_amount(text) for text in (below, amount, monthly))
    with opened(data, config) as office, office.database.transaction() as work:
        owner = get_account(work, account)
        wanted = AutoTopup(owner.id, processor, method, threshold, bought, cap, active=True)
        set_auto_topup(work, wanted, office.clock.now_us())
        currency = office.settings.wallet.currency
    print(
        f"{account} gets {write_nano(bought)} {currency} whenever it has less than {write_nano(threshold)} free."
    )


@app.command
def stop_auto(account: Owner, /, *, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Buy nothing more for an account by itself; a top-up under way goes on."""
    with opened(data, config) as office, office.database.transaction() as work:
        owner = get_account(work, account)
        if not stop_auto_topup(work, owner.id, office.clock.now_us()):
            raise ValueError(f"{account} has no automatic top-ups")
    print(f"{account} gets no more top-ups by itself.")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Fault as fault:
        raise ValueError(fault.message) from None


def _texts(topup: Topup) -> dict[str, object]:
    """A line of JSON: amounts as texts, times in UTC."""
    return {
        name: write_time(getattr(topup, name)) if name == "created" else _text(value)
        for name, value in topup_words(topup).items()
        if name not in {"object", "paid"}
    } | {"paid": None if topup.paid is None else write_time(topup.paid)}


def _text(value: object) -> object:
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value
