"""Races on nearly empty wallets: many callers each want the last of the money, and each is answered or told why."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from farebox.accounts.accounts import create_account
from farebox.accounts.keys import mint_key
from farebox.app.office import Office, load_settings, open_office
from farebox.ledger.moves import Move, move
from farebox.ledger.rules import TransferKind
from tests.support.answers import Answer, chat, late, stream
from tests.support.books import assert_balanced
from tests.support.clients import body_of, call, header
from tests.support.faulty import FaultyUpstream, Recorded
from tests.support.process import Up, up
from tests.support.shop import CALL_NANO, nano, open_shop

CALLERS = 20
AT_ONCE = 4  # Wallets that are raced for side by side.
RETRY_S = 0.02  # Callers who are told to try again are in more of a hurry than they are asked to be.
WORTH_MOST = 5  # Calls that a wallet can pay, at most: everybody else must go without.


@dataclass
class Outcome:
    """What became of all the calls."""

    calls: int = 0
    answered: int = 0
    refused: int = 0
    left_over: list[int] = field(
        default_factory=list
    )  # What wallets had in the end whose callers were refused.
    slack: list[float] = field(
        default_factory=list
    )  # What a refused call would have held, over what it costs.


def choose(request: Recorded) -> Answer:
    """The polite answers after a moment, in which others meet the hold."""
    return late(stream() if b'"stream"' in request.body else chat(), 0.004)


async def race(folder: Path, upstream: FaultyUpstream, *, wallets: int, workers: int, seed: int) -> Outcome:
    """Let callers race for so many wallets; what is left in each must be less than what was asked of it last."""
    config = open_shop(folder, upstream.base_url)
    upstream.choose(choose)
    outcome, chance = Outcome(), random.Random(seed)
    data = folder / "data"
    with up(data, "--workers", str(workers), config=config) as farebox:
        office = open_office(data, load_settings(config, {}), {})
        try:
            keys = await asyncio.to_thread(_open_wallets, office, wallets, chance)
            gate = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(
                *(_race_for(farebox, office, name, keys[name], outcome=outcome, gate=gate) for name in keys)
            )
        finally:
            office.close()
        assert_balanced(data, config)
    return outcome


def _open_wallets(office: Office, count: int, chance: random.Random) -> dict[str, str]:
    """Keys of new accounts, each with what a few calls come to and something over."""
    keys = {}
    now_us = office.clock.now_us()
    with office.database.transaction() as work:
        for number in range(count):
            account = create_account(work, f"poor-{number}", plan="enterprise", currency="USD", now_us=now_us)
            credit = chance.randrange(1, WORTH_MOST * 4 * CALL_NANO)
            move(work, Move(office.ids.new(), account.id, TransferKind.GRANT, credit, "USD", None, now_us))
            _, keys[account.name] = mint_key(work, office.ids, account_id=account.id, name="", now_us=now_us)
    return keys


async def _race_for(
    farebox: Up, office: Office, account: str, key: str, *, outcome: Outcome, gate: asyncio.Semaphore
) -> None:
    async with gate:
        needed = await asyncio.gather(
            *(_insist(farebox.url, key, number, outcome) for number in range(CALLERS))
        )
    balance, held = await asyncio.to_thread(_wallet, office, account)
    assert 0 <= held <= balance
    refused = [nano_needed for nano_needed in needed if nano_needed is not None]
    if refused:
        # Nobody was sent away for good while the wallet had what the call would have held.
        assert balance < min(refused), (account, balance, refused)
        outcome.left_over.append(balance)
        outcome.slack += [nano_needed / CALL_NANO for nano_needed in refused]


async def _insist(url: str, key: str, number: int, outcome: Outcome) -> int | None:
    """Call until answered, or told that it is of no use: then what the call would have held."""
    body = body_of(stream=bool(number % 2), max_tokens=5)
    told: Counter[int] = Counter()
    while True:
        receipt = await call(url, key, body)
        outcome.calls += 1
        told[receipt.status] += 1
        if receipt.status == 200:
            assert receipt.ended
            outcome.answered += 1
            return None
        assert receipt.status == 402, receipt.body
        if header(receipt, "x-should-retry") == "false":
            outcome.refused += 1
            return nano(receipt.json["error"]["needed"])
        await asyncio.sleep(RETRY_S)


def _wallet(office: Office, account: str) -> tuple[int, int]:
    with office.database.read() as view:
        row = view.one(
            "SELECT balance, held FROM wallets w JOIN accounts a ON a.id = w.account_id WHERE a.name = ?",
            account,
        )
    assert row is not None
    return int(row[0] or 0), int(row[1] or 0)


def told(outcome: Outcome) -> str:
    """The figures, for a person."""
    slack = sorted(outcome.slack)
    return (
        f"{outcome.calls} calls: {outcome.answered} answered, {outcome.refused} refused for good;"
        f" a refused call would have held {slack[len(slack) // 2]:.2f} times its charge (at most {slack[-1]:.2f});"
        f" at most {max(outcome.left_over)} nano-units were left in a wallet, {CALL_NANO} being a call's charge"
    )
