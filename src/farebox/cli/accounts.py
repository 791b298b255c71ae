"""`farebox accounts`: who pays."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from farebox.accounts.accounts import create_account, get_account, read_accounts, set_active
from farebox.accounts.plans import DEFAULT_PLAN
from farebox.app.office import plans_of
from farebox.cli.options import DEFAULT_DATA, Config, Data, opened
from farebox.cli.table import new_table, print_table
from farebox.cli.times import write_time
from farebox.core.money import write_nano

Name = Annotated[str, Parameter(help="The account's name.")]

app = App(name="accounts", help="Make, list, disable and enable accounts.")


@app.command
def create(
    name: Name,
    /,
    *,
    plan: Annotated[str, Parameter(help="What the account may do.")] = DEFAULT_PLAN,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Make an account with an empty wallet and no key."""
    with opened(data, config) as office:
        if plan not in plans_of(office.settings):
            raise ValueError(f"there is no plan {plan!r}; there are {', '.join(plans_of(office.settings))}")
        with office.database.transaction() as work:
            currency = office.settings.wallet.currency
            create_account(work, name, plan=plan, currency=currency, now_us=office.clock.now_us())
    print(f"Made account {name} on the plan {plan}.")


@app.command(name="list")
def list_accounts(*, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """List accounts with what is in their wallets."""
    with opened(data, config) as office, office.database.read() as view:
        accounts = read_accounts(view)
        wallets = {
            row[0]: row[1:] for row in view.all("SELECT account_id, balance, held, currency FROM wallets")
        }
    table = new_table("account", "plan", "state", "balance", "held", "currency", "created")
    for account in accounts:
        balance, held, currency = wallets[account.id]
        table.add_row(
            account.name,
            account.plan,
            "active" if account.active else "disabled",
            write_nano(int(balance or 0)),
            write_nano(int(held or 0)),
            str(currency),
            write_time(account.created_us),
        )
    print_table(table)


@app.command
def disable(name: Name, /, *, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Refuse every call of an account from now on."""
    _set(name, data, config, active=False)
    print(f"Disabled {name}.")


@app.command
def enable(name: Name, /, *, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Let a disabled account call again."""
    _set(name, data, config, active=True)
    print(f"Enabled {name}.")


def _set(name: str, data: Data, config: Config, *, active: bool) -> None:
    with opened(data, config) as office, office.database.transaction() as work:
        set_active(work, get_account(work, name), active=active)
