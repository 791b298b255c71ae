from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from farebox.core.clock import ManualClock, ManualIds, SystemClock, Ulids

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ULID = re.compile(f"[{CROCKFORD}]{{26}}")


def millisecond_of(ulid: str) -> int:
    value = 0
    for letter in ulid[:10]:
        value = value * 32 + CROCKFORD.index(letter)
    return value


def test_an_id_is_twenty_six_letters_of_crockfords_alphabet() -> None:
    ids = Ulids(SystemClock())
    assert all(ULID.fullmatch(ids.new()) for _ in range(1000))


def test_no_id_comes_twice() -> None:
    clock = ManualClock()  # All in one millisecond, and from two workers.
    workers = Ulids(clock), Ulids(clock)
    assert len({ids.new() for ids in workers for _ in range(20_000)}) == 40_000


@given(st.lists(st.integers(0, 2**48 - 1), min_size=2, max_size=20, unique=True))
def test_ids_sort_by_the_millisecond_they_were_made_in(milliseconds: list[int]) -> None:
    ids = [Ulids(ManualClock(ms * 1000 + 999)).new() for ms in milliseconds]
    assert [millisecond_of(ulid) for ulid in ids] == milliseconds
    assert [millisecond_of(ulid) for ulid in sorted(ids)] == sorted(milliseconds)


def test_ids_of_one_source_follow_the_clock() -> None:
    clock = ManualClock()
    ids = Ulids(clock)
    made = []
    for _ in range(500):
        made.append(ids.new())
        clock.forward(0.001)
    assert made == sorted(made)
    assert len({ulid[:10] for ulid in made}) == 500


def test_the_random_half_has_every_letter_everywhere() -> None:
    ids = Ulids(ManualClock())
    made = [ids.new() for _ in range(4000)]
    for place in range(10, 26):
        assert {ulid[place] for ulid in made} == set(CROCKFORD)


def test_the_systems_clock_tells_the_time_and_never_goes_back() -> None:
    clock = SystemClock()
    assert abs(clock.now_us() - time.time_ns() // 1000) < 5_000_000
    moments = [clock.monotonic_s() for _ in range(100)]
    assert moments == sorted(moments)


def test_a_manual_clock_moves_when_it_is_told_to() -> None:
    clock = ManualClock(5)
    assert clock.now_us() == 5
    clock.forward(1.5)
    assert clock.now_us() == 1_500_005
    assert clock.monotonic_s() == 1.500005


def test_manual_ids_count_upwards_in_the_form_of_the_real_ones() -> None:
    ids = ManualIds()
    made = [ids.new() for _ in range(11)]
    assert made == sorted(made)
    assert all(ULID.fullmatch(id_) for id_ in made)
    assert made[0] != made[1]
