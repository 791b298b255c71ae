from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.billing.telling.contacts import (
    Contact,
    check_email,
    check_webhook,
    find_contact,
    set_contact,
    webhook_secret,
)
from farebox.billing.telling.notices import SUBJECT_MAX, TEXT_MAX, Listed, Notice, list_notices, note
from farebox.billing.telling.outbox import (
    A_DAY_MOST,
    AT_ONCE_EACH,
    CLAIM_US,
    DAY_US,
    GIVE_UP_US,
    KEEP_US,
    WAIT_MOST_US,
    Channel,
    Delivery,
    Directions,
    Outcome,
    Recipient,
    anything_to_send,
    claim_due,
    forget_old,
    next_try_us,
    record,
    route_notices,
)
from tests.ledger.ledger_file import NOW_US, LedgerFile, ledger_in

MASTER = b"master"
OPERATOR = Directions(Recipient(None, email="ops@example.com"), MASTER)
SENT = Outcome(delivered=True, answer="answered 200")
FAILED = Outcome(delivered=False, answer="answered 500")
SECOND_US = 1_000_000


class ByMail:
    """A channel that reaches whoever has a mail address."""

    def reaches(self, recipient: Recipient) -> bool:
        return bool(recipient.email)

    async def send(self, recipient: Recipient, notice: Notice) -> Outcome:  # noqa: ARG002 -- the port's
        return SENT


class ByWebhook(ByMail):
    def reaches(self, recipient: Recipient) -> bool:
        return bool(recipient.webhook_url)


CHANNELS: dict[str, Channel] = {"webhook": ByWebhook(), "email": ByMail()}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerFile]:
    with ledger_in(tmp_path) as ledger:
        yield ledger


def a_notice(once: str = "one", account_id: int | None = None, *, created_us: int = NOW_US) -> Notice:
    return Notice(once, account_id, "test", "A subject", "A text.", {"level": "80"}, created_us)


def written(ledger: LedgerFile, *notices: Notice) -> list[bool]:
    with ledger.database.transaction() as work:
        return [note(work, notice) for notice in notices]


def claimed(
    ledger: LedgerFile, now_us: int = NOW_US, *, limit: int = 9, busy: tuple[int | None, ...] = ()
) -> list[Delivery]:
    with ledger.database.transaction() as work:
        route_notices(work, CHANNELS, OPERATOR, now_us)
        return claim_due(work, OPERATOR, busy, limit, now_us)


def ended(ledger: LedgerFile, delivery: Delivery, outcome: Outcome, now_us: int = NOW_US) -> None:
    with ledger.database.transaction() as work:
        record(work, delivery, outcome, now_us)


def listed(ledger: LedgerFile, account_id: int | None = None) -> list[Listed]:
    with ledger.database.read() as view:
        return list_notices(view, account_id)


def customer(ledger: LedgerFile, name: str = "acme", *, webhook: bool = False) -> int:
    account_id = ledger.open_wallet(name)
    url, salt = ("https://example.com/hook", "salt") if webhook else (None, None)
    with ledger.database.transaction() as work:
        set_contact(work, account_id, Contact(f"{name}@example.com", url, salt))
    return account_id


def test_the_same_occasion_is_noted_once(ledger: LedgerFile) -> None:
    assert written(ledger, a_notice(), a_notice(), a_notice("two")) == [True, False, True]
    assert [one.notice.once for one in listed(ledger)] == ["two", "one"]


def test_a_notice_stands_only_if_what_it_tells_does(ledger: LedgerFile) -> None:
    def failing() -> None:
        with ledger.database.transaction() as work:
            note(work, a_notice())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert not listed(ledger)


def test_an_account_sees_its_own_notices_and_no_others(ledger: LedgerFile) -> None:
    acme, other = customer(ledger), customer(ledger, "other")
    written(ledger, a_notice("a", acme), a_notice("b", other), a_notice("c"))
    assert [one.notice for one in listed(ledger, acme)] == [a_notice("a", acme)]
    assert [one.notice.account_id for one in listed(ledger)] == [None]


def test_a_subject_is_one_line_and_both_texts_are_bounded(ledger: LedgerFile) -> None:
    subject = "Paid\r\nBcc: everybody@example.com\x00\u2028!" + "x" * 1000
    written(ledger, Notice("one", None, "test", subject, "y" * 10_000, {}, NOW_US))
    ((found, *_),) = [(one.notice,) for one in listed(ledger)]
    assert found.subject.startswith("Paid Bcc: everybody@example.com !")
    assert (len(found.subject), len(found.text)) == (SUBJECT_MAX, TEXT_MAX)


