"""Prices that change under load, on every worker: each call pays by one version, the one its row names."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from farebox.billing.prices.pricelist import PriceList, Terms, Ware, Way
from farebox.billing.prices.pricing import charge_nano
from farebox.billing.prices.scheduling import Scheduled, schedule_price
from farebox.billing.prices.tariff import Change, Layer
from farebox.core.money import NANO
from farebox.core.rates import Rates
from farebox.core.usage import Usage
from farebox.store.sqlite import SqliteDatabase
from tests.process.test_workers import slow_ending
from tests.support.answers import stream
from tests.support.books import ACCOUNT, assert_balanced, balance_nano
from tests.support.clients import Caller, call, is_finish
from tests.support.faulty import FaultyUpstream, serve_faulty
from tests.support.process import Up, cli, new_key, up
from tests.support.shop import MODEL, nano

pytestmark = pytest.mark.process

CHANGES = 20
EVERY_S = 0.2
FOLLOWED_S = 1.0
CALLERS = 6
COST = Rates("USD", input=500_000_000, output=NANO)
CONFIG = """
[wallet]
currency = "USD"
[[providers]]
name = "acme"
base_url = "{base_url}"
[[models]]
id = "acme/chat"
context_window = 100000
max_output = 1000
cost = {{ currency = "USD", input = "0.5", output = "1" }}
routes = [{{ provider = "acme", model = "chat-1" }}]
[[plans]]
name = "enterprise"
chat_rpm = 1000000
"""


def now_us() -> int:
    return time.time_ns() // 1000


class Operator:
    """Enters changes into the database of a running deployment, as its console would."""

    def __init__(self, data: Path) -> None:
        self._database = SqliteDatabase(data / "farebox.db")
        ware = Ware(MODEL, "chat", COST, None, (Way("acme", COST),))
        self._prices = PriceList(Terms("USD"), wares=[ware])
        self._number = count(1)

    def charge(self, amount: int, *, in_us: int = 0) -> None:
        """Let a million tokens sell for this many nano-units from then on."""
        rates = Rates("USD", input=amount, output=2 * amount)
        change = Change(
            what="price",
            target=MODEL,
            starts_us=now_us() + in_us,
            layer=Layer.DATABASE,
            rates=rates,
            notice=False,
        )
        with self._database.transaction() as work:
            done = schedule_price(
                work, self._prices, change, id_=str(next(self._number)), now_us=now_us(), notice_days=7
            )
        assert isinstance(done, Scheduled)

    def close(self) -> None:
        self._database.close()


@asynccontextmanager
async def shop(folder: Path, workers: int = 2) -> AsyncIterator[tuple[Up, FaultyUpstream, Operator, str]]:
    data = folder / "data"
    async with serve_faulty() as upstream:
        config = folder / "farebox.toml"
        config.write_text(CONFIG.format(base_url=upstream.base_url))
        with up(data, "--workers", str(workers), config=config) as farebox:
            key = new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", "1000", config=config)
            operator = Operator(data)
            try:
                yield farebox, upstream, operator, key
            finally:
                operator.close()


def rows(data: Path) -> list[dict[str, Any]]:
    """Every settled call with the rates of the version it names."""
    with closing(sqlite3.connect(f"file:{data / 'farebox.db'}?mode=ro", uri=True)) as database:
        found = database.execute(
            "SELECT r.id, r.usage, r.charge, r.leakage, r.created, r.price_version, v.rates FROM requests r"
            " LEFT JOIN versions v ON v.id = r.price_version ORDER BY r.id"
        ).fetchall()
    names = ("id", "usage", "charge", "leakage", "created", "version", "rates")
    return [dict(zip(names, row, strict=True)) for row in found]


def assert_exact(data: Path) -> list[dict[str, Any]]:
    """Each charge is its usage at its version, to the last nano-unit."""
    found = rows(data)
    for row in found:
        usage, rates = (
            msgspec.json.decode(row["usage"], type=Usage),
            msgspec.json.decode(row["rates"], type=Rates),
        )
        assert row["charge"] + row["leakage"] == charge_nano(usage, rates), row
    return found


async def test_each_call_pays_its_usage_at_the_version_it_names_while_prices_change(tmp_path: Path) -> None:
    async with shop(tmp_path) as (farebox, _, operator, key):
        over = asyncio.Event()
        statuses: list[int] = []

        async def keep_calling(stream: bool) -> None:
            while not over.is_set():
                receipt = await call(farebox.url, key, stream=stream)
                statuses.append(receipt.status)

        callers = [asyncio.create_task(keep_calling(number % 2 == 0)) for number in range(CALLERS)]
        for number in range(CHANGES):
            # Up and down, at once and a little ahead.
            await asyncio.to_thread(
                operator.charge, NANO + (number * 7 % 13) * 1_000_003, in_us=(number % 3) * 150_000
            )
            await asyncio.sleep(EVERY_S)
        await asyncio.to_thread(operator.charge, 3 * NANO)
        await asyncio.sleep(FOLLOWED_S)
        settled_us = now_us()
        await asyncio.sleep(0.5)
        over.set()
        await asyncio.gather(*callers)
        assert set(statuses) == {200}

        found = await asyncio.to_thread(assert_exact, farebox.data)
        assert len(found) == len(statuses)
        assert len({row["version"] for row in found}) > CHANGES // 3
        late = [json.loads(row["rates"])["input"] for row in found if row["created"] > settled_us]
        assert late
        assert set(late) == {3 * NANO}, "a worker did not follow within a second"
        config = tmp_path / "farebox.toml"
        await asyncio.to_thread(assert_balanced, farebox.data, config, holds=0)
        spent = sum(row["charge"] for row in found)
        assert await asyncio.to_thread(balance_nano, farebox.data, config) == 1_000 * NANO - spent


async def test_a_stream_pays_the_price_of_its_beginning(tmp_path: Path) -> None:
    async with shop(tmp_path, workers=1) as (farebox, upstream, operator, key):
        upstream.script(slow_ending(2.0), stream())
        caller = await Caller.connect(farebox.url, key)
        await caller.ask(stream=True)
        await caller.read_head()
        await asyncio.to_thread(operator.charge, 9 * NANO)
        async for event in caller.events():
            if is_finish(event):
                break
        caller.leave()
        assert (await call(farebox.url, key, stream=True)).status == 200
        await asyncio.sleep(0.2)
        first, second = await asyncio.to_thread(assert_exact, farebox.data)
        assert [json.loads(row["rates"])["input"] for row in (first, second)] == [500_000_000, 9 * NANO]


async def test_any_past_call_is_repriced_and_a_wrong_price_given_back_by_the_command_line(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path, workers=1) as (farebox, _, operator, key):
        config = tmp_path / "farebox.toml"

        async def run(*arguments: str, code: int = 0) -> str:
            told = await asyncio.to_thread(cli, "prices", *arguments, data=farebox.data, config=config)
            assert told.returncode == code, told.stderr
            return told.stdout if code == 0 else told.stderr

        await asyncio.to_thread(operator.charge, 10 * NANO)
        await asyncio.sleep(FOLLOWED_S)
        assert (await call(farebox.url, key)).status == 200
        await asyncio.sleep(0.1)
        (row,) = rows(farebox.data)
        before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["created"] / 1e6 - 60))
        after = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["created"] / 1e6 + 60))

        history = [json.loads(line) for line in (await run("show", MODEL, "--json")).splitlines()]
        prices = [period for period in history if period["kind"] == "price"]
        assert [period["rates"]["input"] for period in prices] == ["10", "0.5"]
        own = json.loads(await run("reprice", row["id"]))
        assert nano(own["comes_to"]) == nano(own["charged"]) == row["charge"]
        right = json.loads(await run("reprice", row["id"], "--version", prices[-1]["version"]))
        assert nano(right["comes_to"]) < row["charge"]
        assert "no such price" in await run("reprice", row["id"], "--as-of", "2020-01-01", code=1)

        period = ("correct", MODEL, "--from", before, "--to", after, "--version", prices[-1]["version"])
        back = nano(own["charged"]) - nano(right["comes_to"])
        dry = await run(*period, "--dry-run")
        assert f"{ACCOUNT}: 1 calls" in dry
        assert balance_nano(farebox.data, config) == 1_000 * NANO - row["charge"]
        assert "1 accounts got" in await run(*period)
        assert "0 accounts got" in await run(*period)
        assert balance_nano(farebox.data, config) == 1_000 * NANO - row["charge"] + back
        again = ("correct", MODEL, "--from", before, "--to", after, "--version", prices[0]["version"])
        assert "corrected already" in await run(*again, code=1)
        assert_balanced(farebox.data, config, holds=0)
