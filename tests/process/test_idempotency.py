"""Idempotency keys across processes: one call and one charge for a key, on any worker and after any kill."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import httpx2
import pytest

from tests.support import killed_once
from tests.support.answers import Answer, chat, late, slow, stream
from tests.support.books import ACCOUNT, assert_balanced, balance_nano, requests
from tests.support.clients import body_of
from tests.support.faulty import FaultyUpstream, Recorded, serve_faulty
from tests.support.process import cli, new_key, up
from tests.support.shop import CALL_NANO, nano, open_shop

pytestmark = pytest.mark.process
CREDIT = "100"
KILLS = 4
CALLERS = 8


class Customer:
    """A data folder with a shop, and who buys there."""

    def __init__(self, folder: Path, upstream: FaultyUpstream) -> None:
        self.data = folder / "data"
        self.config = open_shop(folder, upstream.base_url)
        key = new_key(self.data, ACCOUNT, "--plan", "enterprise", "--credit", CREDIT, config=self.config)
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    async def send(self, url: str, key: str, *, streams: bool = False) -> httpx2.Response:
        """One call with a key, on a connection of its own, so that any worker may take it."""
        async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
            return await client.post(
                "/v1/chat/completions",
                content=body_of(stream=streams),
                headers=self._headers | {"idempotency-key": key},
            )

    def charges(self) -> list[int]:
        """What was charged, call by call, nothing left out; the books balance."""
        charged = [nano(row["charge"]) for row in requests(self.data, self.config).values()]
        assert balance_nano(self.data, self.config) == nano(CREDIT) - sum(charged)
        assert_balanced(self.data, self.config)
        return [charge for charge in charged if charge]


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streamed"])
async def test_twenty_at_once_on_two_workers_are_one_call(tmp_path: Path, *, streams: bool) -> None:
    async with serve_faulty() as upstream:
        upstream.script(slow(stream(), 0.1) if streams else late(chat(), 0.5))
        customer = Customer(tmp_path, upstream)
        with up(customer.data, "--workers", "2", config=customer.config) as farebox:
            assert len(farebox.workers()) == 2
            sent = (customer.send(farebox.url, "one", streams=streams) for _ in range(20))
            answers = await asyncio.gather(*sent)
            assert {answer.status_code for answer in answers} == {200}
            assert len({answer.content for answer in answers}) == 1
            assert len(upstream.requests) == 1
        assert customer.charges() == [CALL_NANO]


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("moment", killed_once.MOMENTS)
async def test_a_kill_around_the_charge_leaves_a_repeat_one_charge_and_a_whole_reply(
    tmp_path: Path, moment: str, *, streams: bool
) -> None:
    async with serve_faulty() as upstream:
        customer = Customer(tmp_path, upstream)
        environment = {killed_once.VARIABLE: moment}
        with up(
            customer.data, config=customer.config, verb=killed_once.VERB, environment=environment
        ) as farebox:
            with pytest.raises(httpx2.TransportError):
                await customer.send(farebox.url, "one", streams=streams)
            assert farebox.process.wait(10) == -9
        with up(customer.data, config=customer.config) as farebox:
            answers = [await customer.send(farebox.url, "one", streams=streams) for _ in range(2)]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert len(upstream.requests) == (1 if moment == "after_charge" else 2)
        assert customer.charges() == [CALL_NANO]


async def test_kills_under_load_charge_no_key_twice_and_every_key_gets_its_reply(tmp_path: Path) -> None:
    chance = random.Random(1)
    async with serve_faulty() as upstream:
        upstream.choose(answer_soon)
        customer = Customer(tmp_path, upstream)
        replies: dict[str, set[bytes]] = {}
        for turn in range(KILLS):
            with up(customer.data, config=customer.config) as farebox:
                callers = [keep_buying(customer, farebox.url, f"{turn}-{n}", replies) for n in range(CALLERS)]
                tasks = [asyncio.create_task(caller) for caller in callers]
                while sum(map(bool, replies.values())) < (turn + 1) * CALLERS:
                    await asyncio.sleep(0.005)
                await asyncio.sleep(chance.uniform(0, 0.1))
                farebox.kill()
                await asyncio.gather(*tasks)
        with up(customer.data, config=customer.config) as farebox:
            for key, told in replies.items():
                answer = await customer.send(farebox.url, key, streams=is_streamed(key))
                assert answer.status_code == 200, answer.text
                told.add(answer.content)
        assert len(replies) > KILLS * CALLERS
        assert {len(told) for told in replies.values()} == {1}
        assert customer.charges() == [CALL_NANO] * len(replies)


async def test_what_was_kept_is_replayed_after_the_master_secret_was_replaced(tmp_path: Path) -> None:
    async with serve_faulty() as upstream:
        customer = Customer(tmp_path, upstream)
        with up(customer.data, config=customer.config) as farebox:
            first = await customer.send(farebox.url, "one")
        rotated = cli("secret", "rotate", data=customer.data, config=customer.config)
        assert rotated.returncode == 0, rotated.stderr
        secrets = (customer.data / "secret.key").read_text().split()
        assert len(secrets) == 2
        assert not any(secret in rotated.stdout for secret in secrets)
        with up(customer.data, config=customer.config) as farebox:
            again = await customer.send(farebox.url, "one")
            assert again.content == first.content
            assert (await customer.send(farebox.url, "two")).status_code == 200
        (customer.data / "secret.key").write_text(f"{secrets[0]}\n")
        with up(customer.data, config=customer.config) as farebox:
            assert (await customer.send(farebox.url, "two")).headers["idempotent-replayed"] == "true"
            lost = await customer.send(farebox.url, "one")
            assert lost.status_code == 409
        assert customer.charges() == [CALL_NANO] * 2


def answer_soon(request: Recorded) -> Answer:
    """Plain answers after a moment, streams event by event."""
    return slow(stream(), 0.002) if b'"stream"' in request.body else late(chat(), 0.005)


def is_streamed(key: str) -> bool:
    """Half of the callers stream."""
    return int(key.split("-")[1]) % 2 == 1


async def keep_buying(customer: Customer, url: str, name: str, replies: dict[str, set[bytes]]) -> None:
    """One new key after another until the server is gone; what was answered whole is noted."""
    count = 0
    while True:
        key = f"{name}-{count}"
        count += 1
        told = replies.setdefault(key, set())
        try:
            answer = await customer.send(url, key, streams=is_streamed(key))
        except httpx2.TransportError:
            return
        assert answer.status_code == 200, answer.text
        told.add(answer.content)
