"""Stored responses on bytes: what is kept, for whom, for how long, and what becomes of it when the store is away."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from farebox.accounts.accounts import Account
from farebox.accounts.keys import Key
from farebox.accounts.plans import Plan
from farebox.core.clock import ManualClock
from farebox.core.errors import Fault
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Head
from farebox.features.stored_responses import feature
from farebox.features.stored_responses.feature import KEEP_WAIT_S, OLD_AT_ONCE, OLD_BATCHES, StoredResponses
from farebox.gateway.call import Call, Grant
from farebox.gateway.profiles import STANDARD
from farebox.limits.windows import Window
from farebox.store.database import Transaction
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase
from tests.unit.store.failing import FailingDatabase

ACME, OTHER = 1, 2
DAY_S = 86_400
_REPLY = b'{"id":"resp_%b","output":[{"type":"message","id":"msg_a","role":"assistant","content":"Hi."}]}'
_ENDING = b'event: response.completed\ndata: {"type":"response.completed","response":%b}\n\n'


class Bench:
    """One database file, and as many features on it as there are workers."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "farebox.db"
        self.clock = ManualClock()
        self.files: list[SqliteDatabase] = []
        self.database = self.connect()
        migrate(self.database, load_migrations())
        self.failing = FailingDatabase(self.database)
        self.stored = self.feature(self.failing)

    def connect(self) -> SqliteDatabase:
        self.files.append(SqliteDatabase(self.path))
        return self.files[-1]

    def feature(
        self,
        database: SqliteDatabase | FailingDatabase,
        *,
        days: int = 30,
        bytes_max: int = 1 << 20,
        wait_s: float = KEEP_WAIT_S,
    ) -> StoredResponses:
        return StoredResponses(database, self.clock, days=days, bytes_max=bytes_max, wait_s=wait_s)

    def count(self) -> int:
        ((count,),) = self.database.rows("SELECT COUNT(*) FROM responses")
        return int(str(count))

    def close(self) -> None:
        self.stored.close()
        for file in self.files:
            file.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def call_of(
    id_: str, body: bytes = b'{"input":"one"}', account_id: int = ACME, *, stream: bool = False
) -> Call:
    """An admitted call with this body."""
    grant = Grant(
        Key(1, "k", account_id, "sk-…", "", 0, None, None, None),
        Account(account_id, "acme", "free", active=True, created_us=0),
        Plan("free", 10, 5),
        Window(10, 9, 0, allowed=True),
        b"",
    )
    head = Head(model="acme/one", stream=stream)
    return Call(id_, STANDARD, DIALECTS["openai_responses"], body, head, grant, 0, 0.0)


async def keep(
    stored: StoredResponses, id_: str, body: bytes = b'{"input":"one"}', account_id: int = ACME
) -> None:
    """A call from its body to its kept answer."""
    prepared = await stored.prepare(account_id, body)
    call = stored.follow(call_of(id_, prepared.body, account_id), prepared)
    if call.keep is not None:
        await call.keep(_REPLY % id_.encode())


async def refusal(stored: StoredResponses, body: bytes, account_id: int = ACME) -> Fault:
    with pytest.raises(Fault) as caught:
        await stored.prepare(account_id, body)
    return caught.value


def going_on(id_: str, **members: object) -> bytes:
    return msgspec.json.encode({"previous_response_id": id_, "input": "two", **members})


async def test_a_body_without_an_id_goes_on_as_it_came(bench: Bench) -> None:
    for body in (b'{"input": "one" , "store":true}', b'{"previous_response_id":null}', b"[", b'"x"', b"\xff"):
        assert (await bench.stored.prepare(ACME, body)).body is body


