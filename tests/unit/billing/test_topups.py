from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.payments.booking import credit_after, total_after
from farebox.billing.payments.processors.processor import (
    Dispute,
    DisputeState,
    Event,
    PaymentState,
    Refund,
    RefundState,
)
from farebox.billing.payments.rows import Topup
from farebox.billing.payments.topups import OPEN_MOST
from farebox.core.errors import Fault, Kind
from farebox.core.money import NANO
from tests.support.stores import Store, opened_store
from tests.unit.billing.paying import CrashError, Till, till_on

STEPS = 60  # Of a process, more than any of what is crashed below has; each test of them says so.


@pytest.fixture
def till(store: Store) -> Iterator[Till]:
    with till_on(store) as till:
        yield till


@pytest.fixture
def frail(tmp_path: Path) -> Iterator[Till]:
    """A till whose process dies: on SQLite alone, for a database of PostgreSQL's costs a second to make."""
    with opened_store("sqlite", tmp_path, None) as store, till_on(store) as till:
        yield till


def test_a_top_up_asks_for_its_tax_and_credits_what_was_wanted(till: Till) -> None:
    topup = till.topups.start(till.wish(100))
    assert (topup.status, topup.credit, topup.tax, topup.total) == (
        "pending",
        100 * NANO,
        18 * NANO,
        118 * NANO,
    )
    assert topup.url == f"https://pay.example/{topup.id}"
    till.told.pay(topup.id, topup.total)
    assert till.hear("evt_1", topup.id)
    assert till.units == 100
    assert till.status(topup.id) == "paid"


def test_an_event_five_times_over_credits_once(till: Till) -> None:
    topup = till.topups.start(till.wish())
    till.told.pay(topup.id, topup.total)
    assert [till.hear("evt_1", topup.id) for _ in range(5)] == [True, False, False, False, False]
    assert [till.hear(f"evt_{number}", topup.id) for number in range(2, 7)] == [False] * 5
    assert till.units == 100


def test_two_workers_who_hear_at_once_credit_once(till: Till) -> None:
    topup = till.topups.start(till.wish())
    till.told.pay(topup.id, topup.total)
    workers = [till.topups, till.another()]
    with ThreadPoolExecutor(8) as pool:
        heard = list(pool.map(lambda at: till.hear(f"evt_{at % 3}", topup.id, workers[at % 2]), range(16)))
    assert sum(heard) == 1
    assert till.units == 100


@pytest.mark.parametrize(("paid", "currency"), [(117, "INR"), (119, "INR"), (118, "USD"), (0, "INR")])
def test_another_amount_or_currency_is_never_credited_and_the_operator_is_told(
    till: Till, paid: int, currency: str
) -> None:
    topup = till.topups.start(till.wish())
    till.told.pay(topup.id, paid * NANO, currency)
    for _ in range(3):
        assert not till.hear("evt_1", topup.id)
    assert till.status(topup.id) == "mismatch"
    assert till.units == 0
    (notice,) = till.notices()
    assert f"{paid} {currency} instead of 118 INR" in notice
    assert not till.ledger.rows("SELECT * FROM payment_events")


@pytest.mark.parametrize("state", [PaymentState.PENDING, PaymentState.FAILED, PaymentState.EXPIRED])
def test_what_is_not_paid_is_not_credited(till: Till, state: PaymentState) -> None:
    topup = till.topups.start(till.wish())
    till.told.end(topup.id, state)
    assert not till.hear("evt_1", topup.id)
    assert till.status(topup.id) == state.value
    assert till.units == 0


def test_events_out_of_order_end_as_if_in_order(till: Till) -> None:
    topup = till.topups.start(till.wish())
    till.told.end(topup.id, PaymentState.EXPIRED)
    till.hear("evt_expired", topup.id)
    till.told.pay(topup.id, topup.total)
    till.told.give_back(topup.id, Refund("re_1", 59 * NANO, RefundState.DONE))
    till.hear("evt_refunded", topup.id)  # Before anybody said that it was paid.
    till.hear("evt_paid", topup.id)
    assert till.status(topup.id) == "partly_refunded"
    assert till.units == 50


def test_an_event_about_a_foreign_payment_changes_nothing_and_may_come_again(till: Till) -> None:
    mine = till.topups.start(till.wish())
    till.told.payments["told_x"] = till.told.payments[f"told_{mine.id}"].__class__(
        "another-shop", "told_x", PaymentState.PAID, 118 * NANO, "INR", "pay_x"
    )
    assert not till.topups.hear("stripe", Event("evt_x", "told_x"))
    assert not till.topups.hear("stripe", Event("evt_y", "told_nobody_knows"))
    assert not till.topups.hear("stripe", Event("evt_z", None))
    assert till.units == 0
    assert not till.ledger.rows("SELECT * FROM payment_events")


