"""A stand-in for Razorpay: payment links, payments, refunds and disputes, with a memory, and signed events.

As the real one: a `reference_id` names one link, a repeated refund key gives the same refund, and `notes` are a list
where there are none.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tests.support.standin import Asked, Json, serving

KEY_ID, KEY_SECRET, WEBHOOK_SECRET = "rzp_test_1", "rzp-secret-canary", "rzp-hook-canary"


class RazorpayStandin:
    """The account's state. `broken` makes every answer a 500."""

    def __init__(self) -> None:
        self.api_base = ""
        self.links: dict[str, Json] = {}
        self.payments: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self.asked: list[Asked] = []
        self.broken = False
        self._keys: dict[str, str] = {}
        self._lock = threading.Lock()

    def pay(self, link_id: str, amount: int | None = None, currency: str | None = None) -> str:
        """The payer pays a link, after a card that failed; the payment's id."""
        link, id_ = self.links[link_id], f"pay_{len(self.payments)}"
        self.payments[id_] = {
            "id": id_,
            "amount": link["amount"] if amount is None else amount,
            "currency": currency or link["currency"],
            "captured": True,
            "status": "captured",
        }
        tries = [{"payment_id": "pay_failed", "status": "failed"}, {"payment_id": id_, "status": "captured"}]
        link |= {"status": "paid", "payments": tries}
        return id_

    def give_back(self, payment_id: str, amount: int, notes: object = ()) -> str:
        """A refund, as the dashboard makes it."""
        id_ = f"rfnd_{len(self.refunds)}"
        self.refunds[id_] = {
            "id": id_,
            "payment_id": payment_id,
            "amount": amount,
            "notes": notes or [],
            "currency": self.payments[payment_id]["currency"],
            "status": "processed",
        }
        return id_

    def dispute(self, payment_id: str, status: str = "open") -> str:
        """The payer's bank disputes a payment, or decides it."""
        paid, id_ = self.payments[payment_id], f"disp_{payment_id}"
        self.disputes[id_] = {
            "id": id_,
            "payment_id": payment_id,
            "amount": paid["amount"],
            "currency": paid["currency"],
            "status": status,
        }
        return id_

    def event(
        self, kind: str, part: str, id_: str, *, secret: str = WEBHOOK_SECRET, age_s: int = 0
    ) -> tuple[bytes, dict[str, str]]:
        """A signed event: its body and headers. What it says beside its reference is made up."""
        told = {part: {"entity": {"id": id_, "amount": 99_999_999, "status": "captured"}}}
        body = msgspec.json.encode(
            {"entity": "event", "event": kind, "payload": told, "created_at": int(time.time()) - age_s}
        )
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return body, {"x-razorpay-signature": signature, "content-type": "application/json"}

    def answer(self, asked: Asked) -> tuple[int, Json]:
        with self._lock:
            self.asked.append(asked)
            if self.broken:
                return 500, {"error": {"code": "SERVER_ERROR", "description": "down"}}
            return self._answer(asked)

    def _answer(self, asked: Asked) -> tuple[int, Json]:
        match asked.method, asked.path.strip("/").split("/")[1:]:
            case "POST", ["payment_links"]:
                return self._link(asked.json)
            case "GET", ["payment_links"]:
                return 200, {"payment_links": [one for one in self.links.values() if _fits(one, asked.query)]}
            case "GET", ["payment_links", id_] if id_ in self.links:
                return 200, self.links[id_]
            case "GET", ["payments", id_] if id_ in self.payments:
                return 200, self.payments[id_]
            case "GET", ["payments", id_, "refunds"]:
                return 200, {"items": [one for one in self.refunds.values() if one["payment_id"] == id_]}
            case "POST", ["payments", id_, "refund"] if id_ in self.payments:
                key = asked.headers["x-refund-idempotency"]
                if key not in self._keys:
                    amount = int(str(asked.json["amount"]))
                    self._keys[key] = self.give_back(id_, amount, asked.json["notes"])
                return 200, self.refunds[self._keys[key]]
            case "GET", ["disputes", id_] if id_ in self.disputes:
                return 200, self.disputes[id_]
        return 400, {"error": {"code": "BAD_REQUEST_ERROR", "description": "The id does not exist"}}

    def _link(self, wanted: Json) -> tuple[int, Json]:
        if any(one["reference_id"] == wanted["reference_id"] for one in self.links.values()):
            return 400, {"error": {"code": "BAD_REQUEST_ERROR", "description": "reference_id exists already"}}
        id_ = f"plink_{len(self.links)}"
        self.links[id_] = {
            "id": id_,
            "status": "created",
            "short_url": f"https://rzp.example/{id_}",
            "payments": None,
            **{name: wanted[name] for name in ("amount", "currency", "reference_id", "expire_by", "notes")},
        }
        return 200, self.links[id_]


def _fits(link: Json, query: dict[str, str]) -> bool:
    if "reference_id" in query:
        return link["reference_id"] == query["reference_id"]
    payments = msgspec.convert(link["payments"] or [], list[dict[str, str]])
    return any(one["payment_id"] == query["payment_id"] for one in payments)


@contextmanager
def serve_razorpay() -> Iterator[RazorpayStandin]:
    """Razorpay on loopback; its address is `api_base`."""
    razorpay = RazorpayStandin()
    with serving(razorpay.answer) as razorpay.api_base:
        yield razorpay