async def test_members_stay_as_they_were_written_but_for_the_two(bench: Bench) -> None:
    await keep(bench.stored, "a")
    body = (
        b'{"model":"m","x":1.0e2,"previous_response_id":"resp_a","input":[ {"role" : "user"} ],"y":"\\u00e9"}'
    )
    prepared = await bench.stored.prepare(ACME, body)
    members = msgspec.json.decode(prepared.body, type=dict[str, msgspec.Raw])
    assert list(members) == ["model", "x", "input", "y"]
    assert (bytes(members["x"]), bytes(members["y"])) == (b"1.0e2", b'"\\u00e9"')
    assert bytes(members["input"]).endswith(b',{"role" : "user"}]')
    assert prepared.previous_id == "resp_a"


async def test_the_last_of_two_ids_in_a_body_counts_and_none_is_left(bench: Bench) -> None:
    await keep(bench.stored, "a")
    body = b'{"previous_response_id":"resp_x","previous_respons\\u0065_id":"resp_a","input":"two"}'
    prepared = await bench.stored.prepare(ACME, body)
    assert (prepared.previous_id, list(msgspec.json.decode(prepared.body))) == ("resp_a", ["input"])


async def test_an_account_goes_on_from_its_own_and_from_no_others(bench: Bench) -> None:
    await keep(bench.stored, "a")
    mine = await bench.stored.prepare(ACME, going_on("resp_a"))
    said = [item["content"] for item in msgspec.json.decode(mine.body)["input"]]
    assert said == [[{"type": "input_text", "text": "one"}], "Hi.", [{"type": "input_text", "text": "two"}]]
    foreign = await refusal(bench.stored, going_on("resp_a"), OTHER)
    absent = await refusal(bench.stored, going_on("resp_b"), OTHER)
    assert (foreign.status, foreign.code, foreign.param) == (
        400,
        "previous_response_not_found",
        feature.PREVIOUS,
    )
    assert foreign.message.replace("resp_a", "resp_b") == absent.message
    assert await bench.stored.find_reply(OTHER, "resp_a") is None
    assert await bench.stored.find_input(OTHER, "resp_a") is None
    assert not await bench.stored.delete(OTHER, "resp_a")
    assert await bench.stored.find_reply(ACME, "resp_a") == _REPLY % b"a"


@pytest.mark.parametrize(
    "id_", ["", "a", "RESP_A", "resp_a ", "resp_%", "resp_a\0", "' OR 1=1 --", "x" * 9_000]
)
async def test_an_id_that_is_not_quite_it_finds_nothing(bench: Bench, id_: str) -> None:
    await keep(bench.stored, "a")
    fault = await refusal(bench.stored, going_on(id_))
    assert fault.code == "previous_response_not_found"
    assert len(fault.message) < 400


async def test_what_one_worker_kept_another_has(bench: Bench) -> None:
    other = bench.feature(bench.connect())
    await keep(bench.stored, "a")
    assert await other.find_reply(ACME, "resp_a") == _REPLY % b"a"
    await keep(other, "b", going_on("resp_a"))
    assert len(await bench.stored.find_input(ACME, "resp_b") or []) == 3
    assert await other.delete(ACME, "resp_a")
    assert await bench.stored.find_reply(ACME, "resp_a") is None
    other.close()


async def test_a_response_is_kept_once(bench: Bench) -> None:
    await keep(bench.stored, "a")
    await keep(bench.stored, "a", b'{"input":"another"}', OTHER)
    entries = await bench.stored.find_input(ACME, "resp_a") or []
    assert [b'"one"' in bytes(entry.item) for entry in entries] == [True]
    assert bench.count() == 1


async def test_days_end_and_are_those_of_the_setting_in_force(bench: Bench) -> None:
    await keep(bench.stored, "a")
    bench.clock.forward(7 * DAY_S)
    await keep(bench.stored, "b")
    week = bench.feature(bench.database, days=7)
    assert await week.find_reply(ACME, "resp_a") is None
    assert not await week.delete(ACME, "resp_a")
    assert (await refusal(week, going_on("resp_a"))).code == "previous_response_not_found"
    assert await week.find_reply(ACME, "resp_b") is not None
    assert await bench.stored.find_reply(ACME, "resp_a") is not None
    assert await asyncio.to_thread(bench.stored.forget_old) == 0
    assert await asyncio.to_thread(week.forget_old) == 1
    assert await bench.stored.find_reply(ACME, "resp_a") is None
    bench.clock.forward(30 * DAY_S)
    assert await asyncio.to_thread(bench.stored.forget_old) == 1
    assert bench.count() == 0


