"""Booking a payment: what a processor says of it against what the books have, in one transaction.

One function for every occasion: an event, a poll, an administrator who asks. It books what is missing and nothing
else, so it may be called at any time, any number of times, in any order, by any number of workers. The amount that is
credited is that of our own row; what the processor says must equal it.
"""

from __future__ import annotations

import logging

import msgspec

from farebox.accounts.accounts import read_accounts, set_active
from farebox.billing.payments.auto_settings import note_result
from farebox.billing.payments.minor_units import payable_nano
from farebox.billing.payments.processors.processor import (
    Dispute,
    DisputeState,
    Payment,
    PaymentState,
    Refund,
    RefundState,
)
from farebox.billing.payments.rows import (
    OPEN,
    UNPAID,
    DisputeRow,
    RefundRow,
    Topup,
    find_dispute,
    find_refund,
    insert_dispute,
    insert_refund,
    lock_topup,
)
from farebox.billing.telling.notices import Notice, note
from farebox.core.money import ceil_div, write_nano
from farebox.ledger.moves import Booked, Clash, Move, move, take_back
from farebox.ledger.regain import regain
from farebox.ledger.rules import TransferKind, clearing_of
from farebox.store.database import Transaction

log = logging.getLogger("farebox")
_ENDED = {PaymentState.FAILED: "failed", PaymentState.EXPIRED: "expired"}


class Booking(msgspec.Struct):
    """What one look at a payment changed. `refunds` are those newly booked."""

    topup: Topup
    credited: bool = False
    moved: bool = False  # Money moved, this way or that.
    refunds: tuple[RefundRow, ...] = ()


def book_payment(work: Transaction, topup_id: str, payment: Payment, now_us: int) -> Booking:
    """Book what a payment has become since it was last looked at."""
    booking = Booking(lock_topup(work, topup_id, now_us))
    topup = booking.topup
    if payment.state is PaymentState.PAID and topup.status in UNPAID:
        _book_paid(work, booking, payment, now_us)
    elif payment.state in _ENDED and topup.status in OPEN and payment.ref == topup.processor_ref:
        end_unpaid(work, topup, _ENDED[payment.state], now_us)
    elif (
        topup.paid is not None
        and payment.state is PaymentState.PAID
        and payment.payment_ref != topup.payment_ref
    ):
        _tell_operator(work, topup, "topup_paid_twice", "was paid a second time: give it back", now_us)
        return booking
    if lock_topup(work, topup_id, now_us).paid is not None:
        for refund in payment.refunds:
            _book_refund(work, booking, refund, now_us)
        for dispute in payment.disputes:
            _book_dispute(work, booking, dispute, now_us)
    booking.topup = lock_topup(work, topup_id, now_us)
    return booking


def end_unpaid(work: Transaction, topup: Topup, status: str, now_us: int) -> None:
    """A top-up that nobody paid is over; should it be paid after all, it is credited still."""
    ended = work.run(
        "UPDATE topups SET status = ?, next_check = NULL, updated = ?"
        " WHERE id = ? AND status IN ('created', 'pending')",
        *(status, now_us, topup.id),
    )
    if ended and topup.automatic:
        note_result(work, topup.id, topup.account_id, paid=False, now_us=now_us)


def total_after(topup: Topup, credit_nano: int) -> int:
    """What of the total belongs to so much of the credit: in whole coins, rounded down, and all of it to all."""
    if credit_nano == topup.credit:
        return topup.total
    coin = payable_nano(topup.currency)
    return topup.total * credit_nano // topup.credit // coin * coin


def credit_after(topup: Topup, total_nano: int) -> int:
    """What of the credit belongs to so much of the total, rounded up, and all of it to all."""
    return min(ceil_div(topup.credit * total_nano, topup.total), topup.credit)


def take_refund(work: Transaction, topup: Topup, refund: RefundRow) -> None:
    """Write a refund down and count it."""
    insert_refund(work, refund)
    work.run(
        "UPDATE topups SET refunded = refunded + ?, refunded_total = refunded_total + ? WHERE id = ?",
        *(refund.credit, refund.total, topup.id),
    )
    settle_status(work, topup.id)