def test_an_event_before_our_row_is_committed_is_credited_when_it_comes_again(till: Till) -> None:
    topup = till.topups.start(till.wish())
    till.told.pay(topup.id, topup.total)
    row = till.ledger.rows("SELECT * FROM topups")[0]
    with till.ledger.database.transaction() as work:
        work.run("DELETE FROM topups")
    assert not till.hear("evt_1", topup.id)
    with till.ledger.database.transaction() as work:
        work.run(f"INSERT INTO topups VALUES ({', '.join('?' * len(row))})", *row)
    assert till.hear("evt_1", topup.id)
    assert till.units == 100


def test_an_event_before_the_reference_is_stored_is_credited(till: Till) -> None:
    topup = till.topups.start(till.wish())
    with till.ledger.database.transaction() as work:
        work.run("UPDATE topups SET processor_ref = NULL, url = NULL, status = 'created'")
    till.told.pay(topup.id, topup.total)
    assert till.hear("evt_1", topup.id)
    assert till.units == 100


def finish(till: Till) -> None:
    """What the poll makes of whatever stands, given time."""
    for _ in range(12):
        till.clock.forward(3_700)
        till.topups.resolve_due()


def crash(till: Till, step: int, work: Callable[[], object]) -> None:
    """Do a piece of work, and end the process at one of its steps; the last of them is beyond its end."""
    till.crashes.left, seen = step, till.crashes.seen
    with contextlib.suppress(CrashError):
        work()
        assert till.crashes.seen - seen <= step
    till.crashes.left = -1
    assert step < STEPS - 1 or till.crashes.seen - seen < STEPS, "there are more steps than are tried"


@pytest.mark.parametrize("step", range(STEPS))
def test_a_crash_at_any_step_of_a_payment_leaves_one_credit(frail: Till, step: int) -> None:
    till = frail

    def pay() -> None:
        topup = till.topups.start(till.wish())
        till.told.pay(topup.id, topup.total)
        till.hear("evt_1", topup.id)

    crash(till, step, pay)
    till.assert_whole()
    till.clock.forward(61)
    till.topups.resolve_due()
    for (id_,) in till.ledger.rows("SELECT id FROM topups"):
        till.told.pay(str(id_), 118 * NANO)
        till.hear("evt_1", str(id_))
        till.hear("evt_1", str(id_))
    rows = till.ledger.rows("SELECT status FROM topups")
    assert rows in ([("paid",)], [])  # Without a row nobody outside has heard of it.
    assert till.units == 100 * len(rows)


@pytest.mark.parametrize("step", range(STEPS))
def test_a_crash_at_any_step_of_a_refund_leaves_one_refund(frail: Till, step: int) -> None:
    till = frail
    topup_id = till.paid()
    crash(till, step, lambda: till.topups.refund(topup_id, 40 * NANO, "as asked"))
    till.assert_whole()
    finish(till)
    taken = 100 - till.units
    assert taken in {0, 40}
    assert sum(one.total_nano for one in till.told.made.values()) == (0 if taken == 0 else 47.2 * NANO)
    assert all(status == "done" for (status,) in till.ledger.rows("SELECT status FROM topup_refunds"))


@pytest.mark.parametrize("step", range(STEPS))
def test_a_crash_at_any_step_of_a_dispute_leaves_one_dispute(frail: Till, step: int) -> None:
    till = frail
    topup_id = till.paid()
    till.told.dispute(topup_id, Dispute("dp_1", 118 * NANO, DisputeState.OPEN))
    crash(till, step, lambda: till.hear("evt_2", topup_id))
    till.assert_whole()
    till.hear("evt_2", topup_id)
    assert till.units == 0
    till.assert_whole()


def test_the_poll_credits_what_no_event_told(till: Till) -> None:
    topup = till.topups.start(till.wish())
    till.told.pay(topup.id, topup.total)
    assert till.topups.resolve_due() == 0  # Younger than a minute.
    till.clock.forward(61)
    assert till.topups.resolve_due() == 1
    assert till.units == 100
    till.clock.forward(7200)
    assert till.topups.resolve_due() == 0


