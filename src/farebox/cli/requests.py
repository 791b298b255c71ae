"""`farebox requests`: what was called, as JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from farebox.accounts.accounts import get_account, read_accounts
from farebox.accounts.keys import read_keys
from farebox.app.office import Office
from farebox.billing.receipts import read_row
from farebox.cli.options import DEFAULT_DATA, Config, Data, opened
from farebox.cli.times import read_time, write_time
from farebox.core.money import write_nano
from farebox.ledger.books import RequestRow

app = App(name="requests", help="Export calls with their usage, charge and cost.")
_COLUMNS = ", ".join(RequestRow.__struct_fields__)


@app.command
def export(
    *,
    account: Annotated[str | None, Parameter(help="Only this account's.")] = None,
    since: Annotated[
        str | None, Parameter(help="Only from this time on, such as 2026-01-31T18:30:00Z.")
    ] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Every call that held money, oldest first, as JSON lines; those still running are `held`."""
    since_us = 0 if since is None else read_time(since)
    with opened(data, config) as office:
        with office.database.read() as view:
            chosen = None if account is None else get_account(view, account).id
            accounts = {one.id: one.name for one in read_accounts(view)}
            keys = {key.id: key.hint for key in read_keys(view)}
        for row in _rows(office, chosen, since_us):
            names = {"account": accounts.get(row.account_id), "key": keys.get(row.key_id)}
            sys.stdout.buffer.write(msgspec.json.encode({"id": row.id, **names, **_wire(row)}) + b"\n")
        sys.stdout.buffer.flush()


def _rows(office: Office, account_id: int | None, since_us: int) -> Iterator[RequestRow]:
    where = "created >= ?" + ("" if account_id is None else " AND account_id = ?")
    values = (since_us,) if account_id is None else (since_us, account_id)
    sql = f"SELECT {_COLUMNS} FROM requests WHERE {where} ORDER BY id"  # noqa: S608 -- our own column names
    for record in office.database.rows(sql, *values):
        yield read_row(record)
    columns = "id, account_id, key_id, model, amount, created"
    held = f"SELECT {columns} FROM holds WHERE {where} ORDER BY id"  # noqa: S608 -- as above
    currency = office.settings.wallet.currency
    for id_, owner, key_id, model, amount, created in office.database.rows(held, *values):
        yield RequestRow(
            id=str(id_), account_id=int(owner or 0), key_id=int(key_id or 0), profile="", model=str(model), provider="",
            upstream_model="", state="held", status=0, streamed=False, partial=False, estimated=False, finish=None,
            error=None, usage="{}", input_tokens=0, output_tokens=0, charge=0, currency=currency, hold=int(amount or 0),
            leakage=0, cost=0, cost_currency=currency, price_version="", cost_version="", attempts="[]",
            first_byte_us=None, latency_us=0, created=int(created or 0),
        )  # fmt: skip


def _wire(row: RequestRow) -> dict[str, object]:
    return {
        "model": row.model,
        "provider": row.provider or None,
        "state": row.state,
        "usage": msgspec.Raw(row.usage.encode()),
        "charge": write_nano(row.charge),
        "currency": row.currency,
        "cost": write_nano(row.cost),
        "cost_currency": row.cost_currency,
        "hold": write_nano(row.hold),
        "leakage": write_nano(row.leakage),
        "estimated": bool(row.estimated),
        "partial": bool(row.partial),
        "streamed": bool(row.streamed),
        "status": row.status,
        "error": row.error,
        "finish_reason": row.finish,
        "created": write_time(row.created),
        "latency_ms": row.latency_us // 1000,
    }
