"""Once, for any handler: what it answered is answered again, what it refused or broke on can be tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.api.exchange import Exchange
from farebox.api.http import Request
from farebox.api.once import Once
from farebox.api.visit import Handler, Visit
from farebox.core.clock import ManualClock
from farebox.core.errors import Fault, Kind
from farebox.features.idempotency.feature import PURPOSE, Idempotency, Scope
from farebox.gateway.profiles import STANDARD
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase
from farebox.store.vault import Vault

TOP_UPS = Scope("top_up")
HEADERS = b"x-request-id: %b\r\nx-ratelimit-limit-requests: 5\r\n"


class Line:
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        self.lost = False
        self.draining = False
        self.waiting: asyncio.Future[None] | None = None
        self.peer = "127.0.0.1"
        self.date = b""
        self.sent = b""
        self.over = False

    @property
    def task(self) -> asyncio.Task[None]:
        task = asyncio.current_task()
        assert task is not None
        return task

    def send(self, data: bytes) -> None:
        self.sent += data

    def answered(self, *, keep_alive: bool) -> None:
        self.over = keep_alive


class Desk:
    """A surface that does something once for every key."""

    def __init__(self, folder: Path) -> None:
        self.database = SqliteDatabase(folder / "farebox.db")
        migrate(self.database, load_migrations())
        self.ids: list[str] = []  # Under which the work was done.
        self.lines: list[Line] = []
        self.once = self.worker("a")

    def worker(self, owner: str) -> Once:
        with self.database.transaction() as work:
            work.run("DELETE FROM owners")  # Those before it have died.
            work.run("INSERT INTO owners (id, started) VALUES (?, 0)", owner)
        safe = Vault([b"secret"]).safe(PURPOSE)
        return Once(Idempotency(self.database, ManualClock(), safe, hours=24, owner=owner))

    async def ask(self, id_: str, handler: Handler, body: bytes = b"{}") -> bytes:
        """One request with the key; what was sent on its connection."""
        line = Line()
        self.lines.append(line)
        request = Request("POST", "/v1/wallet/topups", b"", {b"idempotency-key": b"key"}, body)
        exchange = Exchange(line, keep_alive=True, chunked=True, bodiless=False)
        visit = Visit(id_, request, exchange, STANDARD, 0, 0.0, HEADERS % id_.encode())
        await self.once.handle(visit, 1, TOP_UPS, handler)
        assert visit.exchange is exchange
        assert visit.id == id_
        return line.sent

    async def work(self, visit: Visit) -> None:
        self.ids.append(visit.id)
        visit.answer({"made": visit.id}, 202)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.database.close()


async def test_what_was_answered_is_answered_again_with_headers_of_its_own(desk: Desk) -> None:
    first, again = await desk.ask("id-1", desk.work), await desk.ask("id-2", desk.work)
    assert desk.ids == ["id-1"]
    assert first.startswith(b"HTTP/1.1 202 ")
    assert again.startswith(b"HTTP/1.1 202 ")
    assert first.endswith(b'{"made":"id-1"}')
    assert again.endswith(b'{"made":"id-1"}')
    assert b"x-request-id: id-2\r\n" in again
    assert b"id-1\r\n" not in again
    assert again.count(b"x-ratelimit-limit-requests") == 1
    assert again.count(b"content-type: application/json") == 1
    assert all(line.over for line in desk.lines)


async def test_a_refusal_frees_the_key(desk: Desk) -> None:
    async def refuse(visit: Visit) -> None:
        raise Fault(Kind.BAD_REQUEST, "No such amount.")

    with pytest.raises(Fault):
        await desk.ask("id-1", refuse)
    await desk.ask("id-2", desk.work, b"another body")
    assert desk.ids == ["id-2"]


async def test_an_error_that_is_answered_is_no_answer_to_keep(desk: Desk) -> None:
    async def fail(visit: Visit) -> None:
        visit.answer({"error": {}}, 502)

    assert b"502" in await desk.ask("id-1", fail)
    await desk.ask("id-2", desk.work)
    assert desk.ids == ["id-1"]  # It may have done half of it, so it goes on under the same id.


async def test_what_broke_is_done_again_under_its_first_id_and_only_with_the_same_body(desk: Desk) -> None:
    async def break_down(visit: Visit) -> None:
        raise RuntimeError("a bug of ours")

    with pytest.raises(RuntimeError):
        await desk.ask("id-1", break_down)
    with pytest.raises(Fault) as raised:
        await desk.ask("id-2", desk.work, b"another body")
    assert raised.value.kind is Kind.CONFLICT
    await desk.ask("id-3", desk.work)
    assert desk.ids == ["id-1"]


async def test_work_of_a_process_that_died_is_done_again_under_its_first_id(desk: Desk) -> None:
    async def never_end(visit: Visit) -> None:
        await asyncio.Event().wait()

    dying = asyncio.create_task(desk.ask("id-1", never_end))
    await asyncio.sleep(0.05)
    desk.once = desk.worker("b")
    await desk.ask("id-2", desk.work)
    assert desk.ids == ["id-1"]
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)


async def test_the_answer_leaves_only_once_it_is_kept(desk: Desk) -> None:
    async def look(visit: Visit) -> None:
        await desk.work(visit)
        assert desk.lines[-1].sent == b""

    await desk.ask("id-1", look)
    assert desk.lines[-1].sent


async def test_without_a_key_the_handler_is_called_as_it_is(desk: Desk) -> None:
    line = Line()
    exchange = Exchange(line, keep_alive=True, chunked=True, bodiless=False)
    visit = Visit("id-1", Request("POST", "/", b"", {}, b""), exchange, STANDARD, 0, 0.0, b"")
    await desk.once.handle(visit, 1, TOP_UPS, desk.work)
    assert line.sent.endswith(b'{"made":"id-1"}')
    assert list(desk.database.rows("SELECT 1 FROM idempotency")) == []