def test_the_poll_asks_ever_more_rarely_and_gives_up_after_a_day(till: Till) -> None:
    topup = till.topups.start(till.wish())
    till.told.asked.clear()
    asked = []
    for minute in range(1, 26 * 60):
        till.clock.forward(60)
        if till.topups.resolve_due():
            asked.append(minute)
    assert asked[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert len(asked) < 40
    assert till.status(topup.id) == "expired"
    till.told.pay(topup.id, topup.total)  # After all.
    till.hear("evt_late", topup.id)
    assert till.units == 100


def test_a_processor_that_is_away_costs_nothing_but_time(till: Till) -> None:
    till.told.away = True
    with pytest.raises(Fault) as away:
        till.topups.start(till.wish())
    assert away.value.kind is Kind.PROVIDER_ERROR
    till.clock.forward(61)
    till.topups.resolve_due()
    till.told.away = False
    finish(till)
    assert till.ledger.rows("SELECT status FROM topups") == [("pending",)]


def test_a_refused_start_is_a_failed_top_up(till: Till) -> None:
    till.told.refuses = True
    with pytest.raises(Fault) as refused:
        till.topups.start(till.wish())
    assert (refused.value.status, refused.value.code) == (400, "payment_refused")
    assert till.ledger.rows("SELECT status FROM topups") == [("failed",)]


@pytest.mark.parametrize(
    ("nano", "why"),
    [
        (4 * NANO, "from 5 to 10000"),
        (10_001 * NANO, "from 5 to 10000"),
        (25 * NANO + 1_000_000, "the smallest step is 0.01"),
        (-25 * NANO, "from 5 to 10000"),
    ],
)
def test_an_amount_that_cannot_be_paid_is_refused(till: Till, nano: int, why: str) -> None:
    with pytest.raises(Fault, match=why):
        till.topups.start(till.wish(1, amount_nano=nano))
    assert not till.told.asked


@pytest.mark.parametrize("name", ["manual", "nobody", "razorpay"])
def test_a_customer_chooses_only_what_is_offered(till: Till, name: str) -> None:
    with pytest.raises(Fault, match="processor must be one of: stripe"):
        till.topups.start(till.wish(processor=name))


def test_unpaid_top_ups_of_an_account_are_bounded(till: Till) -> None:
    for _ in range(OPEN_MOST):
        till.topups.start(till.wish())
    with pytest.raises(Fault) as many:
        till.topups.start(till.wish())
    assert many.value.status == 429


def test_a_refund_takes_the_money_first_and_gives_its_share_of_the_tax(till: Till) -> None:
    topup_id = till.paid()
    refund = till.topups.refund(topup_id, 40 * NANO, "as asked")
    assert (refund.status, refund.credit, refund.total) == ("done", 40 * NANO, 47_200_000_000)
    assert till.units == 60
    assert till.status(topup_id) == "partly_refunded"
    till.topups.refund(topup_id, 60 * NANO, "the rest")
    assert till.status(topup_id) == "refunded"
    assert sum(one.total_nano for one in till.told.made.values()) == 118 * NANO
    with pytest.raises(Fault, match="refunded cannot be refunded"):
        till.topups.refund(topup_id, 1 * NANO, "more")


def test_a_refund_of_money_that_was_spent_is_refused_before_anybody_is_asked(till: Till) -> None:
    topup_id = till.paid()
    with till.ledger.database.transaction() as work:
        work.run("UPDATE wallets SET held = 70000000000")
    with pytest.raises(Fault, match="30 free"):
        till.topups.refund(topup_id, 40 * NANO, "as asked")
    assert "refund" not in till.told.asked
    with till.ledger.database.transaction() as work:
        work.run("UPDATE wallets SET held = 0")


def test_a_refused_refund_is_put_back(till: Till) -> None:
    topup_id = till.paid()
    till.told.refuses = True
    assert till.topups.refund(topup_id, 40 * NANO, "as asked").status == "undone"
    assert till.units == 100
    assert till.status(topup_id) == "paid"
    assert any("was not refunded" in text for text in till.notices())


def test_a_refund_whose_processor_is_away_is_asked_for_again_with_the_same_key(till: Till) -> None:
    topup_id = till.paid()
    till.told.away = True
    assert till.topups.refund(topup_id, 40 * NANO, "as asked").status == "taken"
    assert till.units == 60
    till.told.away = False
    finish(till)
    assert till.units == 60
    assert len(till.told.made) == 1


def test_a_refund_without_an_answer_for_a_day_is_left_to_the_operator(till: Till) -> None:
    topup_id = till.paid()
    till.told.away = True
    till.topups.refund(topup_id, 40 * NANO, "as asked")
    for _ in range(30):
        finish(till)
    assert any("for a day" in text for text in till.notices())
    till.told.away = False
    finish(till)
    assert not till.told.made  # Its key is forgotten by now: asking again might refund twice.


def test_a_refund_made_at_the_dashboard_is_booked_once_and_takes_what_is_there(till: Till) -> None:
    topup_id = till.paid()
    till.ledger.take_back("a", -90 * NANO)  # Spent meanwhile.
    till.told.give_back(topup_id, Refund("re_1", 118 * NANO, RefundState.PENDING))
    for number in range(3):
        till.hear(f"evt_{number}", topup_id)
    assert till.units == 0
    assert till.status(topup_id) == "refunded"
    assert till.ledger.rows("SELECT taken, lost FROM topup_refunds") == [(10 * NANO, 90 * NANO)]
    till.told.give_back(topup_id, Refund("re_1", 118 * NANO, RefundState.FAILED))
    till.hear("evt_failed", topup_id)
    assert till.units == 10
    assert till.status(topup_id) == "paid"


def test_a_dispute_after_spending_takes_what_is_there_and_closes_the_account(till: Till) -> None:
    topup_id = till.paid()
    till.ledger.take_back("a", -70 * NANO)
    till.told.dispute(topup_id, Dispute("dp_1", 118 * NANO, DisputeState.OPEN))
    for number in range(3):
        till.hear(f"evt_{number}", topup_id)
    assert till.units == 0
    assert till.status(topup_id) == "disputed"
    assert till.ledger.rows("SELECT status FROM accounts") == [("disabled",)]
    assert till.ledger.rows("SELECT SUM(amount) FROM losses WHERE debit = 'bad_debt'") == [(70 * NANO,)]
    assert len(till.notices()) == len(till.notices(till.account)) == 1
    with pytest.raises(Fault, match="disputed cannot be refunded"):
        till.topups.refund(topup_id, 1 * NANO, "no")
    till.assert_whole()


@pytest.mark.parametrize("seen_open", [True, False])
def test_a_dispute_that_was_won_gives_back_what_it_took(till: Till, *, seen_open: bool) -> None:
    topup_id = till.paid()
    till.ledger.take_back("a", -70 * NANO)
    if seen_open:
        till.told.dispute(topup_id, Dispute("dp_1", 118 * NANO, DisputeState.OPEN))
        till.hear("evt_1", topup_id)
    till.told.dispute(topup_id, Dispute("dp_1", 118 * NANO, DisputeState.WON))
    for number in range(3):
        till.hear(f"evt_won_{number}", topup_id)
    assert till.units == 30
    assert till.status(topup_id) == "paid"


def test_a_dispute_that_was_lost_stays_taken(till: Till) -> None:
    topup_id = till.paid()
    till.told.dispute(topup_id, Dispute("dp_1", 59 * NANO, DisputeState.LOST))
    till.hear("evt_1", topup_id)
    assert till.units == 50
    assert till.ledger.rows("SELECT status, credit FROM topup_disputes") == [("lost", 50 * NANO)]


def test_a_second_payment_of_one_top_up_is_told_and_not_credited(till: Till) -> None:
    topup_id = till.paid()
    ref = f"told_{topup_id}"
    paid = till.told.payments[ref]
    till.told.payments[ref] = paid.__class__(
        topup_id, ref, PaymentState.PAID, paid.paid_nano, "INR", "pay_again"
    )
    assert not till.hear("evt_2", topup_id)
    assert till.units == 100
    assert any("a second time" in text for text in till.notices())


def a_topup(credit: int, tax: int) -> Topup:
    zero: dict[str, Any] = dict.fromkeys(Topup.__struct_fields__, 0)  # The rest is not looked at.
    return Topup(**{**zero, "credit": credit, "tax": tax, "total": credit + tax, "currency": "INR"})


COINS = 10_000_000


@given(st.integers(1, 10**9), st.integers(0, 10**8), st.data())
def test_shares_grow_with_what_they_are_shares_of_and_the_whole_is_the_whole(
    credit: int, tax: int, data: st.DataObject
) -> None:
    topup = a_topup(credit * COINS, tax * COINS)
    parts: Callable[[int], st.SearchStrategy[int]] = lambda most: st.integers(0, most)  # noqa: E731 -- two words
    less, more = sorted((data.draw(parts(topup.credit)), data.draw(parts(topup.credit))))
    assert 0 <= total_after(topup, less) <= total_after(topup, more) <= topup.total
    assert total_after(topup, topup.credit) == topup.total
    assert total_after(topup, less) % COINS == 0
    less, more = sorted((data.draw(parts(topup.total)), data.draw(parts(topup.total))))
    assert 0 <= credit_after(topup, less) <= credit_after(topup, more) <= topup.credit
    assert credit_after(topup, topup.total) == topup.credit
