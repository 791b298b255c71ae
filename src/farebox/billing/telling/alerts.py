"""Alerts: which wallets and budgets are running low, told before calls fail; and whose account is spent at a provider.

Nothing of this is on the path of a call. What is due is found by comparing each wallet's row with how far it has been
alerted: the comparison is the database's alone, and only what differs is looked at closer. `balance + spent` changes
when money moves and at no other time, for a charge takes from one what it adds to the other; so a top-up is noticed
without a look at the transfers. 100 % is the balance right after the last top-up or grant.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from farebox.billing.telling.notices import Notice, note
from farebox.core.money import write_nano
from farebox.ledger.rules import TransferKind, wallet_of
from farebox.store.database import Record, Transaction

LEVELS = (50, 80, 100)
_LAST_FIFTH = 80
# A wallet is as good as spent before it is empty: what is left is less than the hold of nearly every call.
LEFT_OF_100 = {
    50: 2,
    80: 5,
    100: 100,
}  # An alert is due when no more than 1/2, 1/5, 1/100 of the whole is left.
BATCH = 200  # Looked at in one transaction, so that nobody waits long for their turn.
_DAY_US = 86_400_000_000
# Longer than any window of its kind, so that one of a month gone by is not taken for the present one.
_LONGEST_US = {"day": _DAY_US + 2 * 3_600_000_000, "week": 8 * _DAY_US, "month": 32 * _DAY_US}

_WALLETS = (
    "SELECT w.account_id, w.currency, w.balance, w.spent, c.low_balance,"
    " a.paid, a.top_up, a.whole, a.level, a.below"
    " FROM wallets w LEFT JOIN wallet_alerts a ON a.account_id = w.account_id"
    " LEFT JOIN account_contacts c ON c.account_id = w.account_id"
)
_WALLETS_DUE = (
    f"{_WALLETS} WHERE a.account_id IS NULL OR a.paid <> w.balance + w.spent OR w.balance <= a.due LIMIT ?"
)
_WALLET_TOO_SMALL = f"{_WALLETS} WHERE w.account_id = ? AND a.level < 100 AND w.balance <= a.whole / 5"
_LAST_TOP_UP = (
    "SELECT seq FROM transfers WHERE account_id = ? AND credit = ? AND kind IN (?, ?)"
    " ORDER BY seq DESC LIMIT 1"
)
_TAKEN_SINCE = (
    "SELECT COALESCE(SUM(CASE WHEN debit = ? THEN amount ELSE -amount END), 0) FROM transfers"
    " WHERE account_id = ? AND seq > ?"
)
_SAVE_WALLET = (
    "INSERT INTO wallet_alerts (account_id, paid, top_up, whole, level, below, due) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (account_id) DO UPDATE SET paid = excluded.paid, top_up = excluded.top_up,"
    " whole = excluded.whole, level = excluded.level, below = excluded.below, due = excluded.due"
)
# From the budgets to their newest windows: of windows there are more with every day. The joins are crossed
# because SQLite keeps to the order of those that are.
_BUDGETS_DUE = (
    "SELECT w.key_id, w.period, w.starts, b.account_id, b.amount, w.spent + w.held, k.name, k.hint, a.currency"
    " FROM budgets b CROSS JOIN budget_windows w CROSS JOIN keys k CROSS JOIN wallets a"
    " LEFT JOIN budget_alerts t ON t.key_id = w.key_id AND t.period = w.period AND t.starts = w.starts"
    " WHERE b.amount > 0 AND k.id = b.key_id AND a.account_id = b.account_id"
    " AND w.key_id = b.key_id AND w.period = b.period"
    " AND w.starts > CASE b.period WHEN 'day' THEN ? WHEN 'week' THEN ? WHEN 'month' THEN ? ELSE -1 END"
    " AND w.spent + w.held >= b.amount - b.amount / 2"
    " AND w.spent + w.held >= CASE COALESCE(t.level, 0) WHEN 0 THEN b.amount - b.amount / 2"
    " WHEN 50 THEN b.amount - b.amount / 5 ELSE b.amount END AND COALESCE(t.level, 0) < 100"
    " AND NOT EXISTS (SELECT x.key_id FROM budget_windows x"
    " WHERE x.key_id = w.key_id AND x.period = w.period AND x.starts > w.starts) LIMIT ?"
)
_SAVE_BUDGET = (
    "INSERT INTO budget_alerts (key_id, period, starts, level) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (key_id, period) DO UPDATE SET starts = excluded.starts, level = excluded.level"
)


class _Wallet(msgspec.Struct, frozen=True):
    """One wallet, and how far it has been alerted."""

    account_id: int
    currency: str
    balance: int
    spent: int
    low: int | None
    paid: int
    top_up: int
    whole: int
    level: int
    below: bool

    @property
    def reached(self) -> int:
        """The highest level that what is spent comes to; 0 for none."""
        levels = (level for level in LEVELS if self.whole and self.balance <= _left_at(level, self.whole))
        return max(levels, default=0)


def _left_at(level: int, whole: int) -> int:
    return whole // LEFT_OF_100[level]


def anything_due(view: Transaction, now_us: int) -> bool:
    """Whether there is anything to look closer at: a view alone says it, so that an idle shop writes nothing."""
    return bool(view.one(_WALLETS_DUE, 1) or view.one(_BUDGETS_DUE, *_since(now_us), 1))


def wallet_alerts(work: Transaction, now_us: int, *, top_up_url: str) -> int:
    """Note which wallets run low; the number of wallets looked at, BATCH at most."""
    rows = work.all(_WALLETS_DUE, BATCH)
    for row in rows:
        wallet = _topped_up(work, _read_wallet(row))
        _save(work, _told(work, wallet, wallet.reached, now_us, top_up_url))
    return len(rows)


def refusal_alerts(work: Transaction, account_ids: Iterable[int], now_us: int, *, top_up_url: str) -> None:
    """Note that a wallet is as good as spent where a call needed more than is left of the last fifth.

    What a call holds differs: a wallet may refuse every call long before its last hundredth.
    """
    for account_id in account_ids:
        row = work.one(_WALLET_TOO_SMALL, account_id)
        wallet = None if row is None else _topped_up(work, _read_wallet(row))
        # A top-up that has come meanwhile leaves more than a fifth of itself.
        if wallet is not None and wallet.reached >= _LAST_FIFTH:
            _save(work, _told(work, wallet, max(LEVELS), now_us, top_up_url))


def budget_alerts(work: Transaction, now_us: int) -> int:
    """Note which keys' budgets run low, once a level in each window; the number of alerts, BATCH at most."""
    rows = work.all(_BUDGETS_DUE, *_since(now_us), BATCH)
    for row in rows:
        _tell_budget(work, row, now_us)
    return len(rows)


