from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest

from farebox.core.clock import ManualClock
from farebox.ledger.owners import RETURN_S, FileLives, Lives, keep, lives_on, register, retire, sweep_dead
from tests.ledger.ledger_file import NOW_US, LedgerFile
from tests.ledger.story import Teller
from tests.support.stores import PostgresStore, Store

HOLDER = """
import sys
from pathlib import Path
from farebox.core.clock import SystemClock
from farebox.ledger.owners import lives_on
from farebox.store.engines import Place, open_database
address, file, folder, owner = sys.argv[1:]
database = open_database(Place(address, Path(file)))
proof = lives_on(database, Path(folder), SystemClock()).begin(owner)
print("locked", flush=True)
sys.stdin.read()
"""
LOOKS, LOOK_S = 20, 0.01
Holder = Callable[[str], AbstractContextManager[subprocess.Popen[str]]]


@pytest.fixture
def ledger(store: Store) -> LedgerFile:
    return LedgerFile(store.database)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "owners"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lives(store: Store, folder: Path, clock: ManualClock) -> Lives:
    return lives_on(store.database, folder, clock)


@pytest.fixture
def holder(store: Store, folder: Path) -> Holder:
    """Another process that is an owner until the block ends."""
    place = (store.place.address, str(store.place.file))

    @contextmanager
    def holder(owner: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-c", HOLDER, *place, str(folder), owner]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            try:
                yield process
            finally:
                process.kill()

    return holder


def is_dead(lives: Lives, owner: str, clock: ManualClock) -> bool:
    """Whether an owner is found dead however long one looks; a server notices only a moment later who has left."""
    for _ in range(LOOKS):
        if lives.is_dead(owner):
            return True
        clock.forward(RETURN_S)
        time.sleep(LOOK_S)
    return False


def sweep_all(ledger: LedgerFile, lives: Lives, clock: ManualClock, living: str | None = None) -> int:
    """Sweep until no more can come of it."""
    voided = 0
    for _ in range(LOOKS):
        voided += sweep_dead(ledger.database, lives, living=living)
        clock.forward(RETURN_S)
        time.sleep(LOOK_S)
    return voided


def test_an_owner_in_this_process_is_alive_until_it_lets_go(
    lives: Lives, folder: Path, clock: ManualClock
) -> None:
    proof = lives.begin("w1")
    proof.keep()
    assert not is_dead(lives, "w1", clock)
    proof.release()
    assert is_dead(lives, "w1", clock)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_an_owner_nobody_has_heard_of_is_dead(lives: Lives, clock: ManualClock) -> None:
    assert is_dead(lives, "w1", clock)


def test_proofs_of_life_are_this_users_alone(folder: Path) -> None:
    proof = FileLives(folder).begin("w1")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]
    proof.release()


def test_a_killed_owner_is_dead_and_its_holds_are_voided(
    ledger: LedgerFile, lives: Lives, clock: ManualClock, holder: Holder, folder: Path
) -> None:
    tell_of_a_hold(ledger)
    with holder("w1") as process:
        assert sweep_all(ledger, lives, clock) == 0
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert sweep_all(ledger, lives, clock) == 1
    assert ledger.rows("SELECT id FROM holds") == []
    assert ledger.rows("SELECT id FROM owners") == []
    assert not folder.exists() or list(folder.iterdir()) == []
    assert ledger.amounts("a").held == 0
    assert ledger.check().balanced


def test_a_stopped_owner_is_alive_and_keeps_its_holds(
    ledger: LedgerFile, lives: Lives, clock: ManualClock, holder: Holder
) -> None:
    tell_of_a_hold(ledger)
    with holder("w1") as process:
        process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert not is_dead(lives, "w1", clock)
        assert sweep_all(ledger, lives, clock) == 0
    assert ledger.amounts("a").held == 60


def test_a_sweep_spares_the_sweeper(ledger: LedgerFile, lives: Lives, clock: ManualClock) -> None:
    tell_of_a_hold(ledger)
    assert sweep_all(ledger, lives, clock, living="w1") == 0
    assert sweep_all(ledger, lives, clock) == 1


def test_only_the_dead_of_many_owners_are_swept(ledger: LedgerFile, lives: Lives, clock: ManualClock) -> None:
    Teller(ledger).tell("""
        step                  | answer           | free held spent
        top_up a 100          | ok               |  100    0     0
        hold a c1 10 by w1    | held             |   90   10     0
        hold a c2 20 by w2    | held             |   70   30     0
        hold a c3 30 by w3    | held             |   40   60     0""")
    living = lives.begin("w2")
    assert sweep_all(ledger, lives, clock) == 2
    assert ledger.rows("SELECT owner, amount FROM holds") == [("w2", 20)]
    assert ledger.rows("SELECT id FROM owners") == [("w2",)]
    living.release()


def test_holds_of_an_owner_that_is_not_written_down_are_swept_too(
    ledger: LedgerFile, lives: Lives, clock: ManualClock
) -> None:
    tell_of_a_hold(ledger)
    with ledger.database.transaction() as work:
        work.run("DELETE FROM owners")
    assert sweep_all(ledger, lives, clock) == 1
    assert ledger.check().balanced


def test_an_owner_that_goes_in_peace_is_struck_with_what_it_holds(ledger: LedgerFile) -> None:
    register(ledger.database, "w1", NOW_US)
    tell_of_a_hold(ledger)
    retire(ledger.database, "w1")
    assert ledger.rows("SELECT id FROM owners") == []
    assert ledger.amounts("a").held == 0
    assert ledger.check().balanced


def test_a_name_is_one_owners(ledger: LedgerFile) -> None:
    register(ledger.database, "w1", NOW_US)
    with pytest.raises(Exception, match=r"(?i)unique"):
        register(ledger.database, "w1", NOW_US)


def test_an_owner_that_was_taken_for_dead_is_written_down_again(ledger: LedgerFile, lives: Lives) -> None:
    proof = lives.begin("w1")
    register(ledger.database, "w1", NOW_US)
    assert not keep(ledger.database, proof, NOW_US)
    retire(ledger.database, "w1")
    assert keep(ledger.database, proof, NOW_US)
    assert ledger.rows("SELECT id FROM owners") == [("w1",)]
    proof.release()


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_session_that_ended_without_its_process_is_begun_again_before_anybody_sweeps(
    ledger: LedgerFile, lives: Lives, clock: ManualClock, store: PostgresStore
) -> None:
    tell_of_a_hold(ledger)
    proof = lives.begin("w1")
    with psycopg.connect(store.url) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )
    assert sweep_dead(ledger.database, lives, living=None) == 0  # Seen without its lock, for the first time.
    proof.keep()
    clock.forward(RETURN_S)
    assert sweep_all(ledger, lives, clock) == 0
    assert ledger.amounts("a").held == 60
    proof.release()


def test_a_file_says_at_once_that_its_owner_is_dead(folder: Path) -> None:
    lives = FileLives(folder)
    lives.begin("w1").release()
    assert lives.is_dead("w1")


def tell_of_a_hold(ledger: LedgerFile) -> None:
    Teller(ledger).tell("""
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0""")
