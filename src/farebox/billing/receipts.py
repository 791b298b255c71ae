"""Receipts: what a call was charged and why, line by line, from the books; and what a wallet and a key have spent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from farebox.billing.pricelist import read_versions
from farebox.billing.pricing import FEMTO, Line, receipt_lines
from farebox.core.money import write_nano
from farebox.core.rates import Rates
from farebox.core.usage import Usage
from farebox.ledger.books import RequestRow
from farebox.store.database import Database, Record

_COLUMNS = ", ".join(RequestRow.__struct_fields__)
_SELECT = f"SELECT {_COLUMNS} FROM requests"  # noqa: S608 -- the struct's own field names
_ULID_LENGTH = 26
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WalletView(msgspec.Struct, frozen=True):
    """A wallet's amounts as committed."""

    balance_nano: int
    held_nano: int
    spent_nano: int
    currency: str


class Spent(msgspec.Struct, frozen=True):
    """What a key's calls were charged, by calendar period."""

    ever_nano: int
    day_nano: int
    week_nano: int
    month_nano: int


class Receipts:
    """Reads the books for one account at a time: every query names the account."""

    def __init__(self, database: Database, time_zone: str) -> None:
        self._database = database
        self._zone = ZoneInfo(time_zone)

    def wallet(self, account_id: int) -> WalletView:
        """The wallet of an account."""
        with self._database.read() as view:
            row = view.one(
                "SELECT balance, held, spent, currency FROM wallets WHERE account_id = ?", account_id
            )
        assert row is not None
        return WalletView(int(row[0] or 0), int(row[1] or 0), int(row[2] or 0), str(row[3]))

    def find(self, account_id: int, name: str) -> RequestRow | None:
        """A request by its id, or by any reply id derived from it (`chatcmpl-…`)."""
        id_ = name[-_ULID_LENGTH:]
        with self._database.read() as view:
            row = view.one(f"{_SELECT} WHERE id = ? AND account_id = ?", id_, account_id)
        return None if row is None else read_row(row)

    def page(self, account_id: int, *, before: str | None, limit: int) -> list[RequestRow]:
        """An account's requests, newest first, after those a caller has seen."""
        with self._database.read() as view:
            rows = view.all(
                f"{_SELECT} WHERE account_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
                account_id,
                before or "~",
                limit,
            )
        return [read_row(row) for row in rows]

    def spent_by_key(self, key_id: int, account_id: int, now_us: int) -> Spent:
        """What a key has spent ever, today, this ISO week and this month. Reads every call of the account: not for
        the loop's thread.
        """
        day = _time(now_us).astimezone(self._zone).replace(hour=0, minute=0, second=0, microsecond=0)
        starts = (day, day - timedelta(days=day.weekday()), day.replace(day=1))
        day_us, week_us, month_us = (int(start.timestamp()) * 1_000_000 for start in starts)
        sums = [0, 0, 0, 0]
        rows = self._database.rows(
            "SELECT charge, created FROM requests WHERE account_id = ? AND key_id = ? AND charge > 0",
            account_id,
            key_id,
        )
        for charge, created in rows:
            for at, start_us in enumerate((0, day_us, week_us, month_us)):
                if int(created or 0) >= start_us:
                    sums[at] += int(charge or 0)
        return Spent(*sums)

    def summary(self, row: RequestRow) -> dict[str, object]:
        """One line of a list of requests."""
        return {
            "id": row.id,
            "object": "request",
            "model": row.model,
            "state": row.state,
            "status": row.status,
            "usage": msgspec.Raw(row.usage.encode()),
            "charge": _amount(row.charge),
            "currency": row.currency,
            "estimated": bool(row.estimated),
            "partial": bool(row.partial),
            "created": row.created // 1_000_000,
            "latency_ms": row.latency_us // 1000,
        }

    def receipt(self, row: RequestRow) -> dict[str, object]:
        """The whole receipt: its lines add up to the charge. The last is the rounding, before it what stayed unpaid."""
        usage = msgspec.json.decode(row.usage, type=Usage)
        with self._database.read() as view:
            rates = read_versions(view, [row.price_version]).get(row.price_version)
        return self.summary(row) | {
            "streamed": bool(row.streamed),
            "finish_reason": row.finish,
            "error": row.error,
            "hold": _amount(row.hold),
            "freed": _amount(max(row.hold - row.charge, 0)),
            "price_version": row.price_version,
            "lines": _lines(usage, rates, row.leakage) if rates is not None and row.charge else [],
            "attempts": [
                {
                    "provider": tried["provider"],
                    "status": tried.get("status", 0),
                    "latency_ms": tried.get("latency_ms", 0),
                }
                for tried in msgspec.json.decode(row.attempts, type=list[dict[str, str | int]])
            ],
        }

    def generation(self, row: RequestRow) -> dict[str, object]:
        """The same call in OpenRouter's words."""
        usage = msgspec.json.decode(row.usage, type=Usage)
        return {
            "id": row.id,
            "model": row.model,
            "streamed": bool(row.streamed),
            "cancelled": row.error == "caller_gone",
            "created_at": _time(row.created).isoformat(),
            "total_cost": _amount(row.charge),
            "usage": _amount(row.charge),
            "currency": row.currency,
            "provider_name": row.provider,
            "finish_reason": row.finish,
            "latency": (row.first_byte_us or row.latency_us) // 1000,
            "generation_time": row.latency_us // 1000,
            "tokens_prompt": row.input_tokens,
            "tokens_completion": row.output_tokens,
            "native_tokens_prompt": row.input_tokens,
            "native_tokens_completion": row.output_tokens,
            "native_tokens_reasoning": usage.output_thought,
            "native_tokens_cached": usage.cache_read,
        }


def read_row(record: Record) -> RequestRow:
    """A database row as the struct it was written from."""
    return RequestRow(*record)  # type: ignore[arg-type]  # The columns are the fields, in order.


def _time(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


def _amount(nano: int) -> msgspec.Raw:
    return msgspec.Raw(write_nano(nano).encode())


def _lines(usage: Usage, rates: Rates, unpaid_nano: int) -> list[dict[str, object]]:
    *lines, rounding = receipt_lines(usage, rates)
    if unpaid_nano:
        lines.append(Line("unpaid", 1, -unpaid_nano, 1, -unpaid_nano * FEMTO))
    return [
        {
            "unit": line.unit_class,
            "units": line.units,
            "price": _amount(line.price_nano),
            "per": line.per,
            "amount": msgspec.Raw(_exact(line.amount_femto).encode()),
        }
        for line in (*lines, rounding)
    ]


def _exact(femto: int) -> str:
    """An amount to all fifteen decimals, trailing zeros cut."""
    sign, size = ("-", -femto) if femto < 0 else ("", femto)
    whole, rest = divmod(size, FEMTO * 10**9)
    return f"{sign}{whole}.{rest:015d}".rstrip("0").rstrip(".")
