from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.accounts.budgets import Budget, set_budget
from farebox.accounts.keys import mint_key
from farebox.billing.telling.alerts import (
    BATCH,
    anything_due,
    budget_alerts,
    provider_spent,
    refusal_alerts,
    wallet_alerts,
)
from farebox.billing.telling.contacts import Contact, set_contact
from farebox.billing.telling.notices import Notice, list_notices
from farebox.core.clock import ManualIds
from farebox.core.money import NANO
from farebox.ledger.books import HoldOp
from farebox.ledger.rules import TransferKind
from tests.ledger.ledger_file import NOW_US, LedgerFile, ledger_in, settlement

DAY_US = 86_400_000_000
TOP_UP_URL = "https://shop.example/console/wallet"


class Shop:
    """One ledger; amounts are in whole units."""

    def __init__(self, ledger: LedgerFile) -> None:
        self.ledger = ledger
        self.acme = ledger.open_wallet("acme")
        self._calls = 0
        ledger.enlist("w1")

    def pay(self, amount: int, kind: TransferKind = TransferKind.TOP_UP) -> None:
        self.ledger.move("acme", kind, amount * NANO)

    def spend(self, amount: int, *, nano: int = 0) -> None:
        self._calls += 1
        due = amount * NANO + nano
        self.ledger.commit(
            HoldOp(f"call-{self._calls}", self.acme, 1, "w1", "acme/model", due, NOW_US),
            settlement(f"call-{self._calls}", self.acme, due=due, hold=due),
        )

    def warn_below(self, amount: int | None) -> None:
        with self.ledger.database.transaction() as work:
            set_contact(work, self.acme, Contact(low_balance_nano=None if amount is None else amount * NANO))

    def look(self, now_us: int = NOW_US) -> list[str]:
        """Subjects of what a look notes, oldest first."""
        before = len(self.told())
        with self.ledger.database.transaction() as work:
            wallet_alerts(work, now_us, top_up_url=TOP_UP_URL)
            budget_alerts(work, now_us)
        return [notice.subject for notice in self.told()[before:]]

    def refuse(self) -> list[str]:
        """Subjects of what is noted after a refused call."""
        before = len(self.told())
        with self.ledger.database.transaction() as work:
            refusal_alerts(work, [self.acme], NOW_US, top_up_url=TOP_UP_URL)
        return [notice.subject for notice in self.told()[before:]]

    def told(self) -> list[Notice]:
        with self.ledger.database.read() as view:
            return [one.notice for one in list_notices(view, self.acme, limit=200)][::-1]

    def due(self) -> bool:
        with self.ledger.database.read() as view:
            return anything_due(view, NOW_US)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ledger_in(tmp_path) as ledger:
        yield Shop(ledger)


def at(level: int) -> str:
    return f"{level} % of your balance is spent"


def test_a_wallet_is_alerted_at_each_level_once_a_top_up(shop: Shop) -> None:
    shop.pay(100)
    assert shop.look() == []
    shop.spend(49)
    assert shop.look() == []
    shop.spend(1)
    assert shop.look() == [at(50)]
    shop.spend(29)
    assert shop.look() == []
    shop.spend(1)
    assert shop.look() == [at(80)]
    shop.spend(18)
    assert shop.look() == []
    shop.spend(1)  # One is left: as good as nothing.
    assert shop.look() == [at(100)]
    shop.spend(1)
    assert shop.look() == []
    assert len({notice.once for notice in shop.told()}) == 3


def test_a_notice_says_what_is_left_of_what_and_where_to_top_up(shop: Shop) -> None:
    shop.pay(100)
    shop.spend(85)
    shop.look()
    (notice,) = shop.told()
    assert (notice.kind, notice.account_id) == ("low_balance", shop.acme)
    assert notice.data == {
        "level": "80", "balance": "15", "of": "100", "currency": "INR", "top_up_url": TOP_UP_URL,
    }  # fmt: skip
    assert "15 INR is left" in notice.text
    assert TOP_UP_URL in notice.text


