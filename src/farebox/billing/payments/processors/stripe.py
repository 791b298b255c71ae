"""`stripe`: cards and more by Stripe's own library, through its Checkout page; saved cards by PaymentIntents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from farebox.billing.payments.minor_units import from_minor, to_minor
from farebox.billing.payments.processors.processor import (
    EVENT_WINDOW_S,
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
# Stripe counts these in hundredths although they have none: https://docs.stripe.com/currencies#special-cases
_DECIMALS = {"ISK": 2, "UGX": 2}
_LIST_MAX = 100  # Refunds or disputes of one payment.
# Events that may mean money, and the member of their object that names the payment.
_EVENTS = {
    "checkout.session.completed": "id",
    "checkout.session.async_payment_succeeded": "id",
    "checkout.session.async_payment_failed": "id",
    "checkout.session.expired": "id",
    "payment_intent.succeeded": "id",
    "payment_intent.payment_failed": "id",
    "charge.refunded": "payment_intent",
    "refund.updated": "payment_intent",
    "refund.failed": "payment_intent",
    "charge.dispute.created": "payment_intent",
    "charge.dispute.closed": "payment_intent",
}
_SESSION = "cs_"
_INTENT = "pi_"
_REFUND_STATES = {"succeeded": RefundState.DONE, "failed": RefundState.FAILED, "canceled": RefundState.FAILED}
# An inquiry ("warning_…") takes no money, nor does what was prevented: they are no disputes yet.
_DISPUTE_STATES = {
    "needs_response": DisputeState.OPEN,
    "under_review": DisputeState.OPEN,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
}
_INTENT_STATES = {
    "succeeded": PaymentState.PAID,
    "canceled": PaymentState.FAILED,
    "requires_payment_method": PaymentState.FAILED,
    "requires_action": PaymentState.FAILED,  # Of a charge without its owner: nobody is there to act.
}
_SESSION_STATES = {"expired": PaymentState.EXPIRED}


class _Named(msgspec.Struct):
    id: str = ""
    payment_intent: str | None = None


class _Data(msgspec.Struct):
    object: _Named


class _Event(msgspec.Struct):
    id: str
    type: str
    data: _Data


class _Intent(msgspec.Struct):
    id: str
    status: str
    currency: str
    amount_received: int = 0
    metadata: dict[str, str] = {}
    customer: str | None = None
    payment_method: str | None = None
    setup_future_usage: str | None = None


class _Session(msgspec.Struct):
    id: str
    status: str | None
    payment_status: str
    url: str | None = None
    client_reference_id: str | None = None
    payment_intent: _Intent | str | None = None


class _Refund(msgspec.Struct):
    id: str
    amount: int
    currency: str
    status: str | None = None
    metadata: dict[str, str] | None = None


class _Refunds(msgspec.Struct):
    data: list[_Refund]


class _Dispute(msgspec.Struct):
    id: str
    amount: int
    currency: str
    status: str


class _Disputes(msgspec.Struct):
    data: list[_Dispute]


class Stripe:
    """Stripe with one account's keys."""

    def __init__(self, terms: Terms) -> None:
        self._secret_key = terms.secrets["secret_key"]
        self._webhook_secret = terms.secrets.get("webhook_secret", "")
        self._api_base = terms.api_base

    @property
    def listens(self) -> bool:
        """Only with a secret: with an empty one, everybody could sign."""
        return bool(self._webhook_secret.strip())

    def start(self, order: Order) -> Started:
        """A Checkout Session, or a charge of a saved card."""
        if order.method is not None:
            return self._charge(order, order.method)
        params = _session_of(order)
        options = {"idempotency_key": order.id}
        session = self._ask(lambda api: api.checkout.sessions.create(params, options), _Session)
        return Started(session.id, session.url)

    def look_up(self, reference: str) -> Payment | None:
        """A Checkout Session with its PaymentIntent, or a PaymentIntent alone."""
        try:
            if reference.startswith(_SESSION):
                return self._of_session(reference)
            if reference.startswith(_INTENT):
                intent = self._ask(lambda api: api.payment_intents.retrieve(reference), _Intent)
                state = _INTENT_STATES.get(intent.status, PaymentState.PENDING)
                return self._of_intent(intent, intent.metadata.get("topup", ""), reference, state)
        except ProcessorRefusedError:
            return None
        return None

    def refund(self, order: RefundOrder) -> Refund:
        """A refund of a PaymentIntent."""
        params = {
            "payment_intent": order.payment_ref,
            "amount": _to_minor(order.total_nano, order.currency),
            "metadata": {"topup": order.topup_id, "refund": order.id},
        }
        options = {"idempotency_key": order.id}
        return _refund(self._ask(lambda api: api.refunds.create(params, options), _Refund))

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """`Stripe-Signature`, by the library's own check; each delivery is signed anew, so none is old."""
        library = self._library
        try:
            library.WebhookSignature.verify_header(
                body, headers.get("stripe-signature"), self._webhook_secret, EVENT_WINDOW_S
            )
            event = msgspec.json.decode(body, type=_Event)
        except (
            # TypeError: a signature with letters beyond ASCII, which cannot be compared.
            *(library.SignatureVerificationError, UnicodeDecodeError, TypeError, msgspec.MsgspecError),
        ) as error:
            raise ForgedEventError("the signature is not good, or older than five minutes") from error
        member = _EVENTS.get(event.type)
        return Event(event.id, getattr(event.data.object, member) or None if member else None)

    @cached_property
    def _library(self) -> ModuleType:
        # Loaded when it is first needed, in a thread: it is large, and most processes never take a payment.
        return import_module("stripe")

    @cached_property
    def _client(self) -> Any:
        library = self._library
        base = {"base_addresses": {"api": self._api_base}} if self._api_base else {}
        return library.StripeClient(
            self._secret_key,
            **base,
            max_network_retries=0,  # Whoever asks again, asks with the same key.
            http_client=library.RequestsClient(timeout=WAIT_S),
        )

    def _ask(self, question: Callable[[Any], Any], kind: type[Answer]) -> Answer:
        """Ask, and read the answer as what it must be."""
        library = self._library
        try:
            answer = question(self._client.v1)
            return msgspec.json.decode(answer.last_response.body, type=kind)
        except (library.CardError, library.InvalidRequestError) as error:
            raise ProcessorRefusedError(str(error.code or "refused")) from error
        except (library.StripeError, msgspec.MsgspecError) as error:
            raise ProcessorAwayError(f"stripe: {type(error).__name__}") from error

    def _charge(self, order: Order, method: str) -> Started:
        customer, _, card = method.partition(":")
        params = {
            "amount": _to_minor(order.total_nano, order.currency),
            "currency": order.currency.lower(),
            "customer": customer,
            "payment_method": card,
            "off_session": True,
            "confirm": True,
            "description": "Wallet top-up",
            "metadata": {"topup": order.id},
        }
        options = {"idempotency_key": order.id}
        return Started(self._ask(lambda api: api.payment_intents.create(params, options), _Intent).id)

    def _of_session(self, reference: str) -> Payment:
        params = {"expand": ["payment_intent"]}
        session = self._ask(lambda api: api.checkout.sessions.retrieve(reference, params), _Session)
        state = _SESSION_STATES.get(session.status or "", PaymentState.PENDING)
        order_id, intent = session.client_reference_id or "", session.payment_intent
        if not isinstance(intent, _Intent):
            return Payment(order_id, reference, state)
        if session.payment_status == "paid":
            state = PaymentState.PAID
        elif session.status == "complete" and intent.status == "requires_payment_method":
            state = (
                PaymentState.FAILED
            )  # A bank debit that bounced; the page is over, so nobody can try again.
        return self._of_intent(intent, order_id, reference, state)

    def _of_intent(self, intent: _Intent, order_id: str, reference: str, state: PaymentState) -> Payment:
        currency = intent.currency.upper()
        paid = Payment(
            order_id,
            reference,
            state,
            _from_minor(intent.amount_received, currency),
            currency,
            intent.id,
            _method(intent),
        )
        if state is not PaymentState.PAID:
            return paid
        which = {"payment_intent": intent.id, "limit": _LIST_MAX}
        refunds = self._ask(lambda api: api.refunds.list(which), _Refunds).data
        disputes = self._ask(lambda api: api.disputes.list(which), _Disputes).data
        return msgspec.structs.replace(
            paid,
            refunds=tuple(_refund(one) for one in refunds),
            disputes=tuple(
                Dispute(one.id, _from_minor(one.amount, one.currency.upper()), _DISPUTE_STATES[one.status])
                for one in disputes
                if one.status in _DISPUTE_STATES
            ),
        )


