"""Top-ups: from a customer's wish to credit in a wallet, exactly once.

    start    row written ─ processor asked, with the row's id as its key ─ its reference written: pending
    event    signature good ─ processor asked about what the event names ─ booked
    poll     what is pending longer than a minute ─ processor asked ─ booked; over after a day
    refund   money out of the wallet ─ processor asked, with the refund's id as its key ─ done, or put back

Between any two steps the process may die: the row that stands is taken up by the poll, and booking is idempotent.
Everything here waits for processors and belongs in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec

from farebox.billing.payments.booking import (
    Booking,
    book_payment,
    end_unpaid,
    settle_status,
    take_refund,
    total_after,
    undo_refund,
)
from farebox.billing.payments.minor_units import check_payable, tax_nano
from farebox.billing.payments.processors import PROCESSORS
from farebox.billing.payments.processors.processor import (
    Event,
    Payment,
    Processor,
    ProcessorAwayError,
    ProcessorRefusedError,
    Refund,
    RefundOrder,
    RefundState,
)
from farebox.billing.payments.rows import (
    LIFE_US,
    OPEN,
    RefundRow,
    Topup,
    claim_check,
    count_open,
    due_refunds,
    due_topups,
    event_is_known,
    find_by_reference,
    find_refund,
    find_topup,
    insert_topup,
    lock_topup,
    note_event,
    refunds_of,
)
from farebox.billing.payments.rules import RULES
from farebox.billing.telling.notices import Notice, note
from farebox.core.clock import Clock, Ids
from farebox.core.errors import Fault, Kind
from farebox.core.money import write_nano
from farebox.ledger.moves import Booked, Move, Short, move
from farebox.ledger.rules import TransferKind, clearing_of
from farebox.store.database import Database, Transaction

__all__ = ["RULES", "Pricing", "Topups", "Wish", "refunds_in"]

log = logging.getLogger("farebox")
_MINUTE_US = 60 * 1_000_000
CHECK_AFTER_US = _MINUTE_US  # An event usually comes within seconds.
CHECK_EVERY_MOST_US = 60 * _MINUTE_US
CHECKS_AT_ONCE = 20  # In one turn of the duty: each may wait for its processor.
RETRY_US = (
    LIFE_US - 60 * _MINUTE_US
)  # Processors forget keys after a day: then a repeat would be a second charge.
OPEN_MOST = 20  # Top-ups of one account that wait to be paid.
REASON_MAX = 500


class Pricing(msgspec.Struct, frozen=True):
    """What may be paid, and the tax on top of it."""

    currency: str
    minimum_nano: int
    maximum_nano: int
    tax_basis_points: int = 0
    tax_name: str = ""


class Wish(msgspec.Struct, frozen=True):
    """A top-up that somebody wants. `processor` None: the first that customers may choose."""

    account_id: int
    amount_nano: int
    return_url: str
    processor: str | None = None
    reason: str | None = None
    keep_method: bool = False
    by_operator: bool = False
    method: str | None = None  # A saved method to charge at once, while its owner is away.
    id: str | None = None  # Under which a repeat of the same wish is the same top-up; None: a new one.


def _ignore(work: Transaction, booking: Booking) -> None:
    """Nobody wants to know."""


class Topups:
    """Everything that may be done with top-ups. `booked` is called in the transaction that moved money."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        processors: Mapping[str, Processor],
        pricing: Pricing,
        *,
        booked: Callable[[Transaction, Booking], object] = _ignore,
    ) -> None:
        self.processors = processors
        self.pricing = pricing
        self._database = database
        self._clock = clock
        self._ids = ids
        self._booked = booked

    def start(self, wish: Wish) -> Topup:
        """Begin a top-up. Fault BAD_REQUEST, TOO_FAST or PROVIDER_ERROR says why not."""
        with self._database.transaction() as work:
            known = None if wish.id is None else find_topup(work, wish.id, wish.account_id)
            topup = known or self.write_down(work, wish)
        return topup if topup.processor_ref else self.begin(topup)

    def write_down(self, work: Transaction, wish: Wish) -> Topup:
        """The first step of a top-up: its row, before anybody outside hears of it. Fault as for `start`."""
        name = self._chosen(wish)
        self._check_amount(wish)
        if not wish.by_operator and count_open(work, wish.account_id) >= OPEN_MOST:
            raise Fault(
                Kind.TOO_FAST,
                f"{OPEN_MOST} top-ups of this account wait to be paid. Pay one of them, or try again later.",
                code="too_many_topups",
                retry_after_s=60,
            )
        pricing, now_us = self.pricing, self._clock.now_us()
        tax = tax_nano(wish.amount_nano, pricing.tax_basis_points, pricing.currency)
        topup = Topup(
            id=wish.id or self._ids.new(),
            account_id=wish.account_id,
            processor=name,
            processor_ref=None,
            payment_ref=None,
            status="created",
            credit=wish.amount_nano,
            tax=tax,
            total=wish.amount_nano + tax,
            currency=pricing.currency,
            tax_name=pricing.tax_name if tax else "",
            url=None,
            return_url=wish.return_url,
            reason=wish.reason and wish.reason[:REASON_MAX],
            method=wish.method,
            automatic=wish.method is not None,
            keep_method=wish.keep_method,
            refunded=0,
            refunded_total=0,
            disputed=0,
            checks=0,
            next_check=now_us + CHECK_AFTER_US,
            paid=None,
            created=now_us,
            updated=now_us,
        )
        insert_topup(work, topup)
        return topup

    def begin(self, topup: Topup) -> Topup:
        """The second step: ask the processor. May be repeated; the processor knows the top-up by its id."""
        try:
            started = self.processors[topup.processor].start(topup.order())
        except (ProcessorRefusedError, ValueError) as error:
            with self._database.transaction() as work:
                end_unpaid(work, topup, "failed", self._clock.now_us())
            raise Fault(
                Kind.BAD_REQUEST, f"The payment could not be started: {error}.", code="payment_refused"
            ) from error
        except ProcessorAwayError as error:
            raise _away() from error
        with self._database.transaction() as work:
            work.run(
                "UPDATE topups SET processor_ref = ?, url = ?, updated = ?,"
                " status = CASE WHEN status = 'created' THEN 'pending' ELSE status END WHERE id = ?",
                *(started.ref, started.url, self._clock.now_us(), topup.id),
            )
            topup = _get(work, topup.id)
        return topup if started.url else self.check(topup.id)

    def check(self, topup_id: str) -> Topup:
        """Ask the processor what became of a top-up, and book it. Fault NOT_FOUND or PROVIDER_ERROR."""
        with self._database.read() as view:
            topup = find_topup(view, topup_id)
        if topup is None:
            raise Fault(Kind.NOT_FOUND, "There is no such top-up.", code="topup_not_found")
        if topup.processor_ref is None or topup.processor not in self.processors:
            return topup
        try:
            payment = self.processors[topup.processor].look_up(topup.processor_ref)
        except ProcessorAwayError as error:
            raise _away() from error
        return topup if payment is None else self._book(topup.id, payment, None).topup

    def hear(self, name: str, event: Event) -> bool:
        """Act on a signed event: ask its processor about what it names. False if it is nothing of ours, or no news.

        ProcessorAwayError if it must be sent again.
        """
        if event.reference is None:
            return False
        with self._database.read() as view:
            if event_is_known(view, name, event.id):
                return False
        payment = self._look_up(name, event.reference)
        if payment is None:
            return False
        with self._database.read() as view:
            topup = find_topup(view, payment.order_id) or find_by_reference(view, name, payment.ref)
        if topup is None or topup.processor != name:
            return False
        # A payment has several names; what the top-up was started as says how far the whole of it is.
        if topup.processor_ref not in {None, payment.ref}:
            payment = self._look_up(name, topup.processor_ref or "") or payment
        return self._book(topup.id, payment, event).moved

    def refund(self, topup_id: str, amount_nano: int, reason: str) -> RefundRow:
        """Give credit back to its payer, with its share of the tax. Fault BAD_REQUEST or NOT_FOUND.

        A refund whose processor is away stays `taken` and is asked for again by the poll.
        """
        with self._database.transaction() as work:
            row = self._take_for_refund(work, topup_id, amount_nano, reason)
        try:
            self._ask_refund(row)
        except ProcessorAwayError:
            log.warning("refund %s waits: its processor gives no answer", row.id)
        with self._database.read() as view:
            found = find_refund(view, topup_id, id_=row.id)
        assert found is not None
        return found

    def resolve_due(self) -> int:
        """A duty: ask about what waits, a bounded number at a time, each ever more rarely; how many were asked."""
        now_us = self._clock.now_us()
        with self._database.read() as view:
            topups = due_topups(view, now_us, CHECKS_AT_ONCE)
            refunds = due_refunds(view, now_us, CHECKS_AT_ONCE)
        mine = [one for one in topups if self._claim("topups", one, now_us)]
        owed = [one for one in refunds if self._claim("topup_refunds", one, now_us)]
        for topup in mine:
            self._resolve(topup, now_us)
        for refund in owed:
            self._resolve_refund(refund, now_us)
        return len(mine) + len(owed)

    def _chosen(self, wish: Wish) -> str:
        """The processor of a wish."""
        may = [name for name in self.processors if wish.by_operator or PROCESSORS[name].for_customers]
        if not may:
            raise Fault(
                Kind.NOT_FOUND, "There is no way to pay here. Ask the operator.", code="payments_are_off"
            )
        name = wish.processor or may[0]
        if name not in may:
            raise Fault(Kind.BAD_REQUEST, f"processor must be one of: {', '.join(may)}.", param="processor")
        return name

    def _check_amount(self, wish: Wish) -> None:
        pricing = self.pricing
        if not wish.by_operator and not pricing.minimum_nano <= wish.amount_nano <= pricing.maximum_nano:
            least, most = write_nano(pricing.minimum_nano), write_nano(pricing.maximum_nano)
            raise Fault(
                Kind.BAD_REQUEST, f"amount must be from {least} to {most} {pricing.currency}.", param="amount"
            )
        try:
            check_payable(wish.amount_nano, pricing.currency)
        except ValueError as error:
            raise Fault(Kind.BAD_REQUEST, f"amount: {error}.", param="amount") from error
        if wish.amount_nano <= 0:
            raise Fault(Kind.BAD_REQUEST, "amount must be more than 0.", param="amount")

    def _look_up(self, name: str, reference: str) -> Payment | None:
        return self.processors[name].look_up(reference)

    def _book(self, topup_id: str, payment: Payment, event: Event | None) -> Booking:
        with self._database.transaction() as work:
            now_us = self._clock.now_us()
            booking = book_payment(work, topup_id, payment, now_us)
            if booking.moved:
                if event is not None:
                    note_event(work, booking.topup.processor, event.id, topup_id, now_us)
                self._booked(work, booking)
        return booking

    def _claim(self, table: str, row: Topup | RefundRow, now_us: int) -> bool:
        wait_us = min(_MINUTE_US << min(row.checks, 10), CHECK_EVERY_MOST_US)
        with self._database.transaction() as work:
            return claim_check(work, table, row, now_us + wait_us)

    def _resolve(self, topup: Topup, now_us: int) -> None:
        try:
            if topup.processor_ref is not None:
                topup = self.check(topup.id)
            elif topup.processor in self.processors and now_us - topup.created < RETRY_US:
                topup = self.begin(topup)  # It died before it knew the answer: the same key, the same answer.
        except Fault as fault:
            log.warning("top-up %s could not be resolved: %s", topup.id, fault.message)
            return
        if now_us - topup.created >= LIFE_US or topup.status not in OPEN:
            with self._database.transaction() as work:
                end_unpaid(work, topup, "expired", now_us)
                work.run("UPDATE topups SET next_check = NULL WHERE id = ?", topup.id)

    def _take_for_refund(self, work: Transaction, topup_id: str, amount_nano: int, reason: str) -> RefundRow:
        """Take the money out of the wallet, before the processor hears of it."""
        if find_topup(work, topup_id) is None:
            raise Fault(Kind.NOT_FOUND, "There is no such top-up.", code="topup_not_found")
        now_us = self._clock.now_us()
        topup = lock_topup(work, topup_id, now_us)
        if topup.status not in {"paid", "partly_refunded"} or topup.processor not in self.processors:
            raise _no_refund(f"A top-up that is {topup.status} cannot be refunded.")
        if not 0 < amount_nano <= topup.left_nano:
            raise _no_refund(f"Of this top-up, at most {write_nano(topup.left_nano)} can be refunded.")
        total = total_after(topup, topup.refunded + amount_nano) - topup.refunded_total
        if total <= 0:
            raise _no_refund("That is less than can be paid out.")
        row = RefundRow(
            id=self._ids.new(),
            topup_id=topup.id,
            account_id=topup.account_id,
            processor_ref=None,
            status="taken",
            credit=amount_nano,
            total=total,
            taken=amount_nano,
            lost=0,
            reason=reason[:REASON_MAX],
            checks=0,
            next_check=now_us + CHECK_AFTER_US,
            created=now_us,
            updated=now_us,
        )
        other = clearing_of(topup.processor)
        out = Move(
            row.id,
            topup.account_id,
            TransferKind.REFUND,
            -amount_nano,
            topup.currency,
            row.reason,
            now_us,
            other,
        )
        result = move(work, out)
        if isinstance(result, Short):
            raise _no_refund(
                f"The wallet has {write_nano(result.available_nano)} free, less than is to be refunded."
            )
        assert result == Booked(new=True)
        take_refund(work, topup, row)
        self._booked(work, Booking(_get(work, topup.id), moved=True, refunds=(row,)))
        return row

    def _ask_refund(self, row: RefundRow) -> None:
        """Ask the processor for a refund, and note its answer; a repeat is the same refund."""
        with self._database.read() as view:
            topup = _get(view, row.topup_id)
        assert topup.payment_ref is not None
        order = RefundOrder(row.id, topup.id, topup.payment_ref, row.total, topup.currency)
        try:
            refund = self.processors[topup.processor].refund(order)
        except ProcessorRefusedError:
            refund = Refund("", row.total, RefundState.FAILED, row.id)
        with self._database.transaction() as work:
            now_us = self._clock.now_us()
            topup = lock_topup(work, topup.id, now_us)
            if refund.state is RefundState.FAILED:
                undo_refund(work, topup, row, now_us)
            else:
                work.run(
                    "UPDATE topup_refunds SET status = 'done', processor_ref = ?, next_check = NULL, updated = ?"
                    " WHERE id = ? AND status = 'taken'",
                    *(refund.ref, now_us, row.id),
                )
                settle_status(work, topup.id)

    def _resolve_refund(self, row: RefundRow, now_us: int) -> None:
        try:
            self.check(row.topup_id)
            with self._database.read() as view:
                now = find_refund(view, row.topup_id, id_=row.id)
            if now is None or now.status != "taken":
                return
            if now_us - row.created < RETRY_US:
                self._ask_refund(now)
                return
        except (Fault, ProcessorAwayError) as error:
            log.warning("refund %s could not be resolved: %s", row.id, error)
            if now_us - row.created < RETRY_US:
                return
        with self._database.transaction() as work:
            work.run("UPDATE topup_refunds SET next_check = NULL WHERE id = ? AND status = 'taken'", row.id)
            text = (
                f"The processor gave no answer to refund {row.id} of top-up {row.topup_id} for a day. Look at its"
                " dashboard: if it is there, run `farebox topups check` with the top-up's id."
            )
            data = {"topup": row.topup_id, "refund": row.id}
            subject = f"Refund {row.id}: look at it"
            note(work, Notice(f"refund:{row.id}:lost", None, "payment_problem", subject, text, data, now_us))


def refunds_in(database: Database, topup_id: str) -> list[RefundRow]:
    """Every refund of a top-up."""
    with database.read() as view:
        return refunds_of(view, topup_id)


def _get(view: Transaction, topup_id: str) -> Topup:
    topup = find_topup(view, topup_id)
    assert topup is not None
    return topup


def _away() -> Fault:
    return Fault(
        Kind.PROVIDER_ERROR,
        "The payment processor gives no answer. Nothing is lost: try again shortly.",
        code="processor_unavailable",
        retry_after_s=5,
    )


def _no_refund(message: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, message)