def test_a_notice_goes_every_way_its_reader_can_be_told_by(ledger: LedgerFile) -> None:
    acme = customer(ledger, webhook=True)
    written(ledger, a_notice("a", acme), a_notice("b"))
    ways = {(one.notice.once, one.channel): one.recipient for one in claimed(ledger)}
    assert set(ways) == {("a", "webhook"), ("a", "email"), ("b", "email")}
    assert ways["a", "webhook"] == Recipient(
        "acme", "acme@example.com", "https://example.com/hook", webhook_secret(MASTER, "salt")
    )
    assert ways["b", "email"] == OPERATOR.operator


def test_a_notice_to_nobody_is_kept_to_be_read(ledger: LedgerFile) -> None:
    acme = ledger.open_wallet("acme")
    written(ledger, a_notice("a", acme))
    assert not claimed(ledger)
    (found,) = listed(ledger, acme)
    assert found.routed
    assert not found.told


def test_what_is_claimed_is_nobody_elses_until_the_claim_runs_out(ledger: LedgerFile) -> None:
    written(ledger, a_notice())
    assert len(claimed(ledger)) == 1
    assert not claimed(ledger, NOW_US + CLAIM_US - 1)
    assert len(claimed(ledger, NOW_US + CLAIM_US)) == 1


def test_what_was_delivered_once_is_never_sent_again(ledger: LedgerFile) -> None:
    written(ledger, a_notice())
    (first,) = claimed(ledger)
    (late,) = claimed(ledger, NOW_US + CLAIM_US)  # Of a worker that believed the first dead.
    ended(ledger, first, SENT)
    ended(ledger, late, FAILED)
    assert not claimed(ledger, NOW_US + DAY_US)
    ((told,),) = [one.told for one in listed(ledger)]
    assert (told.state, told.attempts, told.answer) == ("delivered", 1, "answered 200")


