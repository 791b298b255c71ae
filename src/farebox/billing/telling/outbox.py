"""The outbox: who is told a notice by which way, and what became of each try.

A notice is routed once: a delivery is written for every way its reader can be told by. A delivery is claimed before
it is sent, by moving its next try ahead, so that no two workers send it at once; then it is delivered, tried again
later, or given up after a day. Whoever dies in between leaves a claim that runs out: then a receiver may see a notice
a second time, and knows it by its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from farebox.billing.telling.contacts import find_contact, webhook_secret
from farebox.billing.telling.notices import Notice, read_notice
from farebox.store.database import Transaction

_SECOND_US = 1_000_000
CLAIM_US = 120 * _SECOND_US  # More than any try may take.
FIRST_WAIT_US = 10 * _SECOND_US  # After it each wait is twice the last, up to an hour.
WAIT_MOST_US = 3_600 * _SECOND_US
DAY_US = 86_400 * _SECOND_US
GIVE_UP_US = DAY_US
KEEP_US = 30 * DAY_US
ROUTE_BATCH = 100
FORGET_BATCH = 500
A_DAY_MOST = (
    100  # Of one account's notices that are sent: a shop's mails must not become a flood for anybody.
)
AT_ONCE_EACH = 2  # Of one account's deliveries, so that a dead receiver does not keep the others waiting.
LOOK_AHEAD = 200
ANSWER_MAX = 200


class Recipient(msgspec.Struct, frozen=True):
    """Whom a notice is for. `name` is the account's, None for the operator, who alone may be on a private address."""

    name: str | None
    email: str | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = None
    private: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What came of one try; `answer` is for people and holds no secret. `final`: trying again is no use."""

    delivered: bool
    answer: str
    final: bool = False


class Channel(Protocol):
    """A way of telling."""

    def reaches(self, recipient: Recipient) -> bool:
        """Whether a recipient can be told this way."""

    async def send(self, recipient: Recipient, notice: Notice) -> Outcome:
        """Try once. Everything that may go wrong on the way is an outcome."""


class Delivery(msgspec.Struct, frozen=True):
    """A claimed delivery."""

    number: int  # The notice's.
    channel: str
    attempts: int  # Before this one.
    recipient: Recipient
    notice: Notice


class Directions(msgspec.Struct, frozen=True):
    """Where everybody is: the operator as settings say, customers as their contacts say."""

    operator: Recipient
    master: bytes  # What the secrets of customers' webhooks are made of.

    def find(self, view: Transaction, account_id: int | None) -> Recipient:
        """Whom a notice to an account, or with None to the operator, is for."""
        if account_id is None:
            return self.operator
        contact = find_contact(view, account_id)
        row = view.one("SELECT name FROM accounts WHERE id = ?", account_id)
        salt = contact.webhook_salt
        return Recipient(
            name=str(row[0]) if row else "",
            email=contact.email,
            webhook_url=contact.webhook_url,
            webhook_secret=webhook_secret(self.master, salt) if salt else None,
        )


# A few of each account, so that one with many does not hide the others.
_DUE = (
    "SELECT notice, channel, attempts, once, account_id, kind, subject, text, data, created FROM ("
    "SELECT d.notice, d.channel, d.attempts, d.next_try,"
    " n.once, n.account_id, n.kind, n.subject, n.text, n.data, n.created,"
    " ROW_NUMBER() OVER (PARTITION BY n.account_id ORDER BY d.next_try) AS place"
    " FROM deliveries d JOIN notices n ON n.n = d.notice WHERE d.next_try <= ?"
    ") AS waiting WHERE place <= ? ORDER BY next_try LIMIT ?"
)
_CLAIM = "UPDATE deliveries SET next_try = ? WHERE notice = ? AND channel = ? AND next_try <= ?"
_RECORD = (
    "UPDATE deliveries SET state = ?, attempts = ?, next_try = ?, answer = ?, changed = ?"
    " WHERE notice = ? AND channel = ? AND state = 'waiting'"
)


def anything_to_send(view: Transaction, now_us: int) -> bool:
    """Whether a notice waits to be routed, or a delivery is due."""
    return bool(
        view.one("SELECT n FROM notices WHERE routed IS NULL LIMIT 1")
        or view.one("SELECT notice FROM deliveries WHERE next_try <= ? LIMIT 1", now_us)
    )


def route_notices(
    work: Transaction, channels: Mapping[str, Channel], directions: Directions, now_us: int
) -> int:
    """Write the deliveries of new notices; the number of notices routed."""
    rows = work.all("SELECT n, account_id FROM notices WHERE routed IS NULL ORDER BY n LIMIT ?", ROUTE_BATCH)
    for row in rows:
        n, account_id = int(row[0] or 0), None if row[1] is None else int(row[1])
        work.run("UPDATE notices SET routed = ? WHERE n = ?", now_us, n)
        if account_id is not None and _routed_today(work, account_id, now_us) > A_DAY_MOST:
            continue
        recipient = directions.find(work, account_id)
        for name, channel in channels.items():
            if channel.reaches(recipient):
                work.run(
                    "INSERT INTO deliveries (notice, channel, state, next_try, changed)"
                    " VALUES (?, ?, 'waiting', ?, ?) ON CONFLICT (notice, channel) DO NOTHING",
                    *(n, name, now_us, now_us),
                )
    return len(rows)


def claim_due(
    work: Transaction, directions: Directions, busy: Sequence[int | None], limit: int, now_us: int
) -> list[Delivery]:
    """Claim deliveries that are due, few of each account; `busy` names the account of each that is under way."""
    under_way = list(busy)
    claimed: list[Delivery] = []
    for row in work.all(_DUE, now_us, AT_ONCE_EACH, LOOK_AHEAD):
        notice = read_notice(row[3:])
        if len(claimed) >= limit:
            break
        if under_way.count(notice.account_id) >= AT_ONCE_EACH:
            continue
        number, channel, attempts = int(row[0] or 0), str(row[1]), int(row[2] or 0)
        if work.run(_CLAIM, now_us + CLAIM_US, number, channel, now_us):
            under_way.append(notice.account_id)
            recipient = directions.find(work, notice.account_id)
            claimed.append(Delivery(number, channel, attempts, recipient, notice))
    return claimed


def record(work: Transaction, delivery: Delivery, outcome: Outcome, now_us: int) -> None:
    """Write down what came of a try, and when the next is due."""
    attempts = delivery.attempts + 1
    next_try = None if outcome.delivered or outcome.final else next_try_us(delivery.notice, attempts, now_us)
    state = "delivered" if outcome.delivered else "given_up" if next_try is None else "waiting"
    work.run(
        _RECORD,
        *(state, attempts, next_try, outcome.answer[:ANSWER_MAX], now_us),
        *(delivery.number, delivery.channel),
    )


def next_try_us(notice: Notice, attempts: int, now_us: int) -> int | None:
    """When to try again after so many attempts; None where that is a day or more after the notice was written."""
    # Doubling is bounded before it is done: attempts may have been many, and a shift is not.
    wait_us = min(FIRST_WAIT_US << min(attempts - 1, 20), WAIT_MOST_US)
    return now_us + wait_us if now_us + wait_us < notice.created_us + GIVE_UP_US else None


def forget_old(work: Transaction, now_us: int) -> int:
    """Delete notices that are KEEP_US old, with their deliveries; the number deleted, FORGET_BATCH at most."""
    old = work.all(
        "SELECT n FROM notices WHERE created < ? ORDER BY created LIMIT ?", now_us - KEEP_US, FORGET_BATCH
    )
    work.run_many("DELETE FROM deliveries WHERE notice = ?", old)
    work.run_many("DELETE FROM notices WHERE n = ?", old)
    return len(old)


def _routed_today(work: Transaction, account_id: int, now_us: int) -> int:
    row = work.one(
        "SELECT COUNT(*) FROM notices WHERE account_id = ? AND created > ? AND routed IS NOT NULL",
        *(account_id, now_us - DAY_US),
    )
    return int((row or (0,))[0] or 0)
