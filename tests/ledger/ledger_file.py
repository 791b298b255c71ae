"""A ledger in a real database, driven by operations as the group commit drives it: a batch, or else one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psycopg

from farebox.accounts.accounts import create_account
from farebox.ledger.books import (
    HoldGoneError,
    HoldStandsError,
    Op,
    RequestRow,
    Result,
    SettleOp,
    apply_batch,
    sweep,
)
from farebox.ledger.check import BooksReport, check_books
from farebox.ledger.moves import Booked, Clash, Move, Short, TakenBack, move, take_back
from farebox.ledger.rules import TransferKind
from farebox.store.database import Database
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase

CURRENCY = "INR"
POISON = (
    HoldGoneError,
    HoldStandsError,
    sqlite3.Error,
    psycopg.Error,
)  # Any of these ends in a replay, as any exception does.
NOW_US = 1_700_000_000_000_000


class Amounts(msgspec.Struct):
    """What a wallet's row says, in nano-units."""

    balance: int = 0
    held: int = 0
    spent: int = 0


class LedgerFile:
    """Wallets and owners by name; amounts as committed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        migrate(self.database, load_migrations())
        self.accounts: dict[str, int] = {}
        self._moves = 0

    def close(self) -> None:
        self.database.close()

    def open_wallet(self, name: str) -> int:
        """The account of that name, made if it is new."""
        if name not in self.accounts:
            with self.database.transaction() as work:
                account = create_account(work, name, plan="standard", currency=CURRENCY, now_us=NOW_US)
            self.accounts[name] = account.id
        return self.accounts[name]

    def enlist(self, owner: str) -> None:
        """Write an owner down if it is not."""
        with self.database.transaction() as work:
            work.run(
                "INSERT INTO owners (id, started) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", owner, NOW_US
            )

    def commit(self, *operations: Op) -> list[Result | Exception]:
        """Apply a batch as the group commit does."""
        try:
            return list(self._apply(operations))
        except POISON:
            return [self._apply_alone(operation) for operation in operations]

    def try_and_undo(self, operation: Op) -> Result | None:
        """Apply an operation, then have its transaction fail as a commit may."""
        result = None
        with suppress(_UndoneError), self.database.transaction() as work:
            (result,) = apply_batch(work, [operation])
            raise _UndoneError
        return result

    def move(
        self, name: str, kind: TransferKind, change: int, *, id_: str | None = None
    ) -> Booked | Short | Clash:
        with self.database.transaction() as work:
            return move(work, self._as_move(name, kind, change, id_))

    def take_back(self, name: str, change: int, *, id_: str | None = None) -> TakenBack | Clash:
        with self.database.transaction() as work:
            return take_back(work, self._as_move(name, TransferKind.CORRECTION, change, id_))

    def _as_move(self, name: str, kind: TransferKind, change: int, id_: str | None) -> Move:
        self._moves += 1
        return Move(id_ or f"move-{self._moves}", self.accounts[name], kind, change, CURRENCY, None, NOW_US)

    def sweep(self, owner: str) -> int:
        with self.database.transaction() as work:
            return sweep(work, owner)

    def amounts(self, name: str) -> Amounts:
        with self.database.read() as view:
            row = view.one(
                "SELECT balance, held, spent FROM wallets WHERE account_id = ?", self.accounts[name]
            )
        assert row is not None
        return msgspec.convert(dict(zip(Amounts.__struct_fields__, row, strict=True)), Amounts)

    def check(self) -> BooksReport:
        return check_books(self.database)

    def rows(self, sql: str, *values: str | int) -> list[tuple[str | int | bytes | None, ...]]:
        return list(self.database.rows(sql, *values))

    def _apply(self, operations: Sequence[Op]) -> Sequence[Result]:
        with self.database.transaction() as work:
            return apply_batch(work, operations)

    def _apply_alone(self, operation: Op) -> Result | Exception:
        try:
            (result,) = self._apply([operation])
        except POISON as error:
            return error
        return result


class _UndoneError(Exception):
    """What undoes a transaction on purpose."""


@contextmanager
def ledger_in(folder: Path) -> Iterator[LedgerFile]:
    """A ledger in a SQLite file."""
    ledger = LedgerFile(SqliteDatabase(folder / "farebox.db"))
    try:
        yield ledger
    finally:
        ledger.close()


def settlement(call: str, account_id: int, *, due: int, hold: int) -> SettleOp:
    """A settlement of what is due by a caller who remembers a hold of that size; with nothing due it voids."""
    row = RequestRow(
        id=call,
        account_id=account_id,
        key_id=1,
        profile="standard",
        model="acme/model",
        provider="acme",
        upstream_model="model",
        state="posted" if due else "voided",
        status=200,
        streamed=False,
        partial=False,
        estimated=False,
        finish="stop",
        error=None,
        usage="{}",
        input_tokens=1,
        output_tokens=2,
        charge=due,
        currency=CURRENCY,
        hold=hold,
        leakage=0,
        cost=due // 2,
        cost_currency=CURRENCY,
        price_version="price",
        cost_version="cost",
        attempts="[]",
        first_byte_us=1,
        latency_us=2,
        created=NOW_US,
    )
    return SettleOp(row, NOW_US + 1)