def test_a_receiver_who_fails_is_tried_for_a_day_at_growing_distances(ledger: LedgerFile) -> None:
    written(ledger, a_notice())
    now_us, tries = NOW_US, [NOW_US]
    while True:
        (delivery,) = claimed(ledger, now_us)
        ended(ledger, delivery, FAILED, now_us)
        row = ledger.rows("SELECT next_try, state, attempts FROM deliveries")[0]
        if row[0] is None:
            break
        now_us = int(row[0])
        tries.append(now_us)
    waits = [(later - sooner) // SECOND_US for sooner, later in pairwise(tries)]
    assert waits[:5] == [10, 20, 40, 80, 160]
    assert set(waits[9:]) == {3600}
    assert row[1:] == ("given_up", len(tries))
    assert GIVE_UP_US - WAIT_MOST_US <= tries[-1] - NOW_US < GIVE_UP_US


def test_a_receiver_who_wants_no_more_is_not_tried_again(ledger: LedgerFile) -> None:
    written(ledger, a_notice())
    (delivery,) = claimed(ledger)
    ended(ledger, delivery, Outcome(delivered=False, answer="answered 410", final=True))
    assert ledger.rows("SELECT state, attempts, next_try FROM deliveries") == [("given_up", 1, None)]


@given(st.integers(1, 10**6), st.integers(0, 2 * GIVE_UP_US))
def test_a_next_try_is_later_and_within_the_day(attempts: int, after_us: int) -> None:
    at = next_try_us(a_notice(), attempts, NOW_US + after_us)
    assert at is None or NOW_US + after_us < at < NOW_US + GIVE_UP_US


def test_an_account_with_many_deliveries_does_not_hold_up_the_others(ledger: LedgerFile) -> None:
    acme, other = customer(ledger), customer(ledger, "other")
    written(ledger, *(a_notice(f"a{n}", acme) for n in range(50)), a_notice("b", other))
    found = [one.notice.account_id for one in claimed(ledger)]
    assert sorted(found, key=str) == [*[acme] * AT_ONCE_EACH, other]
    assert not claimed(ledger, busy=(acme, acme))
    assert len(claimed(ledger, busy=(acme,))) == 1
    assert not claimed(ledger, limit=0)


def test_one_accounts_mails_of_a_day_are_bounded(ledger: LedgerFile) -> None:
    acme = customer(ledger)
    written(ledger, *(a_notice(f"a{n}", acme) for n in range(A_DAY_MOST + 5)))
    claimed(ledger)
    claimed(ledger)  # Routed in two batches.
    assert ledger.rows("SELECT COUNT(*) FROM deliveries") == [(A_DAY_MOST,)]
    written(ledger, a_notice("tomorrow", acme, created_us=NOW_US + DAY_US))
    claimed(ledger, NOW_US + DAY_US)
    assert ledger.rows("SELECT COUNT(*) FROM deliveries") == [(A_DAY_MOST + 1,)]


def test_what_is_a_month_old_is_forgotten(ledger: LedgerFile) -> None:
    written(ledger, a_notice("old"), a_notice("new", created_us=NOW_US + 2))
    claimed(ledger)
    with ledger.database.transaction() as work:
        assert forget_old(work, NOW_US + KEEP_US) == 0
        assert forget_old(work, NOW_US + KEEP_US + 1) == 1
    assert [one.notice.once for one in listed(ledger)] == ["new"]
    assert ledger.rows("SELECT COUNT(*) FROM deliveries") == [(1,)]


def test_there_is_something_to_send_only_while_there_is(ledger: LedgerFile) -> None:
    def waiting(now_us: int = NOW_US) -> bool:
        with ledger.database.read() as view:
            return anything_to_send(view, now_us)

    assert not waiting()
    written(ledger, a_notice())
    assert waiting()
    (delivery,) = claimed(ledger)
    assert not waiting()
    ended(ledger, delivery, FAILED)
    assert waiting(NOW_US + 10 * SECOND_US)


def test_a_contact_is_kept_as_given_and_replaced_whole(ledger: LedgerFile) -> None:
    acme = ledger.open_wallet("acme")

    def kept() -> Contact:
        with ledger.database.read() as view:
            return find_contact(view, acme)

    assert kept() == Contact()
    whole = Contact("a@example.com", "https://example.com/hook?token=1", "salt", 5)
    for contact in (whole, Contact(low_balance_nano=7)):
        with ledger.database.transaction() as work:
            set_contact(work, acme, contact)
        assert kept() == contact


@pytest.mark.parametrize(
    "contact",
    [
        Contact("nobody"),
        Contact("a@example.com\nBcc: b@example.com"),
        Contact("a@example.com, b@example.com"),
        Contact("Ann <a@example.com>"),
        Contact("a@" + "x." * 200 + "com"),
        Contact(webhook_url="http://example.com/", webhook_salt="salt"),
        Contact(webhook_url="https://user:word@example.com/", webhook_salt="salt"),
        Contact(webhook_url="https://example.com/#part", webhook_salt="salt"),
        Contact(webhook_url="https://example.com/\r\nhost: other", webhook_salt="salt"),
        Contact(webhook_url="https://[::1", webhook_salt="salt"),
        Contact(webhook_url="https:///path", webhook_salt="salt"),
        Contact(webhook_url="https://example.com/" + "x" * 2000, webhook_salt="salt"),
        Contact(webhook_url="https://example.com/"),
        Contact(low_balance_nano=0),
    ],
    ids=lambda contact: repr(contact)[:60],
)
def test_what_nothing_can_be_sent_to_is_refused(ledger: LedgerFile, contact: Contact) -> None:
    acme = ledger.open_wallet("acme")
    with pytest.raises(ValueError), ledger.database.transaction() as work:
        set_contact(work, acme, contact)
    with ledger.database.read() as view:
        assert find_contact(view, acme) == Contact()


@given(st.text(max_size=80))
def test_no_address_that_passes_could_end_a_header(text: str) -> None:
    for check in (check_email, check_webhook):
        try:
            passed = check(text)
        except ValueError:
            continue
        assert passed == text
        assert not set(text) & set("\r\n\x00 \t")
        assert text.isascii()


def test_a_webhooks_secret_is_its_salts_alone_and_nowhere_on_disk(ledger: LedgerFile, tmp_path: Path) -> None:
    customer(ledger, webhook=True)
    secret = webhook_secret(MASTER, "salt")
    assert secret.startswith("whsec_")
    assert len({secret, webhook_secret(MASTER, "pepper"), webhook_secret(b"other", "salt")}) == 3
    assert all(secret[6:].encode() not in file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
