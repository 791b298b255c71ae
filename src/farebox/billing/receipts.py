"""Receipts: what a call was charged and why, line by line, from the books; and what a wallet and a key have spent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from farebox.accounts.keys import Key
from farebox.billing.budgets import Standing, read_standing
from farebox.billing.generation import write_generation
from farebox.billing.hold_steps import HoldSteps, read_steps
from farebox.billing.periods import Calendar
from farebox.billing.prices.pricelist import read_versions
from farebox.billing.prices.pricing import FEMTO, Line, receipt_lines
from farebox.core.money import write_nano
from farebox.core.rates import Rates, rates_at
from farebox.core.usage import Usage
from farebox.ledger.books import RequestRow
from farebox.store.database import Database, Record

_COLUMNS = ", ".join(RequestRow.__struct_fields__)
_SELECT = f"SELECT {_COLUMNS} FROM requests"  # noqa: S608 -- the struct's own field names
_ULID_LENGTH = 26
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPICAL_OF = 200  # An account's last calls that are looked at for what is typical.
TYPICAL_LEAST = 3
UNTOLD = (
    "late"  # An extension that the books took and nobody was told of, or a charge after a worker's death.
)


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
        self._calendar = Calendar(time_zone)

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
        calendar = self._calendar
        periods = (calendar.day(now_us), calendar.week(now_us), calendar.month(now_us))
        sums = [0, 0, 0, 0]
        rows = self._database.rows(
            "SELECT charge, created FROM requests WHERE account_id = ? AND key_id = ? AND charge > 0",
            account_id,
            key_id,
        )
        for charge, created in rows:
            for at, start_us in enumerate((0, *(period.start_us for period in periods))):
                if int(created or 0) >= start_us:
                    sums[at] += int(charge or 0)
        return Spent(*sums)

    def budgets(self, key: Key, starts_us: Mapping[str, int]) -> list[Standing]:
        """How a key's budgets stand, given when the current window of each period began."""
        with self._database.read() as view:
            return read_standing(view, key, starts_us)

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

    def typical_output(self, account_id: int, key_id: int, model: str) -> int | None:
        """The median output of a key's last calls of a model, in tokens; None where there were too few."""
        with self._database.read() as view:
            rows = view.all(
                "SELECT output_tokens FROM (SELECT key_id, model, state, output_tokens FROM requests"
                " WHERE account_id = ? ORDER BY id DESC LIMIT ?) AS latest"
                " WHERE key_id = ? AND model = ? AND state = 'posted' ORDER BY output_tokens",
                account_id,
                TYPICAL_OF,
                key_id,
                model,
            )
        return int(rows[len(rows) // 2][0] or 0) if len(rows) >= TYPICAL_LEAST else None

    def receipt(self, row: RequestRow, *, internal: bool = False) -> dict[str, object]:
        """The whole receipt: its lines add up to the charge. The last is the rounding, before it what stayed unpaid.

        `internal`: with what the call cost us, for administrators; never for a customer.
        """
        usage = msgspec.json.decode(row.usage, type=Usage)
        rates = self._rates(row)
        steps = read_steps(row.hold_steps, row.hold)
        posted = row.state == "posted"
        return (
            self.summary(row)
            | {
                "streamed": bool(row.streamed),
                "finish_reason": row.finish,
                "error": row.error,
                "hold": _amount(row.hold),
                "freed": _amount(max(row.hold - row.charge, 0)),
                "held_at_first": _amount(steps.first_nano),
                "extensions": _extensions(steps, row.hold),
                "unpaid": _amount(row.leakage),
                "max_charge": None if steps.max_charge_nano is None else _amount(steps.max_charge_nano),
                "output_limit": steps.output_limit,
                "price_version": row.price_version,
                "price_tier": None if rates is None else _tier(usage, rates),
                "cache_saving": _saved(usage, rates),
                "lines": _lines(usage, rates, row.leakage) if rates is not None and posted else [],
                "attempts": _attempts(row, internal=internal),
            }
            | (_internal(row) if internal else {})
        )

    def generation(self, row: RequestRow) -> dict[str, object]:
        """The same call in OpenRouter's words."""
        usage = msgspec.json.decode(row.usage, type=Usage)
        saved = _saved(usage, self._rates(row))
        return write_generation(
            row, charge=_amount(row.charge), saved=saved, created_at=_time(row.created).isoformat()
        )

    def _rates(self, row: RequestRow) -> Rates | None:
        with self._database.read() as view:
            return read_versions(view, [row.price_version]).get(row.price_version)


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


def _extensions(steps: HoldSteps, hold_nano: int) -> list[dict[str, object]]:
    told = [(step.why, step.amount_nano, step.after_ms) for step in steps.more]
    rest = hold_nano - steps.first_nano - sum(step.amount_nano for step in steps.more)
    if rest > 0:
        told.append((UNTOLD, rest, 0))
    return [{"why": why, "amount": _amount(nano), "after_ms": after_ms} for why, nano, after_ms in told]


def _tier(usage: Usage, rates: Rates) -> int | None:
    """Above how many tokens of input the rates that were charged begin; None for those that have no such bound."""
    passed = [tier.above_input_tokens for tier in rates.tiers if usage.input_total > tier.above_input_tokens]
    return max(passed, default=None)


def _saved(usage: Usage, rates: Rates | None) -> msgspec.Raw:
    """What tokens from the cache would have cost fresh, less what they did."""
    if rates is None:
        return _amount(0)
    in_force = rates_at(rates, usage.input_total)
    fresh = in_force.input or 0
    cached = fresh if in_force.cache_read is None else in_force.cache_read
    return msgspec.Raw(_exact(usage.cache_read * (fresh - cached)).encode())


def _attempts(row: RequestRow, *, internal: bool) -> list[dict[str, object]]:
    """Every try at a provider; of all of them only the one that answered is charged."""
    tries = msgspec.json.decode(row.attempts, type=list[dict[str, str | int]])
    shown: list[dict[str, object]] = []
    for tried in tries:
        answered = tried is tries[-1] and "error" not in tried
        shown.append(
            {
                "provider": tried["provider"],
                "status": tried.get("status", 0),
                "latency_ms": tried.get("latency_ms", 0),
                "charge": _amount(row.charge if answered else 0),
            }
        )
        if internal:
            shown[-1] |= {
                "model": tried["model"],
                "error": tried.get("error"),
                "cost": _amount(row.cost if answered else 0),
            }
    return shown


def _internal(row: RequestRow) -> dict[str, object]:
    same = row.cost_currency == row.currency
    return {
        "provider": row.provider,
        "upstream_model": row.upstream_model,
        "cost": _amount(row.cost),
        "cost_currency": row.cost_currency,
        "cost_version": row.cost_version,
        "margin": _amount(row.charge - row.cost) if same else None,
    }
