"""`farebox budgets`: what keys may spend in a day, a week, a month or ever, and what watches their hours."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter, validators

from farebox.accounts.accounts import get_account, read_accounts
from farebox.accounts.budgets import (
    PERIODS,
    Breaker,
    Budget,
    end_breaker,
    end_budget,
    set_breaker,
    set_budget,
)
from farebox.accounts.keys import Key, get_key, read_keys
from farebox.billing.budgets import read_standing, resume_key
from farebox.billing.periods import Calendar
from farebox.cli.keys import NamedKey
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened, read_amount
from farebox.cli.table import new_table, print_table
from farebox.core.money import write_nano
from farebox.gateway.budget import Guards
from farebox.store.database import Transaction

app = App(name="budgets", help="Bound what keys may spend.")
NONE = "none"  # Takes a budget away.
TIMES_MAX = 1_000_000
Amount = Annotated[str | None, Parameter(help="In the wallet's currency; none takes it away.")]


@app.command(name="set")
def set_(
    key: NamedKey,
    /,
    *,
    day: Amount = None,
    week: Amount = None,
    month: Amount = None,
    total: Amount = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Give a key budgets. Days, ISO weeks and months are those of wallet.time_zone."""
    given = {
        period: None if text == NONE else _amount(period, text)
        for period, text in zip(PERIODS, (day, week, month, total), strict=True)
        if text is not None
    }
    if not given:
        raise UsageError("say what to set: --day, --week, --month or --total")
    with opened(data, config) as office, office.database.transaction() as work:
        owned, now_us = get_key(work, key), office.clock.now_us()
        for period, nano in given.items():
            if nano is None:
                end_budget(work, owned.id, period)
            else:
                set_budget(
                    work,
                    key_id=owned.id,
                    account_id=owned.account_id,
                    budget=Budget(period, nano),
                    now_us=now_us,
                )
    print(f"The budgets of {owned.name or owned.public_id} hold within a second.")


@app.command
def breaker(
    key: NamedKey,
    times: Annotated[
        int,
        Parameter(
            help="Stop the key at so many times its usual hour; 0 takes the breaker away.",
            validator=validators.Number(gte=0, lte=TIMES_MAX),
        ),
    ],
    /,
    *,
    floor: Annotated[str, Parameter(help="What an hour may always come to, whatever is usual.")] = "1",
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Have a key stopped that spends far more in an hour than it usually does."""
    floor_nano = _amount("floor", floor)
    with opened(data, config) as office, office.database.transaction() as work:
        owned = get_key(work, key)
        if times:
            watch = Breaker(times, floor_nano)
            now_us = office.clock.now_us()
            set_breaker(work, key_id=owned.id, account_id=owned.account_id, breaker=watch, now_us=now_us)
        else:
            end_breaker(work, owned.id)
    print(
        f"{owned.name or owned.public_id}: {f'stopped at {times} times its usual hour' if times else 'not watched'}."
    )


@app.command(name="list")
def list_(
    *,
    account: Annotated[str | None, Parameter(help="Only this account's.")] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Show every budget: how much there is, is spent, and is held by calls that still run."""
    with opened(data, config) as office, office.database.read() as view:
        now_us, guards = office.clock.now_us(), Guards(Calendar(office.settings.wallet.time_zone))
        chosen = None if account is None else get_account(view, account).id
        owners = {owner.id: owner.name for owner in read_accounts(view)}
        table = new_table("key", "account", "name", "period", "budget", "spent", "held")
        for key in read_keys(view):
            if chosen in (None, key.account_id):
                for row in _rows(view, key, guards, now_us):
                    table.add_row(key.public_id, owners[key.account_id], key.name, *row)
    print_table(table)


@app.command
def resume(key: NamedKey, /, *, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Let a key go on that its breaker has stopped."""
    with opened(data, config) as office, office.database.transaction() as work:
        owned = get_key(work, key)
        if owned.paused_us is None:
            raise ValueError("that key is not stopped")
        resume_key(work, owned, office.clock.now_us())
    print(f"The key {owned.name or owned.public_id} goes on within a second.")


def _rows(view: Transaction, key: Key, guards: Guards, now_us: int) -> list[tuple[str, ...]]:
    starts_us = {guard.period: guard.starts_us for guard in guards.of(key, now_us)}
    rows: list[tuple[str, ...]] = [
        (row.period, write_nano(row.amount_nano), write_nano(row.spent_nano), write_nano(row.held_nano))
        for row in read_standing(view, key, starts_us)
    ]
    breaker = key.limits.breaker
    if breaker is not None:
        rows.append((f"breaker {breaker.times} x", f"from {write_nano(breaker.floor_nano)}", "", ""))
    if key.paused_us is not None:
        rows.append(("stopped by its breaker", "", "", ""))
    return rows


def _amount(name: str, text: str) -> int:
    nano = read_amount(text)
    if nano < 0:
        raise UsageError(f"{name} cannot be negative; write {NONE} to take it away")
    return nano
