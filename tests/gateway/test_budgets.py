"""Budgets: what a key may spend in a window holds for calls that run side by side, and a breaker stops it for good."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from farebox.accounts.budgets import Breaker, Budget, Limits, set_breaker, set_budget
from farebox.accounts.keys import Key, digest_of, get_key, rotate_key
from farebox.billing.budgets import resume_key
from farebox.billing.periods import Calendar
from farebox.gateway.budget import Guards
from tests.gateway.shop import Caller, Shop, charge_of, open_shop
from tests.support.answers import chat, hang, late, stream

# A call of 50 tokens of output at most comes to about 100,000 nano-units and its prompt.
CALL = {"max_tokens": 50}


def code_of(caller: Caller) -> str:
    """The name of what was wrong."""
    return str(caller.error["metadata"]["error_type"])


def key_of(shop: Shop) -> Key:
    with shop.gateway.office.database.read() as view:
        return get_key(view, shop.key)


def give(shop: Shop, budget: Budget | Breaker) -> None:
    """What the command line does, and what the worker learns of it within a second."""
    key, now_us = key_of(shop), shop.gateway.office.clock.now_us()
    with shop.gateway.office.database.transaction() as work:
        if isinstance(budget, Budget):
            set_budget(work, key_id=key.id, account_id=key.account_id, budget=budget, now_us=now_us)
        else:
            set_breaker(work, key_id=key.id, account_id=key.account_id, breaker=budget, now_us=now_us)
    shop.gateway.worker.house.directory.refresh()


async def hold_of_a_call(shop: Shop) -> int:
    """What one such call holds."""
    shop.first.script(chat("Hello.", usage=(10, 5)))
    await shop.ask(**CALL)
    return int((await shop.row())["hold"])


@pytest.mark.parametrize("period", ["day", "week", "month", "total"])
async def test_calls_side_by_side_never_pass_a_budget_together(tmp_path: Path, period: str) -> None:
    async with open_shop(tmp_path) as shop:
        hold = await hold_of_a_call(shop)
        spent = charge_of(10, 5)
        give(shop, Budget(period, spent + 3 * hold))
        shop.first.script(*[hang() for _ in range(3)])
        callers = [await shop.call(**CALL) for _ in range(12)]
        async with asyncio.timeout(10):
            while sum(bool(caller.pieces) for caller in callers) < 9:
                await asyncio.sleep(0.01)
        refused = [caller for caller in callers if caller.pieces]
        assert {caller.status for caller in refused} == {402}
        error = refused[0].error
        assert (code_of(refused[0]), error["period"]) == ("budget_exceeded", period)
        assert refused[0].headers["x-should-retry"] == "true"  # It is only held.
        assert "running" in error["message"]
        for caller in callers:
            caller.hang_up()
        await shop.gateway.settled(4)
        shop.assert_settled(spent)


async def test_a_budget_that_is_spent_is_said_not_to_be_worth_a_retry(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        await hold_of_a_call(shop)
        give(shop, Budget("day", charge_of(10, 5) + 7))
        caller = await shop.ask(**CALL)
        assert (caller.status, caller.error["type"]) == (402, "billing_error")
        assert caller.headers["x-should-retry"] == "false"
        assert caller.error["budget"] == 0.000020007
        assert caller.error["spent"] == 0.00002
        assert (await shop.ask(stream=True)).status == 402


async def test_a_stream_that_outgrows_its_keys_budget_is_cut_and_charged(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        await hold_of_a_call(shop)
        words = [f" w{number % 1000}" for number in range(6_000)]
        shop.first.script(stream(words, usage=(10, 6_000)))
        hold_nano = 4_096 * 2_000
        give(shop, Budget("total", charge_of(10, 5) + hold_nano + 200_000))
        caller = await shop.ask(stream=True)
        assert caller.status == 200
        assert code_of(caller) == "budget_exceeded"
        assert not caller.done
        row = await shop.row()
        assert 0 < row["charge"] <= row["hold"]
        shop.assert_settled()


async def test_two_keys_race_for_one_wallet_each_within_its_own_budget(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="1") as shop:
        hold, first = await hold_of_a_call(shop), shop.key
        second = shop.gateway.key()
        spent = charge_of(10, 5)
        give(shop, Budget("day", spent + 3 * hold))
        shop.key = second
        give(shop, Budget("day", 2 * hold + 1))
        shop.first.script(*[late(chat("Hi.", usage=(10, 5)), 0.3) for _ in range(5)])
        callers = []
        for number in range(16):
            customer = msgspec.structs.replace(shop, key=first if number % 2 else second)
            callers.append(asyncio.create_task(customer.ask(**CALL)))
        answers = await asyncio.gather(*callers)
        served = [[answer.status for answer in answers[side::2]].count(200) for side in (1, 0)]
        assert served == [3, 2]
        rows = shop.gateway.office.database.rows(
            "SELECT k.digest, r.charge, r.hold, r.guards FROM requests r JOIN keys k ON k.id = r.key_id"
            " WHERE r.guards IS NOT NULL"
        )
        by_key: dict[bytes, list[int]] = {}
        for digest, charge, held, guards in rows:
            assert isinstance(digest, bytes)
            assert str(guards).startswith("day:")
            assert int(charge or 0) == spent <= int(held or 0)
            by_key.setdefault(digest, []).append(int(charge or 0))
        assert {digest: len(charges) for digest, charges in by_key.items()} == {
            digest_of(first): 3,
            digest_of(second): 2,
        }
        shop.gateway.assert_balanced()
        assert shop.gateway.balance_nano() == 10**9 - 6 * spent


def test_a_day_and_a_month_of_kolkata_end_at_half_past_six_in_the_evening_of_utc() -> None:
    guards = Guards(Calendar("Asia/Kolkata"))
    limits = Limits(tuple(Budget(period, 1) for period in ("day", "month", "total", "week")))
    key = Key(1, "k", 1, "sk", "", 0, None, None, None, limits=limits)
    end_us = int(datetime(2026, 10, 31, 18, 30, tzinfo=UTC).timestamp()) * 1_000_000
    before = {guard.period: guard.starts_us for guard in guards.of(key, end_us - 1)}
    after = {guard.period: guard.starts_us for guard in guards.of(key, end_us)}
    assert (after["day"], after["month"], after["total"]) == (end_us, end_us, 0)
    assert before["day"] == end_us - 86_400_000_000
    assert before["month"] == int(datetime(2026, 9, 30, 18, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert before["week"] == after["week"]  # The first of November 2026 is a Sunday.
    assert guards.end_us("month", end_us - 1) == end_us
    assert guards.end_us("total", end_us) is None


async def test_a_breaker_stops_a_key_until_somebody_lets_it_go_on(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        hold = await hold_of_a_call(shop)
        give(shop, Breaker(times=5, floor_nano=charge_of(10, 5) + hold + 5))
        shop.first.script(*[chat("Hi.", usage=(10, 5)) for _ in range(2)])
        assert (await shop.ask(**CALL)).status == 200
        stopped = await shop.ask(**CALL)
        assert (stopped.status, code_of(stopped)) == (402, "spend_breaker_tripped")
        async with asyncio.timeout(5):
            while key_of(shop).paused_us is None:
                await asyncio.sleep(0.05)
        shop.gateway.worker.house.directory.refresh()
        assert code_of(await shop.ask(max_tokens=1)) == "spend_breaker_tripped"
        with shop.gateway.office.database.transaction() as work:
            notices = work.all("SELECT kind FROM notices")
            resume_key(work, get_key(work, shop.key), shop.gateway.office.clock.now_us())
        assert notices == [("key.paused",)]
        shop.gateway.worker.house.directory.refresh()
        assert (await shop.ask(**CALL)).status == 200
        shop.assert_settled(3 * charge_of(10, 5))


async def test_a_rotated_key_has_what_was_left_of_the_old_ones_budget(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        hold = await hold_of_a_call(shop)
        give(shop, Budget("total", charge_of(10, 5) + hold))
        shop.first.script(chat("Hi.", usage=(10, 5)))
        assert (await shop.ask(**CALL)).status == 200
        office = shop.gateway.office
        with office.database.transaction() as work:
            old = get_key(work, shop.key)
            _, shop.key = rotate_key(work, office.ids, old, overlap_s=60, now_us=office.clock.now_us())
        assert code_of(await shop.ask(**CALL)) == "budget_exceeded"
        shop.assert_settled(2 * charge_of(10, 5))