def provider_spent(work: Transaction, provider: str, now_us: int) -> None:
    """Note for the operator that a provider refuses calls because our account there is spent."""
    note(
        work,
        Notice(
            once=f"provider_spent:{provider}:{now_us}",
            account_id=None,
            kind="provider_spent",
            subject=f"Your account at {provider} is out of credit",
            text=(
                f"{provider} refuses calls because your account there is out of credit or quota. Calls go to other"
                " providers of the same model where there are any, and fail where there are none. Add credit there;"
                " nothing needs to be restarted."
            ),
            data={"provider": provider},
            created_us=now_us,
        ),
    )


def _read_wallet(row: Record) -> _Wallet:
    account_id, currency, *amounts = row
    balance, spent, low, paid, top_up, whole, level, below = (
        None if amount is None else int(amount) for amount in amounts
    )
    return _Wallet(
        account_id=int(account_id or 0),
        currency=str(currency),
        balance=balance or 0,
        spent=spent or 0,
        low=low,
        paid=-1 if paid is None else paid,
        top_up=top_up or 0,
        whole=whole or 0,
        level=level or 0,
        below=bool(below),
    )


def _topped_up(work: Transaction, wallet: _Wallet) -> _Wallet:
    """The wallet with a new whole and no level reached, if a top-up or grant has come since."""
    paid = wallet.balance + wallet.spent
    if paid == wallet.paid:
        return wallet
    name = wallet_of(wallet.account_id)
    kinds = (TransferKind.TOP_UP.value, TransferKind.GRANT.value)
    row = work.one(_LAST_TOP_UP, wallet.account_id, name, *kinds)
    wallet = msgspec.structs.replace(wallet, paid=paid)
    top_up = int((row or (0,))[0] or 0)
    if top_up == wallet.top_up:
        return wallet  # A correction or refund: it changes the balance, not what 100 % is.
    taken = work.one(_TAKEN_SINCE, name, wallet.account_id, top_up)
    whole = wallet.balance + int((taken or (0,))[0] or 0)
    return msgspec.structs.replace(wallet, top_up=top_up, whole=whole, level=0)


