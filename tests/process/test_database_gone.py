"""A database that cannot be written for a while, under load: calls wait or are told so, and nothing is lost."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.answers import chat, slow, stream
from tests.support.books import ACCOUNT, assert_balanced, balance_nano, holds, requests
from tests.support.clients import Receipt, call, get
from tests.support.faulty import serve_faulty
from tests.support.process import new_key, up
from tests.support.shop import CALL_NANO, nano, open_shop

pytestmark = pytest.mark.process

CALLERS = 8
LOCKED_S = 3.0


def hold_lock(data: Path, seconds: float) -> None:
    """Keep everybody else from writing, as a backup or a careless administrator's shell does."""
    with closing(sqlite3.connect(data / "farebox.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        database.execute("ROLLBACK")


async def keep_calling(url: str, key: str, receipts: list[Receipt], stop: asyncio.Event) -> None:
    """Call until told to stop, plain and streamed in turn."""
    while not stop.is_set():
        receipts.append(await call(url, key, stream=bool(len(receipts) % 2)))


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_database_locked_for_seconds_loses_nothing(tmp_path: Path, workers: int) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.choose(lambda request: slow(stream(), 0.005) if b'"stream"' in request.body else chat())
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", str(workers), config=config) as farebox:
            key = new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", "10", config=config)
            receipts: list[Receipt] = []
            stop = asyncio.Event()
            callers = [
                asyncio.create_task(keep_calling(farebox.url, key, receipts, stop)) for _ in range(CALLERS)
            ]
            await asyncio.sleep(0.3)
            lock = asyncio.create_task(asyncio.to_thread(hold_lock, data, LOCKED_S))
            await asyncio.sleep(LOCKED_S / 2)
            # Reading goes on meanwhile, and the process answers.
            ready = await get(farebox.url, "/health/ready")
            listed = await get(farebox.url, "/v1/models", key)
            assert (ready.status, listed.status) == (200, 200)
            await lock
            began_s = time.monotonic()
            while (await call(farebox.url, key)).status != 200:
                assert time.monotonic() - began_s < 5, "it does not recover by itself"
            await asyncio.sleep(0.3)
            stop.set()
            await asyncio.gather(*callers)
            print(Counter(receipt.status for receipt in receipts))
            assert farebox.stop() == 0
        check(data, config, receipts)


async def test_a_full_disk_is_a_typed_503_and_is_survived(tmp_path: Path) -> None:
    """A limit on the size of files says the same to SQLite as a disk without room, and can be lifted again."""
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.choose(lambda request: stream() if b'"stream"' in request.body else chat())
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, config=config) as farebox:
            key = new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", "10", config=config)
            receipts: list[Receipt] = []
            stop = asyncio.Event()
            callers = [
                asyncio.create_task(keep_calling(farebox.url, key, receipts, stop)) for _ in range(CALLERS)
            ]
            room = max(path.stat().st_size for path in data.glob("farebox.db*")) + (64 << 10)
            resource.prlimit(farebox.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            async with asyncio.timeout(20):
                while not any(receipt.status == 503 for receipt in receipts):
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            resource.prlimit(
                farebox.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            async with asyncio.timeout(5):
                while (await call(farebox.url, key)).status != 200:
                    await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*callers)
            print(Counter(receipt.status for receipt in receipts))
            assert farebox.stop() == 0
        check(data, config, receipts)


def check(data: Path, config: Path, receipts: list[Receipt]) -> None:
    """Whoever got an end is charged for it, whoever did not was told why, and the books are right."""
    rows = requests(data, config)
    for receipt in receipts:
        assert receipt.whole, "a connection was cut without a word"
        if receipt.ended:
            assert nano(rows[receipt.id]["charge"]) == CALL_NANO
        else:
            said = receipt.body if receipt.status == 503 else receipt.events[-1]
            assert b"ledger_unavailable" in said
            if receipt.status == 503:
                assert receipt.head is not None
                assert int(receipt.head.headers["retry-after"]) >= 1
    assert sum(receipt.ended for receipt in receipts) > CALLERS
    assert {nano(row["charge"]) for row in rows.values()} <= {0, CALL_NANO}
    assert holds(data) == {}
    assert balance_nano(data, config) == 10**10 - sum(nano(row["charge"]) for row in rows.values())
    assert_balanced(data, config)