def test_a_top_up_begins_anew_from_what_is_in_the_wallet_then(shop: Shop) -> None:
    shop.pay(100)
    shop.spend(90)
    assert shop.look() == [at(80)]
    shop.pay(30)  # 40 now.
    assert shop.look() == []
    shop.spend(19)
    assert shop.look() == []
    shop.spend(1)
    assert shop.look() == [at(50)]


def test_a_top_up_that_is_spent_before_anybody_looks_is_still_whole(shop: Shop) -> None:
    shop.look()
    shop.pay(100)
    shop.spend(60)
    assert shop.look() == [at(50)]
    shop.pay(60, TransferKind.GRANT)
    shop.spend(81)  # Of 100.
    assert shop.look() == [at(80)]


def test_a_refund_or_correction_is_no_top_up(shop: Shop) -> None:
    shop.pay(100)
    shop.spend(85)
    assert shop.look() == [at(80)]
    shop.pay(1, TransferKind.REFUND)
    shop.pay(1, TransferKind.CORRECTION)
    shop.spend(9)
    assert shop.look() == []
    shop.pay(-7, TransferKind.CORRECTION)  # It leaves one of a hundred.
    assert shop.look() == [at(100)]


def test_a_wallet_that_never_had_money_is_not_alerted(shop: Shop) -> None:
    assert shop.look() == []
    assert not shop.due()


def test_whoever_asked_is_told_below_an_amount_each_time_it_is_crossed(shop: Shop) -> None:
    shop.pay(100)
    shop.warn_below(70)
    below = "Your balance is below 70 INR"
    assert shop.look() == []
    shop.spend(30)
    assert shop.look() == []
    shop.spend(0, nano=1)
    assert shop.look() == [below]
    shop.spend(1)
    assert shop.look() == []
    shop.pay(20)
    assert shop.look(NOW_US + 1) == []
    shop.spend(25)
    assert shop.look(NOW_US + 2) == [below]


def test_a_new_amount_to_warn_below_counts_at_once(shop: Shop) -> None:
    shop.pay(100)
    shop.look()
    shop.warn_below(101)
    assert shop.due()
    assert shop.look() == ["Your balance is below 101 INR"]
    shop.warn_below(None)
    assert shop.look() == []
    assert not shop.due()


def test_a_refused_call_means_that_the_last_fifth_is_as_good_as_spent(shop: Shop) -> None:
    shop.pay(100)
    shop.look()
    shop.spend(79)
    assert shop.refuse() == []  # A call that large says nothing of the others.
    shop.spend(1)
    assert shop.refuse() == [at(100)]
    assert shop.refuse() == []
    assert shop.look() == []
    shop.pay(1)  # It begins anew, with 21.
    assert shop.refuse() == []
    assert shop.look() == []
    shop.spend(18)
    assert shop.refuse() == [at(100)]


def test_a_refusal_by_a_wallet_that_nobody_has_looked_at_is_no_alert(shop: Shop) -> None:
    assert shop.refuse() == []
    shop.pay(100)
    assert shop.refuse() == []


def test_an_idle_shop_has_nothing_due(shop: Shop) -> None:
    shop.pay(100)
    assert shop.due()
    shop.look()
    assert not shop.due()
    shop.spend(10)  # Above every level.
    assert not shop.due()
    shop.spend(40)
    assert shop.due()


def test_many_wallets_are_gone_through_in_batches(shop: Shop) -> None:
    with shop.ledger.database.transaction() as work:
        for number in range(BATCH):
            work.run(
                "INSERT INTO accounts (id, name, plan, status, created) VALUES (?, ?, 'standard', 'active', 1)",
                *(1000 + number, f"n{number}"),
            )
            work.run("INSERT INTO wallets (account_id, currency) VALUES (?, 'INR')", 1000 + number)
    with shop.ledger.database.transaction() as work:
        assert wallet_alerts(work, NOW_US, top_up_url="") == BATCH
        assert wallet_alerts(work, NOW_US, top_up_url="") == 1
        assert wallet_alerts(work, NOW_US, top_up_url="") == 0


