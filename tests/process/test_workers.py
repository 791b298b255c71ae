"""Several workers on one file: one limit, one revocation, and each one's holds its own, alive, stopped or dead."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from farebox.gateway.tokens import ENVELOPE_TOKENS, text_tokens
from tests.support.answers import Answer, stall, stream
from tests.support.books import ACCOUNT, assert_balanced, balance_nano, holds, requests
from tests.support.clients import Caller, Receipt, body_of, call, get, is_finish
from tests.support.faulty import serve_faulty
from tests.support.process import Up, cli, new_key, up
from tests.support.shop import CALL_NANO, INPUT_NANO, OUTPUT_NANO, nano, open_shop

pytestmark = pytest.mark.process

STREAMS = 16  # Enough that, whatever the kernel's hash, both of two workers have some.
MINUTE_S = 60
ROOM_S = 10  # Of the minute that a test of it wants left.

# Its four words are small, so each counts as a token; the prompt is estimated.
PARTIAL_NANO = (text_tokens(body_of(stream=True)) - ENVELOPE_TOKENS) * INPUT_NANO + 4 * OUTPUT_NANO


def slow_ending(seconds: float) -> Answer:
    """A stream that says its words at once and its finish so much later."""
    pieces = stream().body
    return Answer((*pieces[:-3], seconds, *pieces[-3:]), headers=stream().headers, framing=stream().framing)


class Listener:
    """A stream under way: its words have come, its end has not."""

    def __init__(self) -> None:
        self.receipt = Receipt()
        self.task: asyncio.Task[None]

    @classmethod
    async def start(cls, url: str, key: str) -> Listener:
        listener, begun = cls(), asyncio.Event()
        listener.task = asyncio.create_task(listener._listen(url, key, begun))
        async with asyncio.timeout(10):
            await begun.wait()
        return listener

    async def _listen(self, url: str, key: str, begun: asyncio.Event) -> None:
        caller = await Caller.connect(url, key)
        try:
            await caller.ask(stream=True)
            self.receipt.head = await caller.read_head()
            async for event in caller.events():
                self.receipt.events.append(event)
                self.receipt.ended |= is_finish(event)
                if b" provider." in event:
                    begun.set()
            self.receipt.whole = True
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            begun.set()
            caller.leave()


async def listen(farebox: Up, key: str, count: int = STREAMS) -> list[Listener]:
    """So many streams under way at once, on connections of their own."""
    return await asyncio.gather(*(Listener.start(farebox.url, key) for _ in range(count)))


def rich_key(data: Path, config: Path) -> str:
    return new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", "1", config=config)


async def test_sixty_a_minute_means_sixty_over_all_workers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", "2", config=config) as farebox:
            key = new_key(data, ACCOUNT, "--plan", "standard", "--credit", "1", config=config)
            if (left_s := MINUTE_S - time.time() % MINUTE_S) < ROOM_S:
                await asyncio.sleep(left_s + 0.1)
            receipts = await asyncio.gather(*(call(farebox.url, key) for _ in range(100)))
            assert Counter(receipt.status for receipt in receipts) == {200: 60, 429: 40}
            assert len(upstream.requests) == 60
            remaining = sorted(
                int(receipt.head.headers["x-ratelimit-remaining-requests"])
                for receipt in receipts
                if receipt.head
            )
            assert remaining == [0] * 41 + [*range(1, 60)]
            refused = next(receipt for receipt in receipts if receipt.status == 429)
            assert refused.head is not None
            assert 1 <= int(refused.head.headers["retry-after"]) <= MINUTE_S
            assert balance_nano(data, config) == 10**9 - 60 * CALL_NANO


async def test_a_revoked_key_is_refused_on_every_connection_within_a_second(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", "2", config=config) as farebox:
            key = rich_key(data, config)
            callers = [await Caller.connect(farebox.url, key) for _ in range(STREAMS)]
            assert [await status(caller) for caller in callers] == [200] * STREAMS
            revoked = await asyncio.to_thread(cli, "keys", "revoke", key, data=data, config=config)
            assert revoked.returncode == 0, revoked.stderr
            await asyncio.sleep(1.0)
            assert [await status(caller) for caller in callers] == [401] * STREAMS
            assert [(await call(farebox.url, key)).status for _ in range(STREAMS)] == [401] * STREAMS
            for caller in callers:
                caller.leave()


async def test_a_killed_worker_loses_its_holds_and_the_other_keeps_its_own(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.script(slow_ending(4.0))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", "2", config=config) as farebox:
            key = rich_key(data, config)
            streams = await listen(farebox, key)
            owners = holds(data)
            assert len(owners) == STREAMS
            assert len(set(owners.values())) == 2, "the kernel gave every stream to one worker"
            dead, alive = farebox.workers()
            os.kill(dead, signal.SIGKILL)
            await asyncio.sleep(2.0)  # For the sweep, and for the new worker's start.
            lost = {stream.receipt.id for stream in streams if stream.task.done()}
            assert lost
            assert set(holds(data)) == set(owners) - lost
            assert len(set(holds(data).values())) == 1
            workers = farebox.workers()
            assert len(workers) == 2
            assert alive in workers
            assert dead not in workers
            await asyncio.gather(*(stream.task for stream in streams))
            upstream.script(stream())
            after = await asyncio.gather(*(call(farebox.url, key, stream=True) for _ in range(STREAMS)))
            assert all(receipt.whole and receipt.ended for receipt in after)
            assert holds(data) == {}
        rows = requests(data, config)
        for listener in streams:
            row = rows[listener.receipt.id]
            if listener.receipt.id in lost:
                assert (row["state"], row["charge"], row["error"]) == ("voided", "0", "owner_died")
                assert not listener.receipt.ended
            else:
                assert (row["state"], nano(row["charge"])) == ("posted", CALL_NANO)
                assert listener.receipt.whole
        assert balance_nano(data, config) == 10**9 - (2 * STREAMS - len(lost)) * CALL_NANO
        assert_balanced(data, config)


async def test_a_stopped_worker_keeps_its_holds_while_the_other_sweeps(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.script(slow_ending(1.0))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", "2", config=config) as farebox:
            streams = await listen(farebox, rich_key(data, config))
            owners = holds(data)
            assert len(set(owners.values())) == 2, "the kernel gave every stream to one worker"
            stopped = farebox.workers()[0]
            os.kill(stopped, signal.SIGSTOP)
            try:
                await asyncio.sleep(3.0)  # Several sweeps of the other.
                kept = holds(data)
                assert kept
                assert len(set(kept.values())) == 1
                assert not any(stream.receipt.ended for stream in streams if stream.receipt.id in kept)
            finally:
                os.kill(stopped, signal.SIGCONT)
            await asyncio.gather(*(stream.task for stream in streams))
            assert all(stream.receipt.whole and stream.receipt.ended for stream in streams)
            assert holds(data) == {}
            assert balance_nano(data, config) == 10**9 - STREAMS * CALL_NANO
            assert_balanced(data, config)


@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_lets_running_streams_finish_and_turns_new_calls_away(
    tmp_path: Path, workers: int
) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.script(slow_ending(2.0))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", str(workers), config=config) as farebox:
            key = rich_key(data, config)
            streams = await listen(farebox, key)
            idle = await Caller.connect(farebox.url, key)
            assert await status(idle) == 200
            farebox.process.terminate()
            await asyncio.sleep(0.1)
            assert await idle.wait_for_close(0.5) == b""
            idle.leave()
            for _ in range(4):
                ready = await get(farebox.url, "/health/ready")
                assert (ready.status, ready.json["status"]) == (503, "draining")
                refused = await call(farebox.url, key)
                assert (refused.status, refused.json["error"]["type"]) == (503, "service_unavailable_error")
                assert refused.head is not None
                assert refused.head.headers["connection"] == "close"
                assert refused.head.headers["x-should-retry"] == "true"
            await asyncio.gather(*(stream.task for stream in streams))
            assert all(stream.receipt.whole and stream.receipt.ended for stream in streams)
            assert await asyncio.to_thread(farebox.process.wait, 5) == 0
        assert len(upstream.requests) == STREAMS
        assert holds(data) == {}
        assert balance_nano(data, config) == 10**9 - STREAMS * CALL_NANO
        assert_balanced(data, config)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_sigterm_ends_streams_with_a_typed_error_and_charges_what_was_delivered(
    tmp_path: Path, workers: int
) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.script(stall(stream(), 5))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", str(workers), config=config) as farebox:
            streams = await listen(farebox, rich_key(data, config))
            farebox.process.terminate()
            await asyncio.sleep(0.5)
            assert farebox.process.poll() is None
            assert not any(stream.task.done() for stream in streams)
            farebox.process.terminate()
            assert await asyncio.to_thread(farebox.process.wait, 5) == 0
            await asyncio.gather(*(stream.task for stream in streams))
        rows = requests(data, config)
        for listener in streams:
            last = listener.receipt.events[-1]
            assert b'"error"' in last
            assert b'"service_unavailable_error"' in last
            assert b"[DONE]" not in b"".join(listener.receipt.events)
            row = rows[listener.receipt.id]
            assert (row["state"], row["partial"], row["estimated"]) == ("posted", True, True)
            assert nano(row["charge"]) == PARTIAL_NANO
        assert balance_nano(data, config) == 10**9 - STREAMS * PARTIAL_NANO
        assert holds(data) == {}
        assert_balanced(data, config)


async def test_ctrl_c_reaches_every_worker_at_once_and_still_lets_streams_finish(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.script(slow_ending(1.0))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", "2", config=config) as farebox:
            streams = await listen(farebox, rich_key(data, config))
            os.killpg(farebox.pid, signal.SIGINT)
            await asyncio.gather(*(stream.task for stream in streams))
            assert all(stream.receipt.whole and stream.receipt.ended for stream in streams)
            assert await asyncio.to_thread(farebox.process.wait, 5) == 0


async def test_workers_whose_parent_is_killed_let_the_port_go(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.script(stall(stream(), 5))
        config = open_shop(tmp_path, upstream.base_url)
        with up(data, "--workers", "2", config=config) as farebox:
            workers = farebox.workers()
            (listener,) = await listen(farebox, rich_key(data, config), 1)
            farebox.process.kill()
            await asyncio.wait_for(listener.task, 2)
            assert b'"service_unavailable_error"' in listener.receipt.events[-1]
            async with asyncio.timeout(2):
                while any(Path(f"/proc/{pid}").exists() for pid in workers):
                    await asyncio.sleep(0.01)
        port = farebox.url.rpartition(":")[2]
        with up(data, "--port", port, config=config) as again:
            assert again.url == farebox.url
            assert holds(data) == {}
        assert_balanced(data, config)


async def status(caller: Caller) -> int:
    """Ask about the key, which is not counted in its window."""
    await caller.ask(path="/v1/key", method="GET")
    head = await caller.read_head()
    await caller.read_body()
    return head.status
