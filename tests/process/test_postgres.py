"""Whole gateways on PostgreSQL: one, two nodes that know nothing of each other but the database, and it going away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.answers import Answer, chat, slow, stall, stream
from tests.support.books import ACCOUNT, assert_balanced, balance_nano, requests
from tests.support.clients import Caller, Receipt, call, get
from tests.support.faulty import serve_faulty
from tests.support.postgres import PASSWORD, PostgresServer, started_postgres
from tests.support.process import cli, new_key, up
from tests.support.shop import CALL_NANO, nano, open_shop

pytestmark = pytest.mark.process

SECRET = {"FAREBOX_SECRET": "0123456789abcdef" * 4}
CALLERS = 8
DEAD_S = 4.0  # RETURN_S of ledger/owners.py; a sweep is twice a second.


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.new_database()
    yield url
    postgres.drop(url)


def shop_on(folder: Path, base_url: str, database: str) -> Path:
    return open_shop(folder, base_url, f'\n[store]\ndatabase = "{database}"\n')


def key_of(folder: Path, config: Path, credit: str = "10") -> str:
    return new_key(folder / "cli", ACCOUNT, "--plan", "enterprise", "--credit", credit, config=config)


def holds(database: str) -> dict[str, str]:
    """The holds that stand and their owners, read beside the running servers."""
    with psycopg.connect(database) as other:
        return dict(other.execute("SELECT id, owner FROM holds").fetchall())


async def held(database: str, count: int) -> dict[str, str]:
    """Wait until so many holds stand."""
    async with asyncio.timeout(10):
        while len(found := await asyncio.to_thread(holds, database)) != count:
            await asyncio.sleep(0.05)
    return found


async def keep_calling(url: str, key: str, receipts: list[Receipt], stop: asyncio.Event) -> None:
    """Call until told to stop, plain and streamed in turn."""
    while not stop.is_set():
        receipts.append(await call(url, key, stream=bool(len(receipts) % 2)))
        await asyncio.sleep(0.002)  # A refusal is quick: without a pause they would be all there is.


def plain_or_stream(body: bytes) -> Answer:
    return slow(stream(), 0.005) if b'"stream"' in body else chat()


async def test_the_whole_product_runs_on_postgresql(tmp_path: Path, database: str) -> None:
    async with serve_faulty() as upstream:
        upstream.choose(lambda request: plain_or_stream(request.body))
        config = shop_on(tmp_path, upstream.base_url, database)
        data = tmp_path / "data"
        with up(data, "--workers", "2", config=config) as farebox:
            key = key_of(tmp_path, config)
            receipts = [await call(farebox.url, key, stream=bool(at % 2)) for at in range(10)]
            assert [(receipt.status, receipt.ended) for receipt in receipts] == [(200, True)] * 10
            wallet = await get(farebox.url, "/v1/credits", key)
            assert nano(wallet.json["balance"]) == 10**10 - 10 * CALL_NANO
            bad = await call(farebox.url, "sk-" + "0" * 64)
            assert bad.status == 401
            assert (await get(farebox.url, "/health/ready")).json["db"] == "ok"
            assert farebox.stop() == 0
        rows = requests(tmp_path / "cli", config)
        assert {receipt.id for receipt in receipts} == set(rows)
        assert {nano(row["charge"]) for row in rows.values()} == {CALL_NANO}
        assert balance_nano(tmp_path / "cli", config) == 10**10 - 10 * CALL_NANO
        assert_balanced(tmp_path / "cli", config)
        assert holds(database) == {}
        assert not (data / "farebox.db").exists()
        assert PASSWORD not in farebox.log.read_text()


async def test_what_a_killed_gateway_held_is_voided_by_the_next(tmp_path: Path, database: str) -> None:
    async with serve_faulty() as upstream:
        upstream.script(stall(stream(), 5))
        config = shop_on(tmp_path, upstream.base_url, database)
        with up(tmp_path / "data", config=config) as farebox:
            key = key_of(tmp_path, config)
            calls = [asyncio.create_task(call(farebox.url, key, stream=True)) for _ in range(3)]
            before = await held(database, 3)
            farebox.kill()
            receipts = await asyncio.gather(*calls)
        assert not any(receipt.ended for receipt in receipts)
        assert holds(database) == before
        upstream.script(chat())
        with up(tmp_path / "data", config=config) as farebox:
            assert (await call(farebox.url, key)).status == 200
            await held(database, 0)
        rows = requests(tmp_path / "cli", config)
        assert {rows[id_]["error"] for id_ in before} == {"owner_died"}
        assert balance_nano(tmp_path / "cli", config) == 10**10 - CALL_NANO
        assert_balanced(tmp_path / "cli", config)


async def test_a_key_revoked_beside_one_node_is_refused_by_the_other_within_a_second(
    tmp_path: Path, database: str
) -> None:
    async with serve_faulty() as upstream:
        config = shop_on(tmp_path, upstream.base_url, database)
        with (
            up(tmp_path / "one", config=config, environment=SECRET) as one,
            up(tmp_path / "two", config=config, environment=SECRET) as two,
        ):
            key = key_of(tmp_path, config)
            assert [(await call(node.url, key)).status for node in (one, two)] == [200, 200]
            revoked = await asyncio.to_thread(
                cli, "keys", "revoke", key, data=tmp_path / "cli", config=config
            )
            assert revoked.returncode == 0, revoked.stderr
            await asyncio.sleep(1.0)
            assert [(await call(node.url, key)).status for node in (one, two)] == [401, 401]


async def test_one_nodes_holds_survive_the_others_death_and_a_stop(tmp_path: Path, database: str) -> None:
    async with serve_faulty() as upstream:
        upstream.script(stall(stream(), 5))
        config = shop_on(tmp_path, upstream.base_url, database)
        with (
            up(tmp_path / "one", config=config, environment=SECRET) as one,
            up(tmp_path / "two", config=config, environment=SECRET) as two,
        ):
            key = key_of(tmp_path, config)
            dying = [asyncio.create_task(call(one.url, key, stream=True)) for _ in range(2)]
            first = await held(database, 2)
            staying = [await Caller.connect(two.url, key) for _ in range(3)]
            for caller in staying:
                await caller.ask(stream=True)
            both = await held(database, 5)
            os.kill(one.pid, signal.SIGSTOP)
            await asyncio.sleep(DEAD_S + 2)
            assert holds(database) == both  # However long a process is stopped.
            one.kill()
            killed_s = time.monotonic()
            left = await held(database, 3)
            assert time.monotonic() - killed_s < DEAD_S + 3
            assert set(left) == set(both) - set(first)
            await asyncio.gather(*dying)
            for caller in staying:
                caller.leave()
            await held(database, 0)
        rows = requests(tmp_path / "cli", config)
        assert {row["error"] for id_, row in rows.items() if id_ in first} == {"owner_died"}
        assert {row["error"] for id_, row in rows.items() if id_ in left} == {"caller_gone"}
        assert_balanced(tmp_path / "cli", config)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_server_that_stops_and_comes_back_is_a_typed_503_and_loses_nothing(
    tmp_path: Path, how: signal.Signals
) -> None:
    async with serve_faulty() as upstream:
        upstream.choose(lambda request: plain_or_stream(request.body))
        with started_postgres() as server:
            config = shop_on(tmp_path, upstream.base_url, server.new_database())
            with up(tmp_path / "data", config=config) as farebox:
                key = key_of(tmp_path, config)
                receipts: list[Receipt] = []
                stop = asyncio.Event()
                callers = [
                    asyncio.create_task(keep_calling(farebox.url, key, receipts, stop))
                    for _ in range(CALLERS)
                ]
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.stop, how)
                await asyncio.sleep(1.0)
                assert (await get(farebox.url, "/health/ready")).json["db"] == "down"
                assert (await get(farebox.url, "/health")).status == 200
                told_s = time.monotonic()
                receipts.append(
                    await call(farebox.url, key)
                )  # The others may all be waiting for their settlements.
                assert receipts[-1].status == 503
                assert time.monotonic() - told_s < 2.5
                await asyncio.to_thread(server.start)
                back_s = time.monotonic()
                while (await call(farebox.url, key)).status != 200:
                    assert time.monotonic() - back_s < 5, "it does not recover by itself"
                    await asyncio.sleep(0.05)
                while (await get(farebox.url, "/health/ready")).status != 200:
                    assert time.monotonic() - back_s < 5, "it is not ready again by itself"
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.5)
                stop.set()
                await asyncio.gather(*callers)
                print(Counter(receipt.status for receipt in receipts))
                assert farebox.stop() == 0
            check(tmp_path / "cli", config, receipts)
            assert PASSWORD not in farebox.log.read_text()


async def test_a_server_that_hangs_is_a_typed_503_in_time_and_loses_nothing(tmp_path: Path) -> None:
    async with serve_faulty() as upstream:
        upstream.choose(lambda request: plain_or_stream(request.body))
        with started_postgres() as server:
            config = shop_on(tmp_path, upstream.base_url, server.new_database())
            with up(tmp_path / "data", config=config) as farebox:
                key = key_of(tmp_path, config)
                receipts = [await call(farebox.url, key)]
                server.freeze()
                try:
                    began_s = time.monotonic()
                    receipts += await asyncio.gather(*(call(farebox.url, key) for _ in range(CALLERS)))
                    assert {receipt.status for receipt in receipts[1:]} == {503}
                    assert time.monotonic() - began_s < 5
                    answered_s = time.monotonic()
                    assert (await get(farebox.url, "/health")).status == 200
                    assert time.monotonic() - answered_s < 2
                finally:
                    server.thaw()
                back_s = time.monotonic()
                while (await call(farebox.url, key)).status != 200:
                    assert time.monotonic() - back_s < 8, "it does not recover by itself"
                    await asyncio.sleep(0.05)
                assert farebox.stop() == 0
            check(tmp_path / "cli", config, receipts)


def check(data: Path, config: Path, receipts: list[Receipt]) -> None:
    """Whoever got an end is charged for it, whoever did not was told why, and the books are right."""
    rows = requests(data, config)
    for receipt in receipts:
        assert receipt.whole, "a connection was cut without a word"
        if receipt.ended:
            assert nano(rows[receipt.id]["charge"]) == CALL_NANO
        else:
            said = receipt.body if receipt.status == 503 else receipt.events[-1]
            assert b"ledger_unavailable" in said, said
    assert any(receipt.ended for receipt in receipts)
    assert any(receipt.status == 503 for receipt in receipts)
    charges = [nano(row["charge"]) for row in rows.values()]
    assert set(charges) <= {0, CALL_NANO}
    assert {row["state"] for row in rows.values()} <= {"posted", "voided"}, "a hold was left behind"
    assert balance_nano(data, config) == 10**10 - sum(charges)
    assert_balanced(data, config)


def test_a_database_that_cannot_be_reached_is_one_line_without_its_password(tmp_path: Path) -> None:
    for address in (
        f"postgresql://farebox:{PASSWORD}@127.0.0.1:1/books",
        f"postgresql://farebox:{PASSWORD}@/books?host={tmp_path}",
        f"postgresql://farebox:{PASSWORD}@127.0.0.1:{PASSWORD}/books",
        f"postgresql://farebox:{PASSWORD}@127.0.0.1/books?nonsense={PASSWORD}",
    ):
        config = shop_on(tmp_path, "http://127.0.0.1:1", address)
        told = cli("books", "check", data=tmp_path / "data", config=config)
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr.startswith("farebox: ")
        assert told.stderr.count("\n") == 1
        assert PASSWORD not in told.stderr
        shown = cli("config", "show", data=tmp_path / "data", config=config)
        assert PASSWORD not in shown.stdout.replace(f"nonsense={PASSWORD}", "").replace(f":{PASSWORD}/", "")