def undo_refund(work: Transaction, topup: Topup, refund: RefundRow, now_us: int) -> bool:
    """Put back what a refund took, for it was not made; False if that has been done."""
    undone = work.run(
        "UPDATE topup_refunds SET status = 'undone', next_check = NULL, updated = ?"
        " WHERE id = ? AND status <> 'undone'",
        *(now_us, refund.id),
    )
    if not undone:
        return False
    work.run(
        "UPDATE topups SET refunded = refunded - ?, refunded_total = refunded_total - ? WHERE id = ?",
        *(refund.credit, refund.total, topup.id),
    )
    if refund.taken:
        back = _move(
            topup,
            f"{refund.id}:undone",
            TransferKind.CORRECTION,
            refund.taken,
            reason="the refund was not made",
            now_us=now_us,
        )
        _must_stand(move(work, back))
    if refund.lost:
        regain(work, refund.id, f"{refund.id}:undone", reason="the refund was not made", created_us=now_us)
    settle_status(work, topup.id)
    _tell_operator(work, topup, f"refund_{refund.id}", "was not refunded: its processor refused", now_us)
    return True


def settle_status(work: Transaction, topup_id: str) -> None:
    """The status of a paid top-up follows from what has gone back."""
    work.run(
        "UPDATE topups SET status = CASE WHEN disputed > 0 THEN 'disputed' WHEN refunded = 0 THEN 'paid'"
        " WHEN refunded < credit THEN 'partly_refunded' ELSE 'refunded' END WHERE id = ? AND paid IS NOT NULL",
        topup_id,
    )


def _book_paid(work: Transaction, booking: Booking, payment: Payment, now_us: int) -> None:
    topup = booking.topup
    if (payment.paid_nano, payment.currency) != (topup.total, topup.currency):
        work.run(
            "UPDATE topups SET status = 'mismatch', next_check = NULL, payment_ref = ? WHERE id = ?",
            *(payment.payment_ref, topup.id),
        )
        said = f"{write_nano(payment.paid_nano)} {payment.currency}"
        why = f"was paid {said} instead of {write_nano(topup.total)} {topup.currency}, and was not credited"
        _tell_operator(work, topup, "topup_mismatch", why, now_us)
        if topup.automatic:
            note_result(work, topup.id, topup.account_id, paid=False, now_us=now_us)
        return
    _must_stand(
        move(
            work,
            _move(topup, topup.id, TransferKind.TOP_UP, topup.credit, reason=topup.reason, now_us=now_us),
        )
    )
    work.run(
        "UPDATE topups SET status = 'paid', paid = ?, next_check = NULL, payment_ref = ?,"
        " processor_ref = COALESCE(processor_ref, ?), method = COALESCE(?, method) WHERE id = ?",
        *(now_us, payment.payment_ref, payment.ref, payment.method, topup.id),
    )
    if topup.automatic:
        note_result(work, topup.id, topup.account_id, paid=True, now_us=now_us)
    booking.credited = booking.moved = True


def _book_refund(work: Transaction, booking: Booking, refund: Refund, now_us: int) -> None:
    topup = lock_topup(work, booking.topup.id, now_us)
    ours = None if refund.ours is None else find_refund(work, topup.id, id_=refund.ours)
    if ours is not None:
        _follow_refund(work, topup, ours, refund, now_us)
        return
    id_ = f"{topup.processor}:{refund.ref}"
    known = find_refund(work, topup.id, id_=id_)
    if known is not None:
        if refund.state is RefundState.FAILED:
            booking.moved |= undo_refund(work, topup, known, now_us)
        return
    total = min(refund.total_nano, topup.total - topup.refunded_total)
    if refund.state is RefundState.FAILED or total <= 0:
        return
    share = credit_after(topup, topup.refunded_total + total) - topup.refunded
    credit = max(min(share, topup.left_nano), 0)
    taken, lost = _take_back(
        work,
        _move(topup, id_, TransferKind.REFUND, -credit, reason="refunded by the processor", now_us=now_us),
    )
    row = RefundRow(
        id=id_,
        topup_id=topup.id,
        account_id=topup.account_id,
        processor_ref=refund.ref,
        status="done",
        credit=credit,
        total=total,
        taken=taken,
        lost=lost,
        reason="made at the processor",
        checks=0,
        next_check=None,
        created=now_us,
        updated=now_us,
    )
    take_refund(work, topup, row)
    booking.moved = True
    booking.refunds += (row,)


def _follow_refund(work: Transaction, topup: Topup, ours: RefundRow, refund: Refund, now_us: int) -> None:
    if refund.state is RefundState.FAILED:
        undo_refund(work, topup, ours, now_us)
    else:
        work.run(
            "UPDATE topup_refunds SET status = 'done', processor_ref = ?, next_check = NULL, updated = ?"
            " WHERE id = ? AND status = 'taken'",
            *(refund.ref, now_us, ours.id),
        )