def _told(work: Transaction, wallet: _Wallet, reached: int, now_us: int, top_up_url: str) -> _Wallet:
    """Tell what is to be told of a wallet that has reached a level; the wallet with that."""
    if reached > wallet.level:
        note(work, _low_balance(wallet, reached, now_us, top_up_url))
        wallet = msgspec.structs.replace(wallet, level=reached)
    below = wallet.low is not None and wallet.balance < wallet.low
    if below and not wallet.below:
        note(work, _below(wallet, now_us, top_up_url))
    return msgspec.structs.replace(wallet, below=below)


def _save(work: Transaction, wallet: _Wallet) -> None:
    levels = (_left_at(level, wallet.whole) for level in LEVELS if level > wallet.level and wallet.whole)
    low = -1 if wallet.low is None or wallet.below else wallet.low - 1
    work.run(
        _SAVE_WALLET,
        *(wallet.account_id, wallet.paid, wallet.top_up, wallet.whole, wallet.level, int(wallet.below)),
        max([low, *levels]),
    )


def _low_balance(wallet: _Wallet, level: int, now_us: int, top_up_url: str) -> Notice:
    left = f"{write_nano(wallet.balance)} {wallet.currency}"
    now = "Calls will fail" if level < max(LEVELS) else "Calls fail, or are about to,"
    return Notice(
        once=f"low_balance:{wallet.account_id}:{wallet.top_up}:{level}",
        account_id=wallet.account_id,
        kind="low_balance",
        subject=f"{level} % of your balance is spent",
        text=(
            f"{level} % of the {write_nano(wallet.whole)} {wallet.currency} in your wallet after your last top-up is"
            f" spent: {left} is left. {now} when there is not enough for them. Top up at {top_up_url}"
        ),
        data={
            "level": str(level),
            "balance": write_nano(wallet.balance),
            "of": write_nano(wallet.whole),
            "currency": wallet.currency,
            "top_up_url": top_up_url,
        },
        created_us=now_us,
    )


def _below(wallet: _Wallet, now_us: int, top_up_url: str) -> Notice:
    low = write_nano(wallet.low or 0)
    return Notice(
        once=f"balance_below:{wallet.account_id}:{now_us}",
        account_id=wallet.account_id,
        kind="balance_below",
        subject=f"Your balance is below {low} {wallet.currency}",
        text=(
            f"Your wallet has {write_nano(wallet.balance)} {wallet.currency} left, less than the {low}"
            f" {wallet.currency} you want to be told at. Top up at {top_up_url}"
        ),
        data={
            "balance": write_nano(wallet.balance),
            "below": low,
            "currency": wallet.currency,
            "top_up_url": top_up_url,
        },
        created_us=now_us,
    )


def _since(now_us: int) -> list[int]:
    """What the start of the present day, week and month is later than."""
    return [now_us - _LONGEST_US[period] for period in ("day", "week", "month")]


def _tell_budget(work: Transaction, row: Record, now_us: int) -> None:
    key_id, starts, account_id, most, spent = (int(row[at] or 0) for at in (0, 2, 3, 4, 5))
    period, name, hint, currency = (str(row[at]) for at in (1, 6, 7, 8))
    level = max(level for level in LEVELS if spent >= most - most * (100 - level) // 100)
    work.run(_SAVE_BUDGET, key_id, period, starts, level)
    key = f"{name} ({hint})" if name else hint
    span = "budget" if period == "total" else f"budget for this {period}"
    note(
        work,
        Notice(
            once=f"budget:{key_id}:{period}:{starts}:{level}",
            account_id=account_id,
            kind="budget",
            subject=f"{level} % of the {span} of the key {key} is spent",
            text=(
                f"Of {write_nano(most)} {currency}, the {span} of the key {key}, {write_nano(spent)} {currency} is"
                " spent or held by calls that still run. A call that does not fit in the rest is refused."
            ),
            data={
                "level": str(level),
                "key": name,
                "hint": hint,
                "period": period,
                "spent": write_nano(spent),
                "budget": write_nano(most),
                "currency": currency,
            },
            created_us=now_us,
        ),
    )
