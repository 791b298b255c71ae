"""`razorpay`: UPI, cards and more by Razorpay's own library, through its Payment Links.

A Payment Link is an order with a page of Razorpay's own, so that a redirect is all it takes. Creating one twice is
refused by its `reference_id`, which is our top-up's id; the one that stands is then found by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from farebox.billing.payments.minor_units import from_minor, to_minor
from farebox.billing.payments.processors.processor import (
    WAIT_S,
    Dispute,
    DisputeState,
    Event,
    ForgedEventError,
    Order,
    Payment,
    PaymentState,
    Processor,
    ProcessorAwayError,
    ProcessorRefusedError,
    Refund,
    RefundOrder,
    RefundState,
    Started,
    Terms,
)

Answer = TypeVar("Answer")
_LINK, _PAYMENT, _DISPUTE = "plink_", "pay_", "disp_"
# Events that may mean money, and the part of their payload that names what to ask about.
_EVENTS = {
    "payment_link.paid": "payment_link",
    "payment_link.expired": "payment_link",
    "payment_link.cancelled": "payment_link",
    "order.paid": "payment",
    "payment.captured": "payment",
    "payment.failed": "payment",
    "refund.created": "payment",
    "refund.processed": "payment",
    "refund.failed": "payment",
    "payment.dispute.created": "dispute",
    "payment.dispute.won": "dispute",
    "payment.dispute.lost": "dispute",
    "payment.dispute.closed": "dispute",
}
# A payment that failed leaves its link open: the payer may try again.
_LINK_STATES = {"expired": PaymentState.EXPIRED, "cancelled": PaymentState.FAILED}
_REFUND_STATES = {"processed": RefundState.DONE, "failed": RefundState.FAILED}
_DISPUTE_STATES = {"won": DisputeState.WON, "lost": DisputeState.LOST}
_MICRO = 1_000_000

# Notes are a list where there are none.
_Notes = dict[str, str] | list[str]


class _Thing(msgspec.Struct):
    id: str = ""


class _Part(msgspec.Struct):
    entity: _Thing


class _Event(msgspec.Struct):
    event: str
    payload: dict[str, _Part] = {}


class _LinkPayment(msgspec.Struct):
    payment_id: str
    status: str = ""


class _Link(msgspec.Struct):
    id: str
    status: str
    reference_id: str | None = None
    short_url: str | None = None
    order_id: str | None = None
    payments: list[_LinkPayment] | None = None


class _Links(msgspec.Struct):
    payment_links: list[_Link] = []


class _Payment(msgspec.Struct):
    id: str
    amount: int
    currency: str
    captured: bool | None = None


class _Payments(msgspec.Struct):
    items: list[_Payment] = []


class _Refund(msgspec.Struct):
    id: str
    amount: int
    currency: str
    status: str = ""
    notes: _Notes | None = None


class _Refunds(msgspec.Struct):
    items: list[_Refund] = []


class _Dispute(msgspec.Struct):
    id: str
    payment_id: str
    amount: int
    currency: str
    status: str


class Razorpay:
    """Razorpay with one account's keys."""

    def __init__(self, terms: Terms) -> None:
        self._keys = (terms.secrets["key_id"], terms.secrets["key_secret"])
        self._webhook_secret = terms.secrets.get("webhook_secret", "")
        self._options = {"base_url": terms.api_base} if terms.api_base else {}

    @property
    def listens(self) -> bool:
        """Only with a secret: with an empty one, everybody could sign."""
        return bool(self._webhook_secret.strip())

    def start(self, order: Order) -> Started:
        """A Payment Link."""
        if order.method is not None:
            raise ProcessorRefusedError("charges of a saved method are not available with razorpay")
        link = {
            "amount": to_minor(order.total_nano, order.currency),
            "currency": order.currency,
            "accept_partial": False,
            "reference_id": order.id,
            "description": "Wallet top-up",
            "notify": {"sms": False, "email": False},
            "reminder_enable": False,
            "notes": {"topup": order.id},
            "callback_url": order.return_url,
            "callback_method": "get",
            "expire_by": order.expires_us // _MICRO,
        }
        try:
            made = self._ask(lambda client: client.payment_link.create(link, timeout=WAIT_S), _Link)
        except ProcessorRefusedError:
            standing = self._find_link(reference_id=order.id)
            if standing is None or standing.reference_id != order.id:
                raise
            made = standing
        return Started(made.id, made.short_url)

    def look_up(self, reference: str) -> Payment | None:
        """A Payment Link with its payment: by its own id, its payment's or a dispute's."""
        try:
            if reference.startswith(_DISPUTE):
                return self._of_dispute(reference)
            if reference.startswith(_PAYMENT):
                link = self._find_link(payment_id=reference)
                return None if link is None else self._of_link(link)
            if reference.startswith(_LINK):
                fetch = self._ask(lambda client: client.payment_link.fetch(reference, timeout=WAIT_S), _Link)
                return self._of_link(fetch)
        except ProcessorRefusedError:
            return None
        return None

    def refund(self, order: RefundOrder) -> Refund:
        """A refund of a payment. What was refused is looked for first: a repeat may be refused as one."""
        headers = {"X-Refund-Idempotency": order.id}
        body = {
            "amount": to_minor(order.total_nano, order.currency),
            "notes": {"topup": order.topup_id, "refund": order.id},
            "receipt": order.id,
        }
        try:
            return _refund(
                self._ask(
                    lambda client: client.payment.refund(
                        order.payment_ref, body, headers=headers, timeout=WAIT_S
                    ),
                    _Refund,
                )
            )
        except ProcessorRefusedError:
            made = [one for one in self._refunds(order.payment_ref) if one.ours == order.id]
            if not made:
                raise
            return made[0]

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """`X-Razorpay-Signature`, by the library's own check.

        It signs the body alone, and a delivery that is tried again a day later has the same one: so an old event is
        no proof of anything but that there is something to ask about, which is all that any event is here. Its id is
        the body's digest, for the header with an id is not signed.
        """
        library = self._library
        try:
            library.utility.Utility().verify_webhook_signature(
                body.decode(), headers.get("x-razorpay-signature", ""), self._webhook_secret
            )
            event = msgspec.json.decode(body, type=_Event)
        except (
            *(library.errors.SignatureVerificationError, UnicodeDecodeError, TypeError, msgspec.MsgspecError),
        ) as error:
            raise ForgedEventError("the signature is not good") from error
        part = event.payload.get(_EVENTS.get(event.event, ""))
        return Event(hashlib.sha256(body).hexdigest(), (part.entity.id or None) if part else None)

    @cached_property
    def _library(self) -> ModuleType:
        return import_module("razorpay")

    def _ask(self, question: Callable[[Any], Any], kind: type[Answer]) -> Answer:
        """Ask on a session of our own, for a session is one thread's, and read the answer as what it must be."""
        library, requests = self._library, import_module("requests")
        with requests.Session() as session:
            client = library.Client(session=session, auth=self._keys, **self._options)
            try:
                return msgspec.convert(question(client), kind)
            except library.errors.BadRequestError as error:
                raise ProcessorRefusedError("refused") from error
            except (
                *(library.errors.GatewayError, library.errors.ServerError),
                *(requests.RequestException, msgspec.MsgspecError, AttributeError),
            ) as error:
                raise ProcessorAwayError(f"razorpay: {type(error).__name__}") from error

    def _find_link(self, **which: str) -> _Link | None:
        found = self._ask(lambda client: client.payment_link.all(which, timeout=WAIT_S), _Links)
        return found.payment_links[0] if found.payment_links else None

    def _of_link(self, link: _Link) -> Payment:
        order_id = link.reference_id or ""
        state = _LINK_STATES.get(link.status, PaymentState.PENDING)
        if link.status != "paid":
            return Payment(order_id, link.id, state)
        paid = self._captured(link)
        if paid is None:
            return Payment(order_id, link.id, PaymentState.PENDING)
        return Payment(
            order_id,
            link.id,
            PaymentState.PAID,
            from_minor(paid.amount, paid.currency),
            paid.currency,
            paid.id,
            refunds=tuple(self._refunds(paid.id)),
        )

    def _captured(self, link: _Link) -> _Payment | None:
        """The payment that paid a link: those that failed before it stand there as well."""
        for one in link.payments or ():
            paid = self._payment(one.payment_id) if one.status == "captured" else None
            if paid is not None and paid.captured:
                return paid
        if link.order_id is None:
            return None
        of_order = self._ask(lambda client: client.order.payments(link.order_id, timeout=WAIT_S), _Payments)
        return next((one for one in of_order.items if one.captured), None)

    def _payment(self, id_: str) -> _Payment:
        return self._ask(lambda client: client.payment.fetch(id_, timeout=WAIT_S), _Payment)

    def _of_dispute(self, reference: str) -> Payment | None:
        dispute = self._ask(lambda client: client.dispute.fetch(reference, timeout=WAIT_S), _Dispute)
        link = self._find_link(payment_id=dispute.payment_id)
        if link is None:
            return None
        total_nano = from_minor(dispute.amount, dispute.currency)
        # "closed" took nothing in the end, as far as the seller goes: as if it had been won.
        state = {**_DISPUTE_STATES, "closed": DisputeState.WON}.get(dispute.status, DisputeState.OPEN)
        return msgspec.structs.replace(
            self._of_link(link), disputes=(Dispute(dispute.id, total_nano, state),)
        )

    def _refunds(self, payment_id: str) -> list[Refund]:
        which = {"count": 100}
        found = self._ask(
            lambda client: client.payment.fetch_multiple_refund(payment_id, which, timeout=WAIT_S), _Refunds
        )
        return [_refund(one) for one in found.items]


def build_razorpay(terms: Terms) -> Processor:
    """The processor."""
    return Razorpay(terms)


def _refund(refund: _Refund) -> Refund:
    notes = refund.notes if isinstance(refund.notes, dict) else {}
    return Refund(
        refund.id,
        from_minor(refund.amount, refund.currency),
        _REFUND_STATES.get(refund.status, RefundState.PENDING),
        notes.get("refund"),
    )
