"""`farebox alerts`: who is told, what was told, and whether it arrives."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

from cyclopts import App, Parameter

from farebox.accounts.accounts import get_account
from farebox.app.alerting import channels_of, directions_of
from farebox.billing.telling.contacts import Contact, find_contact, set_contact, webhook_secret
from farebox.billing.telling.notices import Listed, Notice, list_notices
from farebox.billing.telling.outbox import Channel, Outcome, Recipient
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened, read_amount
from farebox.cli.table import new_table, print_table
from farebox.cli.times import write_time
from farebox.core.money import write_nano
from farebox.store.database import Transaction

SALT_BYTES = 16

app = App(name="alerts", help="Who is told by webhook and e-mail, what was told, and whether it arrives.")

Whose = Annotated[str | None, Parameter(help="The account; without it, the operator's own.")]


@app.command(name="test")
def send_test(*, account: Whose = None, data: Data = DEFAULT_DATA, config: Config = None) -> int:
    """Send a test notice now by every way there is, and say what came of it. Exit 1: one did not arrive."""
    with opened(data, config, make=False) as office:
        with office.database.read() as view:
            recipient = directions_of(office).find(view, _id_of(view, account))
        channels = channels_of(office.settings, office.clock)
        notice = Notice(
            once=f"test:{office.ids.new()}",
            account_id=None,
            kind="test",
            subject="A test of Farebox",
            text="This is a test. Whoever reads it will be told of alerts as well.",
            data={},
            created_us=office.clock.now_us(),
        )
        ways = {name: channel for name, channel in channels.items() if channel.reaches(recipient)}
        if not ways:
            raise ValueError(_nowhere(account, recipient, channels))
        outcomes = asyncio.run(_send(ways, recipient, notice))
    for name, outcome in outcomes.items():
        print(f"{name}: {'delivered' if outcome.delivered else 'NOT delivered'}: {outcome.answer}")
    return 0 if all(outcome.delivered for outcome in outcomes.values()) else 1


@app.command(name="list")
def list_newest(
    *,
    account: Whose = None,
    limit: Annotated[int, Parameter(help="How many at most.")] = 50,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """The newest notices, and what became of each."""
    with opened(data, config, make=False) as office, office.database.read() as view:
        notices = list_notices(view, _id_of(view, account), limit=limit)
    table = new_table("at", "kind", "subject", "told")
    for listed in notices:
        notice = listed.notice
        table.add_row(write_time(notice.created_us), notice.kind, notice.subject, _told(listed))
    print_table(table)


@app.command
def contact(
    account: Annotated[str, Parameter(help="The account's name.")],
    /,
    *,
    email: Annotated[str | None, Parameter(help='Where to mail to; "" for nowhere.')] = None,
    webhook: Annotated[str | None, Parameter(help='Where to post to, by https; "" for nowhere.')] = None,
    new_secret: Annotated[bool, Parameter(negative="", help="Sign with another secret from now on.")] = False,
    low_balance: Annotated[str | None, Parameter(help='Also warn below this balance; "" for never.')] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Say where an account is told, and show it. What is not named stays as it is."""
    with opened(data, config, make=False) as office:
        with office.database.transaction() as work:
            account_id = get_account(work, account).id
            known = find_contact(work, account_id)
            url = known.webhook_url if webhook is None else webhook or None
            salt = known.webhook_salt if url and url == known.webhook_url and not new_secret else None
            found = Contact(
                email=known.email if email is None else email or None,
                webhook_url=url,
                webhook_salt=(salt or secrets.token_hex(SALT_BYTES)) if url else None,
                low_balance_nano=known.low_balance_nano if low_balance is None else _read_low(low_balance),
            )
            if found != known:
                set_contact(work, account_id, found)
        currency = office.settings.wallet.currency
        print(f"e-mail: {found.email or 'none'}")
        print(f"webhook: {found.webhook_url or 'none'}")
        if found.webhook_salt:
            print(f"webhook secret: {webhook_secret(office.secret, found.webhook_salt)}")
        low = found.low_balance_nano
        print(f"warn below: {'no amount' if low is None else f'{write_nano(low)} {currency}'}")


async def _send(ways: dict[str, Channel], recipient: Recipient, notice: Notice) -> dict[str, Outcome]:
    return {name: await channel.send(recipient, notice) for name, channel in ways.items()}


def _id_of(view: Transaction, account: str | None) -> int | None:
    return None if account is None else get_account(view, account).id


def _nowhere(account: str | None, recipient: Recipient, channels: dict[str, Channel]) -> str:
    if recipient.email and "email" not in channels:
        return "mail cannot leave: [email] has no host"
    if account is None:
        return "the operator has no address: [alerts] email or webhook"
    return f"{account} has no address: farebox alerts contact {account} --email ADDRESS"


def _told(listed: Listed) -> str:
    if not listed.told:
        return "nobody to tell" if listed.routed else "waiting"
    return "; ".join(
        f"{told.channel} {told.state.replace('_', ' ')}"
        + (
            f" ({told.attempts} attempts: {told.answer})"
            if told.attempts > 1 or told.state != "delivered"
            else ""
        )
        for told in listed.told
    )


def _read_low(text: str) -> int | None:
    if not text:
        return None
    amount = read_amount(text)
    if amount <= 0:
        raise UsageError("a balance to warn below is more than 0")
    return amount
