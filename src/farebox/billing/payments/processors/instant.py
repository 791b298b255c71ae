"""Payments that are paid as soon as they are asked for: what `manual` and `dev` have in common.

Nothing is remembered: a reference says by itself what was paid.
"""

from __future__ import annotations

from collections.abc import Mapping

from farebox.billing.payments.processors.processor import (
    Event,
    ForgedEventError,
    Order,
    Payment,
    PaymentState,
    ProcessorRefusedError,
    Refund,
    RefundOrder,
    RefundState,
    Started,
)

_PARTS = 4


class Instant:
    """A processor without anybody behind it. `name` opens its references."""

    listens = False

    def __init__(self, name: str, *, wants_reason: bool = False, declines: str | None = None) -> None:
        self._name = name
        self._wants_reason = wants_reason
        self._declines = (
            declines  # The saved method that is always declined, so that a decline can be tried out.
        )

    def start(self, order: Order) -> Started:
        """Paid."""
        if self._wants_reason and not (order.reason or "").strip():
            raise ProcessorRefusedError("say why: a payment by hand needs a reason")
        if order.method is not None and order.method == self._declines:
            raise ProcessorRefusedError("the saved method was declined")
        return Started(f"{self._name}:{order.id}:{order.total_nano}:{order.currency}")

    def look_up(self, reference: str) -> Payment | None:
        """What a reference says."""
        parts = reference.split(":")
        if len(parts) != _PARTS or parts[0] != self._name:
            return None
        return Payment(parts[1], reference, PaymentState.PAID, int(parts[2]), parts[3], reference)

    def refund(self, order: RefundOrder) -> Refund:
        """Given back."""
        return Refund(f"{self._name}:{order.id}", order.total_nano, RefundState.DONE, order.id)

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """Nobody sends events."""
        del body, headers
        raise ForgedEventError(f"{self._name} has no events")
