"""What the ledger alone costs: hold and settle of so many calls by sixteen callers, on a new SQLite file.

    python bench/ledger.py --requests 40000

Prints one line of JSON: CPU in microseconds a request, of which `idle_us` is the callers' own (the same loop without a
ledger), and the mean batch. A request is one hold and one settlement, both awaited until they are durable.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

if __name__ == "__main__":
    # A script has its own folder there, not the root.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
import uvloop

from farebox.accounts.accounts import create_account
from farebox.billing.wallet import Hold, Wallets
from farebox.core.clock import SystemClock, Ulids
from farebox.ledger.books import Op, RequestRow, Result, apply_batch
from farebox.ledger.moves import Move, move
from farebox.ledger.rules import TransferKind
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase
from farebox.store.writer import GroupCommit

CALLERS = 16
ACCOUNTS = 16
WARM_UP = 2_000
CREDIT_NANO = 10**18
_USAGE = '{"input_fresh":11,"output_visible":5}'


class Cost(msgspec.Struct, frozen=True):
    """What was measured."""

    cpu_us: float
    idle_us: float
    batch: float


async def measure(requests: int, folder: Path) -> Cost:
    """CPU of hold and settle, in microseconds a request."""
    database, clock = SqliteDatabase(folder / "farebox.db"), SystemClock()
    migrate(database, load_migrations())
    commit: GroupCommit[Op, Result] = GroupCommit(database, apply_batch, upkeep=database.checkpoint)
    wallets, ids = Wallets(commit, owner="bench", clock=clock), Ulids(clock)
    with database.transaction() as work:
        work.run("INSERT INTO owners (id, started) VALUES ('bench', 0)")
        accounts = [
            create_account(work, f"bench-{number}", plan="pro", currency="USD", now_us=1).id
            for number in range(ACCOUNTS)
        ]
        for account in accounts:
            move(work, Move(f"m{account}", account, TransferKind.GRANT, CREDIT_NANO, "USD", None, 1))

    async def call(number: int) -> None:
        hold = Hold(ids.new(), accounts[number % ACCOUNTS], 1, 5_000)
        assert await wallets.hold(hold, "acme/model") is None
        await wallets.settle(_row(hold, clock.now_us()))

    async def rest(number: int) -> None:
        row = _row(Hold(ids.new(), accounts[number % ACCOUNTS], 1, 5_000), clock.now_us())
        await asyncio.sleep(0)
        assert row.charge

    await _share(WARM_UP, call)
    before = (commit.counts.operations, commit.counts.batches)
    cpu_us = await _share(requests, call)
    operations, batches = commit.counts.operations - before[0], commit.counts.batches - before[1]
    idle_us = await _share(requests, rest)
    await wallets.drain()
    commit.close()
    database.close()
    return Cost(round(cpu_us, 1), round(idle_us, 1), round(operations / batches, 1))


async def _share(requests: int, call: Callable[[int], Awaitable[None]]) -> float:
    """Share requests out among the callers; the process's CPU in microseconds each."""

    async def caller(number: int) -> None:
        for _ in range(requests // CALLERS):
            await call(number)

    began = time.process_time()
    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return (time.process_time() - began) / requests * 1e6


def _row(hold: Hold, now_us: int) -> RequestRow:
    return RequestRow(
        id=hold.id,
        account_id=hold.account_id,
        key_id=hold.key_id,
        profile="standard",
        model="openai/gpt-4o-mini",
        provider="openai",
        upstream_model="gpt-4o-mini",
        state="posted",
        status=200,
        streamed=False,
        partial=False,
        estimated=False,
        finish="stop",
        error=None,
        usage=_USAGE,
        input_tokens=11,
        output_tokens=5,
        charge=4_650,
        currency="USD",
        hold=hold.amount_nano,
        leakage=0,
        cost=4_650,
        cost_currency="USD",
        price_version="0123456789abcdef",
        cost_version="fedcba9876543210",
        attempts='[{"provider":"openai","model":"gpt-4o-mini","status":200,"latency_ms":3}]',
        first_byte_us=3_000,
        latency_us=3_100,
        created=now_us,
    )


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU of hold and settle, in microseconds a request")
    parser.add_argument("--requests", type=int, default=40_000)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="farebox-ledger-") as folder:
        cost = uvloop.run(measure(given.requests, Path(folder)))
    print(msgspec.json.encode(cost).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
