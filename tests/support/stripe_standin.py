"""A stand-in for Stripe with a memory, which stripe-mock has not: sessions, refunds, disputes, signed events."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import stripe

from tests.support.standin import Asked, Json, serving

SECRET_KEY, WEBHOOK_SECRET = "sk_test_canary", "whsec_canary"
DECLINED = "pm_declined"


class StripeStandin:
    """The account's state. `broken` makes every answer a 500."""

    def __init__(self) -> None:
        self.api_base = ""
        self.sessions: dict[str, Json] = {}
        self.intents: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self.asked: list[Asked] = []
        self.broken = False
        self._keys: dict[str, Json] = {}
        self._lock = threading.Lock()

    def pay(self, session_id: str, amount: int | None = None, currency: str | None = None) -> str:
        """The payer pays a session; its intent's id."""
        session, id_ = self.sessions[session_id], f"pi_{session_id}"
        self.intents[id_] = {
            "id": id_,
            "object": "payment_intent",
            "status": "succeeded",
            "currency": currency or session["currency"],
            "amount_received": session["amount_total"] if amount is None else amount,
            "metadata": {"topup": session["client_reference_id"]},
            "customer": session["_customer"],
            "payment_method": "pm_1",
            "setup_future_usage": session["_keep"],
        }
        session |= {"status": "complete", "payment_status": "paid", "payment_intent": id_}
        return id_

    def give_back(self, intent_id: str, amount: int, metadata: object = None) -> Json:
        """A refund, as the dashboard makes it."""
        id_ = f"re_{len(self.refunds)}"
        self.refunds[id_] = {
            "id": id_,
            "object": "refund",
            "payment_intent": intent_id,
            "amount": amount,
            "currency": self.intents[intent_id]["currency"],
            "status": "succeeded",
            "metadata": metadata or {},
        }
        return self.refunds[id_]

    def dispute(self, intent_id: str, status: str = "needs_response") -> str:
        """The payer's bank disputes a payment, or decides it."""
        intent, id_ = self.intents[intent_id], f"du_{intent_id}"
        self.disputes[id_] = {
            "id": id_,
            "object": "dispute",
            "payment_intent": intent_id,
            "status": status,
            "amount": intent["amount_received"],
            "currency": intent["currency"],
        }
        return id_

    def event(
        self,
        kind: str,
        about: Json,
        *,
        id_: str = "evt_1",
        secret: str = WEBHOOK_SECRET,
        age_s: int = 0,
    ) -> tuple[bytes, dict[str, str]]:
        """An event signed by the library's own function. What it says beside its reference is made up."""
        told = {**about, "amount_total": 99_999_999, "payment_status": "paid", "currency": "usd"}
        body = msgspec.json.encode({"id": id_, "object": "event", "type": kind, "data": {"object": told}})
        at_s = int(time.time()) - age_s
        signature = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at_s)
        return body, {"stripe-signature": signature, "content-type": "application/json"}

    def answer(self, asked: Asked) -> tuple[int, Json]:
        with self._lock:
            self.asked.append(asked)
            if asked.headers.get("authorization") != f"Bearer {SECRET_KEY}":
                return 401, {"error": {"type": "invalid_request_error", "message": "no such key"}}
            if self.broken:
                return 500, {"error": {"type": "api_error", "message": "down"}}
            key = asked.headers.get("idempotency-key")
            if asked.method == "POST" and key in self._keys:
                return 200, self._keys[key]
            status, told = self._answer(asked)
            if key is not None and status == 200:
                self._keys[key] = told
            return status, told

    def _answer(self, asked: Asked) -> tuple[int, Json]:
        match asked.method, asked.path.strip("/").split("/")[1:]:
            case "POST", ["checkout", "sessions"]:
                return 200, self._session(asked.form)
            case "GET", ["checkout", "sessions", id_] if id_ in self.sessions:
                session = dict(self.sessions[id_])
                intent = self.intents.get(str(session["payment_intent"]))
                return 200, session | {"payment_intent": intent}
            case "POST", ["payment_intents"]:
                return self._intent(asked.form)
            case "GET", ["payment_intents", id_] if id_ in self.intents:
                return 200, self.intents[id_]
            case "POST", ["refunds"]:
                return self._refund(asked.form)
            case "GET", ["refunds" | "disputes" as what]:
                kept = self.refunds if what == "refunds" else self.disputes
                which = asked.query["payment_intent"]
                found = [one for one in kept.values() if one["payment_intent"] == which]
                return 200, {"object": "list", "data": found, "has_more": False, "url": asked.path}
        return 404, {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "no"}}

    def _session(self, form: dict[str, str]) -> Json:
        id_ = f"cs_test_{len(self.sessions)}"
        lines = [name for name in form if name.endswith("[unit_amount]")]
        self.sessions[id_] = {
            "id": id_,
            "object": "checkout.session",
            "status": "open",
            "payment_status": "unpaid",
            "url": f"https://stripe.example/{id_}",
            "client_reference_id": form["client_reference_id"],
            "currency": form["line_items[0][price_data][currency]"],
            "payment_intent": None,
            "amount_total": sum(int(form[name]) for name in lines),
            "_customer": "cus_1" if "customer_creation" in form else None,
            "_keep": form.get("payment_intent_data[setup_future_usage]"),
        }
        return self.sessions[id_]

    def _intent(self, form: dict[str, str]) -> tuple[int, Json]:
        id_, declined = f"pi_auto_{len(self.intents)}", form["payment_method"] == DECLINED
        self.intents[id_] = {
            "id": id_,
            "object": "payment_intent",
            "currency": form["currency"],
            "status": "requires_payment_method" if declined else "succeeded",
            "amount_received": 0 if declined else int(form["amount"]),
            "metadata": {"topup": form["metadata[topup]"]},
        }
        if declined:
            return 402, {"error": {"type": "card_error", "code": "card_declined", "message": "declined"}}
        return 200, self.intents[id_]

    def _refund(self, form: dict[str, str]) -> tuple[int, Json]:
        intent = self.intents[form["payment_intent"]]
        given = [one for one in self.refunds.values() if one["payment_intent"] == intent["id"]]
        back = sum(int(str(one["amount"])) for one in given)
        if back + int(form["amount"]) > int(str(intent["amount_received"])):
            return 400, {"error": {"type": "invalid_request_error", "code": "charge_already_refunded"}}
        return 200, self.give_back(
            form["payment_intent"], int(form["amount"]), {"refund": form["metadata[refund]"]}
        )


@contextmanager
def serve_stripe() -> Iterator[StripeStandin]:
    """Stripe on loopback; its address is `api_base`."""
    standin = StripeStandin()
    with serving(standin.answer) as standin.api_base:
        yield standin
