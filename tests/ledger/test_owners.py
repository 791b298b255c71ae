from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from farebox.ledger.owners import OwnerLock, is_dead, register, retire, sweep_dead
from tests.ledger.ledger_file import NOW_US, LedgerFile, ledger_in
from tests.ledger.story import Teller

HOLDER = """
import sys
from pathlib import Path
from farebox.ledger.owners import OwnerLock
lock = OwnerLock(Path(sys.argv[1]), sys.argv[2])
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerFile]:
    with ledger_in(tmp_path) as ledger:
        yield ledger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "owners"


@contextmanager
def holder(folder: Path, owner: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that is an owner until the block ends."""
    command = [sys.executable, "-c", HOLDER, str(folder), owner]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_an_owner_in_this_process_is_alive_until_it_lets_go(folder: Path) -> None:
    lock = OwnerLock(folder, "w1")
    assert not is_dead(folder, "w1")
    lock.release()
    assert is_dead(folder, "w1")
    assert list(folder.iterdir()) == []


def test_an_owner_nobody_has_heard_of_is_dead(folder: Path) -> None:
    folder.mkdir()
    assert is_dead(folder, "w1")


def test_proofs_of_life_are_this_users_alone(folder: Path) -> None:
    lock = OwnerLock(folder, "w1")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]
    lock.release()


def test_a_killed_owner_is_dead_and_its_holds_are_voided(ledger: LedgerFile, folder: Path) -> None:
    tell_of_a_hold(ledger)
    with holder(folder, "w1") as process:
        assert sweep_dead(ledger.database, folder, living=None) == 0
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert sweep_dead(ledger.database, folder, living=None) == 1
    assert ledger.rows("SELECT id FROM holds") == []
    assert ledger.rows("SELECT id FROM owners") == []
    assert list(folder.iterdir()) == []
    assert ledger.amounts("a").held == 0
    assert ledger.check().balanced


def test_a_stopped_owner_is_alive_and_keeps_its_holds(ledger: LedgerFile, folder: Path) -> None:
    tell_of_a_hold(ledger)
    with holder(folder, "w1") as process:
        process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert not is_dead(folder, "w1")
        assert sweep_dead(ledger.database, folder, living=None) == 0
    assert ledger.amounts("a").held == 60


def test_a_sweep_spares_the_sweeper(ledger: LedgerFile, folder: Path) -> None:
    tell_of_a_hold(ledger)
    folder.mkdir()
    assert sweep_dead(ledger.database, folder, living="w1") == 0
    assert sweep_dead(ledger.database, folder, living=None) == 1


def test_only_the_dead_of_many_owners_are_swept(ledger: LedgerFile, folder: Path) -> None:
    Teller(ledger).tell("""
        step                  | answer           | free held spent
        top_up a 100          | ok               |  100    0     0
        hold a c1 10 by w1    | held             |   90   10     0
        hold a c2 20 by w2    | held             |   70   30     0
        hold a c3 30 by w3    | held             |   40   60     0""")
    living = OwnerLock(folder, "w2")
    assert sweep_dead(ledger.database, folder, living=None) == 2
    assert ledger.rows("SELECT owner, amount FROM holds") == [("w2", 20)]
    assert ledger.rows("SELECT id FROM owners") == [("w2",)]
    living.release()


def test_an_owner_that_goes_in_peace_is_struck_with_what_it_holds(ledger: LedgerFile) -> None:
    register(ledger.database, "w1", NOW_US)
    tell_of_a_hold(ledger)
    retire(ledger.database, "w1")
    assert ledger.rows("SELECT id FROM owners") == []
    assert ledger.amounts("a").held == 0
    assert ledger.check().balanced


def test_a_name_is_one_owners(ledger: LedgerFile) -> None:
    register(ledger.database, "w1", NOW_US)
    with pytest.raises(Exception, match="UNIQUE"):
        register(ledger.database, "w1", NOW_US)


def tell_of_a_hold(ledger: LedgerFile) -> None:
    Teller(ledger).tell("""
        step              | answer             | free held spent
        top_up a 100      | ok                 |  100    0     0
        hold a c1 60      | held               |   40   60     0""")
