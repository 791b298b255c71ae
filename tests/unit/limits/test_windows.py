from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farebox.limits.windows import WINDOW_S, Window, Windows

NOW_S = 1_700_000_040  # A minute's first second.
KEYS_AT_FIRST = 65_536
TAKER = """
import sys
from pathlib import Path
from farebox.limits.windows import Windows
windows = Windows(Path(sys.argv[1]))
key, limit, now_s, takes = map(int, sys.argv[2:])
print("ready", flush=True)
sys.stdin.readline()
print(sum(windows.take(key, image=False, limit=limit, now_s=now_s).allowed for _ in range(takes)))
windows.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "windows"


@pytest.fixture
def windows(path: Path) -> Iterator[Windows]:
    windows = Windows(path)
    yield windows
    windows.close()


def take(windows: Windows, key: int = 1, *, image: bool = False, now_s: int = NOW_S) -> Window:
    return windows.take(key, image=image, limit=3, now_s=now_s)


def test_as_many_calls_as_the_limit_are_allowed_and_all_are_counted(windows: Windows) -> None:
    taken = [take(windows) for _ in range(5)]
    assert [window.allowed for window in taken] == [True, True, True, False, False]
    assert [window.remaining for window in taken] == [2, 1, 0, 0, 0]
    assert {window.limit for window in taken} == {3}


def test_the_window_ends_on_the_minute(windows: Windows) -> None:
    for _ in range(4):
        assert take(windows, now_s=NOW_S).reset_s == NOW_S + WINDOW_S
    assert not take(windows, now_s=NOW_S + WINDOW_S - 1).allowed
    window = take(windows, now_s=NOW_S + WINDOW_S)
    assert window == Window(limit=3, remaining=2, reset_s=NOW_S + 2 * WINDOW_S, allowed=True)


def test_a_call_that_read_the_clock_before_the_border_wipes_nothing(windows: Windows) -> None:
    assert take(windows, now_s=NOW_S).remaining == 2
    late = take(windows, now_s=NOW_S - 1)
    assert late == Window(limit=3, remaining=1, reset_s=NOW_S + WINDOW_S, allowed=True)
    assert take(windows, now_s=NOW_S).remaining == 0


def test_a_clock_that_was_set_back_locks_nobody_out(windows: Windows) -> None:
    for _ in range(4):
        take(windows, now_s=NOW_S + 3600)
    assert take(windows, now_s=NOW_S).remaining == 2


def test_images_and_chat_are_counted_apart(windows: Windows) -> None:
    for _ in range(4):
        take(windows, image=True)
    assert not take(windows, image=True).allowed
    assert take(windows).remaining == 2


def test_keys_are_counted_apart(windows: Windows) -> None:
    for _ in range(4):
        take(windows, key=2)
    for key in (1, 3):
        assert take(windows, key=key).remaining == 2
        assert take(windows, key=key, image=True).remaining == 2


def test_a_look_does_not_count(windows: Windows) -> None:
    take(windows)
    for _ in range(5):
        assert windows.look(1, image=False, limit=3, now_s=NOW_S) == Window(
            3, 2, NOW_S + WINDOW_S, allowed=True
        )
    assert windows.look(9, image=False, limit=3, now_s=NOW_S).remaining == 3
    assert take(windows).remaining == 1


def test_a_limit_of_zero_allows_nothing(windows: Windows) -> None:
    assert windows.take(1, image=True, limit=0, now_s=NOW_S) == Window(0, 0, NOW_S + WINDOW_S, allowed=False)


def test_a_restart_forgets_nothing(path: Path) -> None:
    for remaining in (2, 1, 0):
        windows = Windows(path)
        assert take(windows).remaining == remaining
        windows.close()


def test_the_file_grows_beyond_its_first_keys_and_keeps_what_is_counted(path: Path, windows: Windows) -> None:
    take(windows)
    last = take(windows, key=KEYS_AT_FIRST - 1, image=True)
    assert last.remaining == 2
    first_size = path.stat().st_size
    for key in (KEYS_AT_FIRST, 3 * KEYS_AT_FIRST + 7):
        assert take(windows, key=key).remaining == 2
        assert take(windows, key=key).remaining == 1
    assert path.stat().st_size > first_size
    assert path.stat().st_blocks * 512 < first_size  # Sparse.
    assert take(windows).remaining == 1
    assert take(windows, key=KEYS_AT_FIRST - 1, image=True).remaining == 1


def test_a_file_that_another_worker_grew_is_never_made_smaller(path: Path, windows: Windows) -> None:
    other = Windows(path)
    take(other, key=5 * KEYS_AT_FIRST)
    grown = path.stat().st_size
    take(windows, key=KEYS_AT_FIRST)
    third = Windows(path)
    assert path.stat().st_size == grown
    assert take(third, key=5 * KEYS_AT_FIRST).remaining == 1
    third.close()
    other.close()


def test_the_file_is_this_users_alone(path: Path, windows: Windows) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.access(path, os.R_OK)
    take(windows)


def test_four_processes_count_exactly(path: Path, windows: Windows) -> None:
    workers, takes, limit = 4, 10_000, 777  # So many that they do meet.
    command = [sys.executable, "-c", TAKER, str(path), "1", str(limit), str(NOW_S), str(takes)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    allowed = [int(process.communicate(timeout=30)[0]) for process in processes]
    assert sum(allowed) == limit
    all_takes = workers * takes
    window = windows.look(1, image=False, limit=all_takes + 1, now_s=NOW_S)
    assert window.remaining == 1
