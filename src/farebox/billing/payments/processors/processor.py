"""The seam of payment processors: what the house asks of one, and what it answers.

A processor is asked from threads only, and never on the path of a call. Whatever an event says, its words are not
believed: it names a payment, and the processor is asked about that.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

import msgspec

WAIT_S = 20.0  # For one answer of a processor.
EVENT_WINDOW_S = 300  # How old the signature of an event may be.


class Order(msgspec.Struct, frozen=True):
    """What is to be paid. `id` is the top-up's: the key by which a processor knows a repeat."""

    id: str
    credit_nano: int
    tax_nano: int
    currency: str
    tax_name: str
    return_url: str
    expires_us: int
    reason: str | None = None
    method: str | None = None  # A saved way to pay, for a charge while its owner is away.
    keep_method: bool = False

    @property
    def total_nano(self) -> int:
        """What is charged in all."""
        return self.credit_nano + self.tax_nano


class Started(msgspec.Struct, frozen=True):
    """A payment that was begun. With an address, the payer finishes it there; without, ask for what became of it."""

    ref: str
    url: str | None = None


class PaymentState(Enum):
    """How far a payment is. Only PAID is money."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


class RefundState(Enum):
    """How far a refund is; PENDING will be DONE unless its bank refuses."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class DisputeState(Enum):
    """How far a dispute is; WON is what the seller won."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Refund(msgspec.Struct, frozen=True):
    """Money that a processor gave back to a payer. `ours` is our own id of it; None: made at its dashboard."""

    ref: str
    total_nano: int
    state: RefundState
    ours: str | None = None


class Dispute(msgspec.Struct, frozen=True):
    """Money that a payer's bank wants back."""

    ref: str
    total_nano: int
    state: DisputeState


class Payment(msgspec.Struct, frozen=True):
    """All that a processor says of one payment. `order_id` is our top-up's id as the processor kept it."""

    order_id: str
    ref: str
    state: PaymentState
    paid_nano: int = 0
    currency: str = ""
    payment_ref: str | None = None  # What refunds name.
    method: str | None = None
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()


class RefundOrder(msgspec.Struct, frozen=True):
    """A refund to be made; `id` is the key by which a processor knows a repeat."""

    id: str
    topup_id: str
    payment_ref: str
    total_nano: int
    currency: str


class Event(msgspec.Struct, frozen=True):
    """A signed event: its id, and what to ask the processor about. None: nothing of ours."""

    id: str
    reference: str | None


class ProcessorRefusedError(Exception):
    """The processor said no, for good: nothing was charged or refunded."""


class ProcessorAwayError(Exception):
    """The processor gave no usable answer: what was asked may have happened, so it must be asked again."""


class ForgedEventError(Exception):
    """An event without a good and fresh signature."""


class Processor(Protocol):
    """One way to be paid. Each method may raise ProcessorAwayError."""

    @property
    def listens(self) -> bool:
        """Whether it can tell a true event from a forged one; if not, it gets no address for them."""

    def start(self, order: Order) -> Started:
        """Begin a payment; a repeat is the same payment. With a saved method it is charged at once.

        ProcessorRefusedError if it cannot be.
        """

    def look_up(self, reference: str) -> Payment | None:
        """What became of a payment, by any reference that `start` or an event gave; None if there is none."""

    def refund(self, order: RefundOrder) -> Refund:
        """Give money back; a repeat is the same refund. ProcessorRefusedError if it cannot be."""

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """Check an event's signature over its raw body. ForgedEventError if it is not good."""


class Terms(msgspec.Struct, frozen=True):
    """What a processor is built from: its secrets by their names in the settings, and where it stands."""

    secrets: Mapping[str, str]
    api_base: str | None = None  # Instead of the processor's own address.
    public: bool = True  # The gateway can be reached from other machines.