class Batches(FailingDatabase):
    """Counts the write transactions that are begun."""

    begun = 0

    def transaction(self) -> AbstractContextManager[Transaction]:
        self.begun += 1
        return super().transaction()


async def test_old_ones_go_in_small_batches_and_no_young_one_with_them(bench: Bench) -> None:
    for at in range(2 * OLD_AT_ONCE + 5):
        await keep(bench.stored, f"{at:03d}")
    bench.clock.forward(31 * DAY_S)
    await keep(bench.stored, "young")
    database = Batches(bench.database)
    assert await asyncio.to_thread(bench.feature(database).forget_old) == 2 * OLD_AT_ONCE + 5
    assert database.begun == 3
    assert [id_ for (id_,) in bench.database.rows("SELECT id FROM responses")] == ["resp_young"]


async def test_one_turn_of_forgetting_has_an_end_and_begins_with_the_oldest(bench: Bench) -> None:
    most = OLD_AT_ONCE * OLD_BATCHES
    for at in range(most + 3):
        await keep(bench.stored, str(at))
        bench.clock.forward(1)
    bench.clock.forward(31 * DAY_S)
    assert await asyncio.to_thread(bench.stored.forget_old) == most
    left = [id_ for (id_,) in bench.database.rows("SELECT id FROM responses ORDER BY created")]
    assert left == [f"resp_{most + at}" for at in range(3)]


async def test_zero_days_keep_nothing_and_forget_what_there_was(bench: Bench) -> None:
    await keep(bench.stored, "a")
    never = bench.feature(bench.database, days=0)
    for body in (b'{"input":"x"}', b'{"input":"x","store":true}', b'{"input":"x","store":null}'):
        prepared = await never.prepare(ACME, body)
        assert msgspec.json.decode(prepared.body) == {"input": "x", "store": False}
        assert never.follow(call_of("b"), prepared).keep is None
    body = b'{"input":"x","store":"perhaps"}'  # Whoever reads the call says what is wrong with it.
    assert (await never.prepare(ACME, body)).body is body
    assert (await refusal(never, going_on("resp_a"))).param == feature.PREVIOUS
    assert await never.find_reply(ACME, "resp_a") is None
    assert await asyncio.to_thread(never.forget_old) == 1


@pytest.mark.parametrize("store", [False, "perhaps", 0])
async def test_only_who_lets_us_is_kept(bench: Bench, store: object) -> None:
    await keep(bench.stored, "a", msgspec.json.encode({"input": "one", "store": store}))
    assert bench.count() == 0