def build_stripe(terms: Terms) -> Processor:
    """The processor."""
    return Stripe(terms)


def _session_of(order: Order) -> dict[str, object]:
    """The members of a Checkout Session."""
    lines = [("Wallet top-up", order.credit_nano)]
    if order.tax_nano:
        lines.append((order.tax_name or "Tax", order.tax_nano))
    mark = "&" if "?" in order.return_url else "?"
    intent: dict[str, object] = {"metadata": {"topup": order.id}, "description": "Wallet top-up"}
    session: dict[str, object] = {
        "mode": "payment",
        "client_reference_id": order.id,
        "metadata": {"topup": order.id},
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": order.currency.lower(),
                    "unit_amount": _to_minor(nano, order.currency),
                    "product_data": {"name": name},
                },
            }
            for name, nano in lines
        ],
        "payment_intent_data": intent,
        "success_url": f"{order.return_url}{mark}topup={order.id}",
        "cancel_url": f"{order.return_url}{mark}topup={order.id}&cancelled=1",
    }
    if order.keep_method:
        intent["setup_future_usage"] = "off_session"
        session["customer_creation"] = "always"
    return session


def _refund(refund: _Refund) -> Refund:
    return Refund(
        refund.id,
        _from_minor(refund.amount, refund.currency.upper()),
        _REFUND_STATES.get(refund.status or "", RefundState.PENDING),
        (refund.metadata or {}).get("refund"),
    )


def _method(intent: _Intent) -> str | None:
    kept = intent.setup_future_usage is not None and intent.customer and intent.payment_method
    return f"{intent.customer}:{intent.payment_method}" if kept else None


def _to_minor(nano: int, currency: str) -> int:
    return to_minor(nano, currency, _DECIMALS.get(currency))


def _from_minor(minor: int, currency: str) -> int:
    return from_minor(minor, currency, _DECIMALS.get(currency))