def _book_dispute(work: Transaction, booking: Booking, dispute: Dispute, now_us: int) -> None:
    topup = lock_topup(work, booking.topup.id, now_us)
    id_ = f"{topup.processor}:{dispute.ref}"
    known = find_dispute(work, id_)
    if known is None and dispute.state is not DisputeState.WON:
        credit = min(credit_after(topup, min(dispute.total_nano, topup.total)), topup.left_nano)
        taken, lost = _take_back(
            work,
            _move(topup, id_, TransferKind.CORRECTION, -credit, reason="disputed payment", now_us=now_us),
        )
        row = DisputeRow(id_, topup.id, topup.account_id, "open", credit, taken, lost, now_us, now_us)
        insert_dispute(work, row)
        work.run("UPDATE topups SET disputed = disputed + ? WHERE id = ?", credit, topup.id)
        settle_status(work, topup.id)
        _suspend(work, topup, row, now_us)
        booking.moved = True
        known = row
    if known is None or known.status in (dispute.state.value, DisputeState.WON.value):
        return
    work.run(
        "UPDATE topup_disputes SET status = ?, updated = ? WHERE id = ?", dispute.state.value, now_us, id_
    )
    if dispute.state is DisputeState.WON:
        _give_back(work, topup, known, now_us)
        booking.moved = True


def _give_back(work: Transaction, topup: Topup, dispute: DisputeRow, now_us: int) -> None:
    """A dispute that was won: what was taken goes back, what was lost is none any more."""
    id_ = f"{dispute.id}:won"
    if dispute.taken:
        back = _move(
            topup, id_, TransferKind.CORRECTION, dispute.taken, reason="the dispute was won", now_us=now_us
        )
        _must_stand(move(work, back))
    if dispute.lost:
        regain(work, dispute.id, id_, reason="the dispute was won", created_us=now_us)
    work.run("UPDATE topups SET disputed = disputed - ? WHERE id = ?", dispute.credit, topup.id)
    settle_status(work, topup.id)
    why = "had a dispute that was won: its credit is back. The account stays closed until it is enabled"
    _tell_operator(work, topup, f"dispute_won_{dispute.id}", why, now_us)


def _suspend(work: Transaction, topup: Topup, dispute: DisputeRow, now_us: int) -> None:
    (account,) = read_accounts(work, "WHERE id = ?", topup.account_id)
    if account.active:
        set_active(work, account, active=False)
    why = (
        f"is disputed by its payer. {write_nano(dispute.taken)} {topup.currency} were taken back,"
        f" {write_nano(dispute.lost)} are lost; the account {account.name} is closed to calls"
    )
    _tell_operator(work, topup, f"dispute_{dispute.id}", why, now_us)
    note(
        work,
        Notice(
            f"dispute:{dispute.id}:customer",
            topup.account_id,
            "payment_disputed",
            "A payment is disputed",
            f"Your bank disputes the payment of {write_nano(topup.total)} {topup.currency} (top-up {topup.id})."
            " Its credit was taken back and the account is closed to calls until this is settled.",
            {"topup": topup.id},
            now_us,
        ),
    )


def _take_back(work: Transaction, transfer: Move) -> tuple[int, int]:
    """Take back what is there; what was taken, and what was lost."""
    if not transfer.change_nano:
        return 0, 0
    result = take_back(work, transfer)
    assert not isinstance(result, Clash), f"{transfer.id} is the id of something else"
    return result.taken_nano, result.lost_nano


def _move(
    topup: Topup, id_: str, kind: TransferKind, change_nano: int, *, reason: str | None, now_us: int
) -> Move:
    return Move(
        id_,
        topup.account_id,
        kind,
        change_nano,
        topup.currency,
        reason,
        now_us,
        other=clearing_of(topup.processor),
    )


def _must_stand(result: object) -> None:
    """A credit stands, or the transaction is undone: its wallet is full beyond what a ledger holds, or a bug is."""
    assert isinstance(result, Booked), f"a credit was not booked: {result}"


def _tell_operator(work: Transaction, topup: Topup, kind: str, why: str, now_us: int) -> None:
    log.warning("top-up %s %s", topup.id, why)
    note(
        work,
        Notice(
            f"topup:{topup.id}:{kind}",
            None,
            "payment_problem",
            f"Top-up {topup.id}: look at it",
            f"Top-up {topup.id} of account {topup.account_id} by {topup.processor} {why}.",
            {"topup": topup.id, "account_id": str(topup.account_id), "processor": topup.processor},
            now_us,
        ),
    )