async def test_the_reply_names_what_it_goes_on_from_beside_what_it_repeats(bench: Bench) -> None:
    await keep(bench.stored, "a")
    prepared = await bench.stored.prepare(ACME, going_on("resp_a"))
    named = b'"previous_response_id":"resp_a"'
    call = call_of("b")
    assert bench.stored.follow(call, prepared).head.echo == named
    spoken = msgspec.structs.replace(call, head=Head(model="m", echo=b'"top_p":1'))
    assert bench.stored.follow(spoken, prepared).head.echo == b'"top_p":1,' + named


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n"], ids=["lf", "crlf"])
async def test_a_stream_is_kept_from_its_last_event(bench: Bench, blank: bytes) -> None:
    reply = _REPLY % b"a"
    end = b": keep-alive\n\ndata: {}\n\n" + _ENDING % reply
    end = end.replace(b"\n", blank[: len(blank) // 2])
    await bench.stored.keep(call_of("a", stream=True), None, end)
    assert await bench.stored.find_reply(ACME, "resp_a") == reply


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b"data: [DONE]\n\n",
        b'data: {"type":"response.completed"}\n\n',
        _ENDING % b"7",
        _ENDING % b"{}",
        (_ENDING % (_REPLY % b"a")).replace(b"completed", b"in_progress"),
        b"\xff",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_end_without_a_response_is_left_alone_and_noted(
    bench: Bench, caplog: pytest.LogCaptureFixture, end: bytes, *, stream: bool
) -> None:
    await bench.stored.keep(call_of("a", stream=stream), None, end)
    assert bench.count() == 0
    assert "the response of call a is not kept" in caplog.text


async def test_a_store_that_is_away_does_not_hold_a_paid_answer_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.failing.refusals = 3
    await keep(bench.stored, "a")
    assert "the response of call a is not kept" in caplog.text
    bench.failing.refusals = 0
    await keep(bench.stored, "b")
    assert (bench.count(), await bench.stored.find_reply(ACME, "resp_b")) == (1, _REPLY % b"b")


async def test_nor_does_a_bug_of_ours(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with bench.database.transaction() as work:
        work.run("ALTER TABLE responses RENAME TO elsewhere")
    with caplog.at_level(logging.ERROR, "farebox"):
        await bench.stored.keep(call_of("a"), None, _REPLY % b"a")
    assert "no such table" in caplog.text


async def test_a_database_that_another_process_holds_delays_an_answer_but_for_a_moment(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    hurried = bench.feature(bench.database, wait_s=0.1)
    other = sqlite3.connect(bench.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(1):
        await keep(hurried, "a")
    assert "left before it was kept" in caplog.text
    other.execute("COMMIT")
    other.close()
    await hurried.drain()
    hurried.close()
    assert await bench.stored.find_reply(ACME, "resp_a") == _REPLY % b"a"


async def test_what_is_kept_is_packed(bench: Bench) -> None:
    text = "The same words again and again. " * 1_000
    await keep(bench.stored, "a", msgspec.json.encode({"input": text}))
    ((size, packed),) = bench.database.rows("SELECT size, length(input) + length(reply) FROM responses")
    assert int(str(size)) > 30_000
    assert int(str(packed)) < 1_000


async def test_large_ones_take_another_way_to_the_same_end(bench: Bench) -> None:
    stored = bench.feature(bench.database, bytes_max=8 << 20)
    text = "".join(chr(0x100 + at * 7919 % 0x2000) for at in range(500_000))
    body = msgspec.json.encode({"input": text})
    assert len(body) > feature.INLINE_PACKED_BYTES
    await keep(stored, "a", body)
    (entry,) = await stored.find_input(ACME, "resp_a") or []
    item: Any = msgspec.json.decode(entry.item)
    assert item["content"][0]["text"] == text
    assert await stored.delete(ACME, "resp_a")
    assert bench.count() == 0


async def test_items_are_told_apart_even_where_a_provider_calls_them_the_same(bench: Bench) -> None:
    items = [
        {"type": "message", "id": id_, "role": "user", "content": "x"} for id_ in ("a", "a_2", "a", "a", "")
    ]
    await keep(bench.stored, "r", msgspec.json.encode({"input": items}))
    entries = await bench.stored.find_input(ACME, "resp_r") or []
    assert [entry.id for entry in entries] == ["a", "a_2", "a_3", "a_4", "msg_r_i4"]


async def test_many_items_of_one_name_are_told_apart_in_no_time(bench: Bench) -> None:
    items = [{"type": "message", "id": "a", "role": "user", "content": "x"}] * 12_000
    await keep(bench.stored, "r", msgspec.json.encode({"input": items}))
    async with asyncio.timeout(2):
        entries = await bench.stored.find_input(ACME, "resp_r") or []
    assert len({entry.id for entry in entries}) == 12_000
