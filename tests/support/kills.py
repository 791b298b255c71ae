"""`kill -9` under load, again and again on the same data: what callers got is compared with what the books say."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.answers import Answer, Step, chat, late, slow, stream, write_steps
from tests.support.books import ACCOUNT, assert_balanced, balance_nano, requests
from tests.support.clients import Receipt, call
from tests.support.faulty import FaultyUpstream, Recorded
from tests.support.process import UP, new_key, up
from tests.support.shop import CALL_NANO, nano, open_shop

CALLERS = 8
CREDIT = "100"
USAGE_AFTER_S = 0.01  # From the finish to the usage, in which nothing of the end may have left.
SWEPT_S = 12.0
_ENDING = 2  # Pieces of a stream behind its finish: usage and [DONE].


@dataclass
class Verdict:
    """What the comparison found."""

    calls: int = 0
    delivered: int = 0  # Answers whose end reached the caller.
    uncharged: list[str] = field(default_factory=list)  # Of those.
    kills_at_finish: int = 0


def pausing_at_finish() -> Answer:
    """A stream whose usage comes a moment after its finish."""
    pieces: Sequence[Step] = stream().body
    cut = len(pieces) - _ENDING
    return Answer(
        (*pieces[:cut], USAGE_AFTER_S, *pieces[cut:]), headers=stream().headers, framing=stream().framing
    )


def choose(request: Recorded) -> Answer:
    """Plain answers after a moment, streams event by event; every other stream pauses at its finish."""
    if b'"stream"' not in request.body:
        return late(chat(), 0.005)
    return pausing_at_finish() if request.connection % 2 else slow(stream(), 0.002)


async def kill_under_load(
    folder: Path,
    upstream: FaultyUpstream,
    *,
    kills: int,
    seed: int,
    workers: Sequence[int] = (1,),
    verb: tuple[str, ...] = UP,
    store: str = "",
) -> Verdict:
    """Kill a server so many times while callers call, half of the times just as a stream has finished upstream.

    `workers` are used in turn; `store` is the TOML of a database that is not the usual file.
    """
    data, config = folder / "data", open_shop(folder, upstream.base_url, store)
    key = new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", CREDIT, config=config)
    chance = random.Random(seed)
    upstream.choose(choose)
    receipts: list[Receipt] = []
    verdict = Verdict()
    for turn in range(kills):
        with up(data, "--workers", str(workers[turn % len(workers)]), config=config, verb=verb) as farebox:
            callers = [
                asyncio.create_task(keep_calling(farebox.url, key, number, receipts))
                for number in range(CALLERS)
            ]
            await asyncio.sleep(chance.uniform(0.05, 0.25))
            if turn % 2:
                verdict.kills_at_finish += await wait_for_finish(upstream)
                await asyncio.sleep(chance.uniform(0, 2 * USAGE_AFTER_S))
            farebox.kill()
            await asyncio.gather(*callers)
    await asyncio.to_thread(compare, data, config, receipts, verdict)
    return verdict


async def keep_calling(url: str, key: str, number: int, receipts: list[Receipt]) -> None:
    """Call until the server is gone. Receipts are kept from their first byte on, out of the server's reach."""
    while True:
        receipt = Receipt()
        receipts.append(receipt)
        await call(url, key, stream=bool(number % 2), receipt=receipt)
        if not receipt.whole:
            return


async def wait_for_finish(upstream: FaultyUpstream) -> bool:
    """Wait until a stream under way has sent its finish and not yet its usage."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + 1.0
    pieces = [step for step in write_steps(pausing_at_finish()) if isinstance(step, bytes)]
    finish = sum(map(len, pieces[: -1 - _ENDING]))
    while loop.time() < end_s:
        if any(request.sent_bytes == finish and request.answered_at is None for request in upstream.requests):
            return True
        await asyncio.sleep(0)
    return False


def wait_for_no_holds(data: Path, config: Path) -> None:
    """Wait until the dead ones' holds are voided: where locks are a session's, its owner has some seconds to return."""
    end_s = time.monotonic() + SWEPT_S
    while True:
        try:
            assert_balanced(data, config, holds=0)
        except AssertionError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.2)
        else:
            return


def compare(data: Path, config: Path, receipts: list[Receipt], verdict: Verdict) -> None:
    """Let a server clear up behind the last one, then hold the receipts against the books."""
    with up(data, config=config) as farebox:
        wait_for_no_holds(data, config)
        assert farebox.stop() == 0
    rows = requests(data, config)
    known = [receipt for receipt in receipts if receipt.head is not None]
    assert {receipt.status for receipt in known} == {200}
    verdict.calls = len(receipts)
    for receipt in known:
        row = rows.get(receipt.id)
        if receipt.ended:
            verdict.delivered += 1
            if row is None or nano(row["charge"]) != CALL_NANO:
                verdict.uncharged.append(receipt.id)
    charges = [nano(row["charge"]) for row in rows.values()]
    assert set(charges) <= {0, CALL_NANO}, "an answer was charged in part"
    assert {row["state"] for row in rows.values()} <= {"posted", "voided"}
    # Charged twice would show here: every charge is a line of the statement, and the sum is what is gone.
    assert balance_nano(data, config) == nano(CREDIT) - sum(charges)
    assert_balanced(data, config)
