from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from farebox.app.duties import Duties, Duty
from farebox.store.sqlite import SqliteDatabase


async def test_a_turn_in_a_thread_is_over_before_the_duties_have_ended(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "farebox.db")
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        go_on.wait(5)
        with database.transaction() as work:
            work.run("CREATE TABLE kept (n INTEGER)")
        done.set()

    duties = Duties([Duty("write", 60, write, in_thread=True, at_start=True)])
    await asyncio.to_thread(begun.wait, 5)
    stopping = asyncio.create_task(duties.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    go_on.set()
    await stopping
    assert done.is_set()
    database.close()


async def test_a_database_is_not_closed_beneath_a_thread_that_writes_to_it(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "farebox.db")
    begun, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with database.transaction() as work:
            begun.set()
            go_on.wait(5)
            work.run("CREATE TABLE kept (n INTEGER)")

    writing = asyncio.create_task(asyncio.to_thread(write))
    await asyncio.to_thread(begun.wait, 5)
    closing = asyncio.create_task(asyncio.to_thread(database.close))
    await asyncio.sleep(0.05)
    assert not closing.done()
    go_on.set()
    await writing
    await closing


async def test_a_duty_is_done_at_the_start_only_if_it_says_so() -> None:
    turns: list[str] = []
    duties = Duties(
        [
            Duty("soon", 60, lambda: turns.append("soon"), at_start=True),
            Duty("later", 60, lambda: turns.append("later")),
        ]
    )
    await asyncio.sleep(0.05)
    await duties.stop()
    assert turns == ["soon"]