@given(st.lists(st.tuples(st.sampled_from(["pay", "spend", "look"]), st.integers(1, 60)), max_size=30))
def test_no_level_is_told_twice_a_top_up_nor_missed_at_the_end(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    with ledger_in(tmp_path_factory.mktemp("ledger")) as ledger:
        shop = Shop(ledger)
        whole = left = 0
        for step, amount in steps:
            if step == "pay":
                shop.pay(amount)
                whole = left = left + amount
            elif step == "spend" and amount <= left:
                shop.spend(amount)
                left -= amount
            elif step == "look":
                shop.look()
        shop.look()
        told = shop.told()
        of_last = [notice for notice in told if notice.once.split(":")[2] == _last_top_up(shop)]
        levels = [int(notice.data["level"]) for notice in of_last]
        spent = whole - left
        reached = [level for level in (50, 80) if spent * 100 >= level * whole > 0]
        reached += [100] if whole and left * 100 <= whole else []
        assert levels == sorted(set(levels))
        assert max(levels, default=0) == max(reached, default=0)
        assert shop.look() == []


def _last_top_up(shop: Shop) -> str:
    return str(shop.ledger.rows("SELECT COALESCE(MAX(seq), 0) FROM transfers WHERE kind = 'top_up'")[0][0])


class Keyed:
    """A key with a budget and its window."""

    def __init__(self, shop: Shop, period: str = "month", amount: int = 10) -> None:
        self.shop = shop
        self.period = period
        with shop.ledger.database.transaction() as work:
            key, _ = mint_key(work, ManualIds(), account_id=shop.acme, name="ci", now_us=NOW_US)
            self.id = key.id
            budget = Budget(period, amount * NANO)
            set_budget(work, key_id=key.id, account_id=shop.acme, budget=budget, now_us=NOW_US)

    def used(self, spent: int, held: int = 0, *, starts: int = NOW_US - 1) -> None:
        with self.shop.ledger.database.transaction() as work:
            work.run(
                "INSERT INTO budget_windows (key_id, period, starts, account_id, spent, held)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key_id, period, starts)"
                " DO UPDATE SET spent = excluded.spent, held = excluded.held",
                *(self.id, self.period, starts, self.shop.acme, spent * NANO, held * NANO),
            )


def levels(shop: Shop, now_us: int = NOW_US) -> list[str]:
    return [subject.partition(" ")[0] for subject in shop.look(now_us)]


def test_a_budget_is_alerted_at_each_level_once_a_window(shop: Shop) -> None:
    shop.look()
    key = Keyed(shop)
    key.used(4)
    assert levels(shop) == []
    key.used(4, held=1)
    assert shop.due()
    assert levels(shop) == ["50"]
    assert levels(shop) == []
    key.used(8)
    assert levels(shop) == ["80"]
    key.used(3, held=7)
    assert levels(shop) == ["100"]
    key.used(10)
    assert levels(shop) == []
    assert not shop.due()
    key.used(9, starts=NOW_US)
    assert levels(shop) == ["80"]


def test_a_budget_notice_names_the_key_by_name_and_hint_and_tells_no_secret(shop: Shop) -> None:
    Keyed(shop, "day").used(8)
    shop.look()
    (notice,) = shop.told()
    assert notice.subject.startswith("80 % of the budget for this day of the key ci (")
    assert (notice.data["period"], notice.data["spent"], notice.data["budget"]) == ("day", "8", "10")
    assert len(notice.data["hint"]) < 20


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_a_window_gone_by_is_not_alerted(shop: Shop, period: str) -> None:
    Keyed(shop, period).used(9, starts=NOW_US - 33 * DAY_US)
    assert levels(shop) == []


def test_a_budget_for_ever_is_alerted_however_old_its_window(shop: Shop) -> None:
    Keyed(shop, "total").used(9, starts=0)
    (subject,) = shop.look()
    assert "of the budget of the key" in subject


def test_a_budget_of_nothing_has_no_levels(shop: Shop) -> None:
    Keyed(shop, amount=0).used(9)
    assert levels(shop) == []


def test_a_spent_provider_is_the_operators_to_know(shop: Shop) -> None:
    with shop.ledger.database.transaction() as work:
        provider_spent(work, "acme-ai", NOW_US)
    with shop.ledger.database.read() as view:
        (listed,) = list_notices(view, None)
    assert listed.notice.account_id is None
    assert listed.notice.data == {"provider": "acme-ai"}
    assert not shop.told()
