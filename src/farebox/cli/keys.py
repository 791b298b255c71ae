"""`farebox keys`: API keys of accounts."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from farebox.accounts.accounts import Account, create_account, find_account, get_account, read_accounts
from farebox.accounts.keys import end_key, get_key, mint_key, read_keys, rotate_key
from farebox.accounts.plans import DEFAULT_PLAN
from farebox.app.office import Office, plans_of
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened, read_amount
from farebox.cli.table import new_table, print_table
from farebox.cli.times import write_time
from farebox.ledger.moves import Booked, Move, move
from farebox.ledger.rules import TransferKind
from farebox.store.database import Transaction

app = App(name="keys", help="Make, list, rotate and revoke API keys.")
OVERLAP_S = 86_400
NamedKey = Annotated[str, Parameter(help="Its id, its label if no other has it, or the key itself.")]


@app.command
def create(
    *,
    account: Annotated[str, Parameter(help="Whose key it is; the account is made if it is new.")],
    plan: Annotated[str | None, Parameter(help="The plan of a new account.")] = None,
    credit: Annotated[
        str | None, Parameter(help="Instead of the starter credit; a grant if the account exists.")
    ] = None,
    name: Annotated[str, Parameter(help="A label to recognise the key by.")] = "",
    quiet: Annotated[bool, Parameter(negative="", help="Print the key and nothing else.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Make a key. It is shown once, here."""
    with opened(data, config) as office:
        if plan is not None and plan not in plans_of(office.settings):
            raise ValueError(f"there is no plan {plan!r}; there are {', '.join(plans_of(office.settings))}")
        granted = None if credit is None else _amount(credit)
        with office.database.transaction() as work:
            owner = _account(work, office, account, plan, granted)
            key, secret = mint_key(
                work, office.ids, account_id=owner.id, name=name, now_us=office.clock.now_us()
            )
    if quiet:
        print(secret)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"Key {key.public_id} of account {owner.name} ({owner.plan}). It is shown only now:\n\n  {secret}\n"
    )


@app.command(name="list")
def list_keys(
    *,
    account: Annotated[str | None, Parameter(help="Only this account's.")] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """List keys, without their secrets."""
    with opened(data, config) as office, office.database.read() as view:
        owners = {one.id: one for one in read_accounts(view)}
        chosen = None if account is None else get_account(view, account).id
        keys = [key for key in read_keys(view) if chosen in (None, key.account_id)]
        now_us = office.clock.now_us()
    table = new_table("id", "account", "key", "name", "state", "created", "last used")
    for key in keys:
        state = "active" if key.usable_at(now_us) else "revoked"
        used = write_time(key.last_used_us) if key.last_used_us else "never"
        table.add_row(
            key.public_id,
            owners[key.account_id].name,
            key.hint,
            key.name,
            state,
            write_time(key.created_us),
            used,
        )
    print_table(table)


@app.command
def revoke(key: NamedKey, /, *, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Revoke a key, named by its id, its label or itself; every worker refuses it within a second."""
    with opened(data, config) as office, office.database.transaction() as work:
        found = get_key(work, key)
        end_key(work, found, office.clock.now_us())
    print(f"Revoked {found.hint}.")


@app.command
def rotate(
    key: NamedKey,
    /,
    *,
    overlap_s: Annotated[int, Parameter(help="How long the old key stays good, in seconds.")] = OVERLAP_S,
    quiet: Annotated[bool, Parameter(negative="", help="Print the new key and nothing else.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Make a key in the place of another, which stays good for an overlap."""
    if overlap_s < 0:
        raise UsageError("the overlap cannot be negative")
    with opened(data, config) as office, office.database.transaction() as work:
        old = get_key(work, key)
        _, secret = rotate_key(work, office.ids, old, overlap_s=overlap_s, now_us=office.clock.now_us())
    print(
        secret
        if quiet
        else f"{old.hint} is good for {overlap_s} s more. The new key, shown only now:\n\n  {secret}\n"
    )


def _account(work: Transaction, office: Office, name: str, plan: str | None, granted: int | None) -> Account:
    wallet, now_us = office.settings.wallet, office.clock.now_us()
    account = find_account(work, name)
    if account is None:
        account = create_account(
            work, name, plan=plan or DEFAULT_PLAN, currency=wallet.currency, now_us=now_us
        )
        granted = wallet.starter_credit_nano if granted is None else granted
    elif plan not in (None, account.plan):
        raise ValueError(f"account {name!r} is on the plan {account.plan!r} already")
    if granted:
        grant = Move(
            office.ids.new(), account.id, TransferKind.GRANT, granted, wallet.currency, "credit", now_us
        )
        if move(work, grant) != Booked(new=True):
            raise ValueError("the credit is more than the ledger can hold")
    return account


def _amount(text: str) -> int:
    nano = read_amount(text)
    if nano < 0:
        raise UsageError("credit cannot be negative; use farebox wallet credit for a correction")
    return nano
