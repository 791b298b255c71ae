from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress

import psycopg
import pytest

from farebox.store.database import StoreUnavailableError, Transaction
from farebox.store.writer import BATCH_MAX, PATIENCE_S, QUEUE_MAX, GroupCommit
from tests.support.stores import Store
from tests.unit.store.failing import FailingDatabase

Commit = GroupCommit[str, int]


class Notes:
    """A table of notes, written by a group commit; a note is an operation, and its length the result."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.locked = store.locked
        self.file = store.database
        self.database = FailingDatabase(self.file)
        self.tries = 1 + self.file.inline  # On the loop, where that may be, and in the thread.
        with self.file.transaction() as work:
            work.run("CREATE TABLE notes (seq INTEGER PRIMARY KEY, note TEXT NOT NULL UNIQUE)")
        self.batches: list[list[str]] = []
        self.commit: Commit = GroupCommit(self.database, self.write)
        self.abandoned: list[tuple[str, int | Exception]] = []
        self.commit.abandoned = lambda note, result: self.abandoned.append((note, result))

    def write(self, work: Transaction, notes: Sequence[str]) -> list[int]:
        self.batches.append(list(notes))
        work.run_many("INSERT INTO notes (note) VALUES (?)", [(note,) for note in notes])
        return [len(note) for note in notes]

    def kept(self) -> list[str]:
        """What is committed, in the order it was written."""
        return [str(note) for (note,) in self.file.rows("SELECT note FROM notes ORDER BY seq")]


@pytest.fixture
def notes(store: Store) -> Iterator[Notes]:
    notes = Notes(store)
    yield notes
    notes.commit.close()


async def outcome(future: asyncio.Future[int]) -> int | str:
    try:
        return await future
    except StoreUnavailableError:
        return "unavailable"
    except (sqlite3.IntegrityError, psycopg.IntegrityError):
        return "refused"


async def test_what_arrives_together_is_one_commit(notes: Notes) -> None:
    words = ["a", "bb", "ccc", "dddd"]
    assert await asyncio.gather(*map(notes.commit.submit, words)) == [1, 2, 3, 4]
    assert notes.batches == [words]
    assert (notes.commit.counts.batches, notes.commit.counts.operations) == (1, 4)
    assert (notes.commit.counts.patient, notes.commit.counts.replayed) == (0, 0)
    assert notes.kept() == words


async def test_what_tasks_of_one_turn_submit_is_one_commit(notes: Notes) -> None:
    async def submit(word: str) -> int:
        return await notes.commit.submit(word)

    assert await asyncio.gather(*(submit(word) for word in ("a", "bb", "ccc"))) == [1, 2, 3]
    assert notes.batches == [["a", "bb", "ccc"]]


async def test_a_result_is_durable_when_it_is_told(notes: Notes) -> None:
    await notes.commit.submit("a")
    other = notes.store.open()
    assert list(other.rows("SELECT note FROM notes")) == [("a",)]
    other.close()


async def test_a_batch_has_a_limit_and_nothing_is_reordered(notes: Notes) -> None:
    words = [f"{number:04}" for number in range(BATCH_MAX + 10)]
    await asyncio.gather(*map(notes.commit.submit, words))
    assert [len(batch) for batch in notes.batches] == [BATCH_MAX, 10]
    assert notes.kept() == words


async def test_a_poisoned_operation_fails_alone(notes: Notes) -> None:
    await notes.commit.submit("known")
    futures = [notes.commit.submit(word) for word in ("a", "known", "b")]
    assert [await outcome(future) for future in futures] == [1, "refused", 1]
    assert notes.kept() == ["known", "a", "b"]
    assert notes.commit.counts.replayed == 1
    assert notes.commit.counts.patient == 0
    assert await notes.commit.submit("after") == 5


async def test_a_batch_that_another_process_holds_up_is_kept_in_order(notes: Notes) -> None:
    with notes.locked():
        first = [notes.commit.submit(word) for word in ("a", "b")]
        await asyncio.sleep(0.05)
        later = [notes.commit.submit(word) for word in ("c", "d")]
        await asyncio.sleep(0.05)
        assert not any(future.done() for future in first + later)
        assert notes.kept() == []
    assert await asyncio.gather(*first, *later) == [1, 1, 1, 1]
    assert notes.kept() == ["a", "b", "c", "d"]
    assert notes.commit.counts.patient == int(notes.file.inline)
    assert notes.commit.counts.replayed == 0


async def test_the_loop_goes_on_while_another_process_has_the_database(notes: Notes) -> None:
    turns = 0
    with notes.locked():
        future = notes.commit.submit("a")
        end = asyncio.get_running_loop().time() + 0.1
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0)
            turns += 1
    assert turns > 100
    assert await future == 1


async def test_a_poisoned_operation_fails_alone_behind_a_lock_too(notes: Notes) -> None:
    await notes.commit.submit("known")
    with notes.locked():
        futures = [notes.commit.submit(word) for word in ("a", "known", "b")]
        await asyncio.sleep(0.05)
    assert [await outcome(future) for future in futures] == [1, "refused", 1]
    assert notes.kept() == ["known", "a", "b"]


async def test_nobody_waits_longer_than_the_patience_and_what_became_of_it_is_told(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    with notes.locked():
        began_s = loop.time()
        taken = [notes.commit.submit(word) for word in ("a", "b")]
        await asyncio.sleep(0.05)
        behind = [notes.commit.submit("c"), notes.commit.submit("d")]
        behind[1].cancel()
        assert [await outcome(future) for future in (*taken, behind[0])] == ["unavailable"] * 3
        assert PATIENCE_S - 0.1 < loop.time() - began_s < PATIENCE_S + 1
        # Whoever comes now is told at once.
        assert await outcome(notes.commit.submit("e")) == "unavailable"
        # What the thread had not taken is dropped, and only who left before is told of by the other way.
        assert [(note, type(result)) for note, result in notes.abandoned] == [("d", StoreUnavailableError)]
        notes.abandoned.clear()
    await notes.commit.drain()
    assert notes.kept() == ["a", "b"]
    assert notes.abandoned == [("a", 1), ("b", 1)]
    assert await notes.commit.submit("after") == 5


async def test_a_store_that_is_gone_fails_all_at_once_and_changes_nothing(notes: Notes) -> None:
    notes.database.refusals = notes.tries
    futures = [notes.commit.submit(word) for word in ("a", "b", "c")]
    assert [await outcome(future) for future in futures] == ["unavailable"] * 3
    assert notes.database.refusals == 0
    assert notes.kept() == []
    assert await notes.commit.submit("a") == 1


async def test_a_commit_that_fails_in_a_replay_is_that_operations_fault_alone(notes: Notes) -> None:
    await notes.commit.submit("known")
    futures = [notes.commit.submit(word) for word in ("known", "a", "b")]
    notes.database.undone = 1  # The batch itself is poisoned and never comes to its commit.
    answers = [await outcome(future) for future in futures]
    assert answers == ["refused", "unavailable", "unavailable"]
    assert notes.kept() == ["known"]
    assert await notes.commit.submit("after") == 5


async def test_a_full_queue_refuses_and_loses_nothing(notes: Notes) -> None:
    futures = [notes.commit.submit(f"{number:05}") for number in range(QUEUE_MAX)]
    assert await outcome(notes.commit.submit("one too many")) == "unavailable"
    await asyncio.gather(*futures)
    assert notes.kept() == [f"{number:05}" for number in range(QUEUE_MAX)]


async def test_the_operation_of_a_caller_who_left_is_applied_and_told_of(notes: Notes) -> None:
    staying, leaving = notes.commit.submit("a"), notes.commit.submit("bb")
    leaving.cancel()
    assert await staying == 1
    assert notes.kept() == ["a", "bb"]
    assert notes.abandoned == [("bb", 2)]


async def test_the_failure_of_a_caller_who_left_is_told_of(notes: Notes) -> None:
    notes.database.refusals = notes.tries
    waiting = asyncio.ensure_future(outcome(notes.commit.submit("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await notes.commit.drain()
    assert [(note, type(result)) for note, result in notes.abandoned] == [("a", StoreUnavailableError)]


async def test_a_drain_ends_when_everything_is_kept(notes: Notes) -> None:
    await notes.commit.drain()
    words = [f"{number:04}" for number in range(2 * BATCH_MAX)]
    with notes.locked():
        futures = [notes.commit.submit(word) for word in words]
        draining = asyncio.ensure_future(notes.commit.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
    await draining
    assert all(future.done() for future in futures)
    assert notes.kept() == words
