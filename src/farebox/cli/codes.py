"""`farebox codes`: credit for whoever knows a code."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from farebox.billing.payments.codes import Code, NewCode, create_code, list_codes, revoke_code
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened, read_amount
from farebox.cli.table import new_table, print_table
from farebox.cli.times import read_time, write_time
from farebox.core.money import write_nano

COUNT_MOST = 1_000

app = App(name="codes", help="Make, list and revoke codes that are worth credit.")


@app.command
def create(
    amount: Annotated[str, Parameter(help="What it is worth, in the wallet's currency.")],
    /,
    *,
    uses: Annotated[int, Parameter(help="How many accounts may redeem it, each once.")] = 1,
    expires: Annotated[
        str | None, Parameter(help="From when it is good no more, such as 2026-12-31T18:30:00Z.")
    ] = None,
    count: Annotated[int, Parameter(help="How many codes to make.")] = 1,
    reason: Annotated[str | None, Parameter(help="Why, for your own list.")] = None,
    quiet: Annotated[bool, Parameter(negative="", help="Print the codes and nothing else.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Make codes. They are shown once, here."""
    if not 1 <= count <= COUNT_MOST:
        raise UsageError(f"from 1 to {COUNT_MOST} codes can be made at once")
    credit_nano, expires_us = read_amount(amount), None if expires is None else read_time(expires)
    with opened(data, config) as office:
        new = NewCode(credit_nano, office.settings.wallet.currency, uses, expires_us, reason)
        with office.database.transaction() as work:
            made = [create_code(work, new, office.clock.now_us()) for _ in range(count)]
    if not quiet:
        print(f"Shown only now, each worth {write_nano(credit_nano)} {new.currency}:")
    for code in made:
        print(code)


@app.command(name="list")
def list_(*, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Codes, newest first, by their last four letters."""
    with opened(data, config) as office, office.database.read() as view:
        codes = list_codes(view)
        now_us = office.clock.now_us()
    table = new_table("code", "credit", "used", "of", "state", "expires", "created", "reason")
    for code in codes:
        table.add_row(
            code.hint,
            f"{write_nano(code.credit_nano)} {code.currency}",
            str(code.uses),
            str(code.uses_max),
            _state(code, now_us),
            "" if code.expires_us is None else write_time(code.expires_us),
            write_time(code.created_us),
            code.reason or "",
        )
    print_table(table)


@app.command
def revoke(
    code: Annotated[str, Parameter(help="The code, or its last four letters.")],
    /,
    *,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """End a code; what was redeemed stays."""
    with opened(data, config) as office, office.database.transaction() as work:
        ended = revoke_code(work, code, office.clock.now_us())
    print(f"{ended.hint} is good no more; it was redeemed {ended.uses} times.")


def _state(code: Code, now_us: int) -> str:
    if code.revoked_us is not None:
        return "revoked"
    if code.expires_us is not None and code.expires_us <= now_us:
        return "expired"
    return "used up" if code.uses >= code.uses_max else "good"
