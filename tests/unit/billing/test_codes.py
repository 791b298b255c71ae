from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from farebox.billing.payments.codes import TRIES_MOST, Codes, NewCode, create_code, list_codes, revoke_code
from farebox.core.clock import Ulids
from farebox.core.errors import Fault
from farebox.core.money import NANO
from tests.ledger.ledger_file import CURRENCY, NOW_US
from tests.support.stores import Store
from tests.unit.billing.paying import Till, till_on

MINUTE_US = 60_000_000


@pytest.fixture
def till(store: Store) -> Iterator[Till]:
    with till_on(store) as till:
        yield till


def make(till: Till, **members: object) -> str:
    new = msgspec.structs.replace(NewCode(25 * NANO, CURRENCY), **members)
    with till.ledger.database.transaction() as work:
        return create_code(work, new, NOW_US)


def redeem(till: Till, code: str, account: str = "a", at_us: int = NOW_US, id_: str | None = None) -> str:
    """The code of the fault, or "" if it was credited."""
    codes = Codes(till.ledger.database, Ulids(till.clock))
    try:
        codes.redeem(till.ledger.open_wallet(account), code, at_us, id_)
    except Fault as fault:
        return fault.code
    return ""


def test_a_code_is_worth_its_credit_once_however_it_is_typed(till: Till) -> None:
    code = make(till)
    assert redeem(till, f"  {code.lower().replace('-', ' ')} ") == ""
    assert redeem(till, code) == "code_redeemed"
    assert redeem(till, code, "b") == "code_not_good"
    assert till.units == 25


def test_a_repeat_under_the_same_id_is_the_same_redemption(till: Till) -> None:
    code = make(till)
    assert [redeem(till, code, id_="one"), redeem(till, code, id_="one"), redeem(till, code, id_="two")] == [
        *("", "", "code_redeemed")
    ]
    assert till.units == 25


def test_a_code_for_several_is_good_once_for_each(till: Till) -> None:
    code = make(till, uses_max=2)
    assert [redeem(till, code, name) for name in ("a", "a", "b", "c")] == [
        *("", "code_redeemed", "", "code_not_good")
    ]


def test_a_race_for_a_code_has_as_many_winners_as_it_has_uses(till: Till) -> None:
    code = make(till, uses_max=3)
    names = [f"racer{number}" for number in range(12)]
    for name in names:
        till.ledger.open_wallet(name)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda name: redeem(till, code, name), [*names, *names]))
    assert told.count("") == 3


def test_a_code_ends_with_its_time_or_when_it_is_revoked(till: Till) -> None:
    code = make(till, expires_us=NOW_US + MINUTE_US)
    assert redeem(till, code, at_us=NOW_US + MINUTE_US) == "code_not_good"
    other = make(till)
    with till.ledger.database.transaction() as work:
        revoke_code(work, f"…{other[-4:]}", NOW_US)
    assert redeem(till, other) == "code_not_good"
    with till.ledger.database.transaction() as work, pytest.raises(ValueError, match="no such code"):
        revoke_code(work, "ZZZZ", NOW_US)


def test_guessing_ends_after_ten_tries_in_ten_minutes(till: Till) -> None:
    code = make(till)
    tries = [redeem(till, f"guess{number}", at_us=NOW_US + number) for number in range(TRIES_MOST + 2)]
    assert tries == ["code_not_good"] * TRIES_MOST + ["too_many_codes"] * 2
    assert redeem(till, code) == "too_many_codes"
    assert redeem(till, code, "b") == ""  # Another account may.
    assert redeem(till, make(till), at_us=NOW_US + 11 * MINUTE_US) == ""


def test_the_books_keep_no_code_that_can_be_read(till: Till) -> None:
    code = make(till)
    with till.ledger.database.read() as view:
        (listed,) = list_codes(view)
    assert listed.hint == f"…{code[-4:]}"
    assert len(code.replace("-", "")) == 20  # Of 30 letters: 98 bits.
    assert code not in str(till.ledger.rows("SELECT * FROM codes"))
    assert code.replace("-", "") not in str(till.ledger.rows("SELECT * FROM codes"))


@pytest.mark.parametrize(
    "wrong", [{"credit_nano": 0}, {"uses_max": 0}, {"uses_max": 10**9}, {"expires_us": NOW_US}]
)
def test_a_code_that_could_not_be_redeemed_is_not_made(till: Till, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        make(till, **wrong)
