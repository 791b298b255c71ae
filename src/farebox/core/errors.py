"""Fault: every failure we expect, and the one table that says what each means to a caller.

    whose fault   kinds
    ------------  ----------------------------------------------------------------------------------------
    the caller's  BAD_REQUEST BAD_KEY NO_CREDIT BUDGET_SPENT KEY_PAUSED CHARGE_TOO_HIGH FORBIDDEN
                  ACCOUNT_DISABLED PLAN_REFUSED MODEL_REFUSED NOT_FOUND MODEL_NOT_FOUND WRONG_METHOD
                  CONFLICT IN_PROGRESS TOO_LARGE WRONG_MEDIA TOO_FAST
    a provider's  PROVIDER_REFUSED PROVIDER_ERROR PROVIDER_OVERLOADED PROVIDER_TIMEOUT PROVIDER_CUT
    ours          OVERLOADED DRAINING LEDGER_UNAVAILABLE UNSOLD BROKEN

A kind has one row: HTTP status, OpenAI error type, default code, whether the same call may be tried on another
route, and whether a client should retry it by itself. How a fault is written belongs to the caller's dialect and
profile, never to this file.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Row(NamedTuple):
    """What one kind of fault means on the wire."""

    status: int
    type: str
    code: str
    next_route: bool = False  # The same call may go to the model's next route.
    retry: bool = False  # A client may send the same call again by itself.


class Kind(Enum):
    """A kind of expected failure; the value is its row of the table."""

    BAD_REQUEST = Row(400, "invalid_request_error", "invalid_request")
    BAD_KEY = Row(401, "authentication_error", "invalid_api_key")
    NO_CREDIT = Row(402, "billing_error", "insufficient_credits")
    BUDGET_SPENT = Row(402, "billing_error", "budget_exceeded")
    KEY_PAUSED = Row(402, "billing_error", "spend_breaker_tripped")
    CHARGE_TOO_HIGH = Row(402, "billing_error", "max_charge_exceeded")
    FORBIDDEN = Row(403, "permission_error", "permission_denied")
    ACCOUNT_DISABLED = Row(403, "permission_error", "account_disabled")
    PLAN_REFUSED = Row(403, "permission_error", "plan_without_api_access")
    MODEL_REFUSED = Row(403, "permission_error", "model_not_on_plan")
    NOT_FOUND = Row(404, "not_found_error", "not_found")
    MODEL_NOT_FOUND = Row(404, "not_found_error", "model_not_found")
    WRONG_METHOD = Row(405, "invalid_request_error", "method_not_allowed")
    CONFLICT = Row(409, "invalid_request_error", "idempotency_key_reused")
    IN_PROGRESS = Row(409, "invalid_request_error", "idempotency_in_progress", retry=True)
    TOO_LARGE = Row(413, "invalid_request_error", "request_too_large")
    WRONG_MEDIA = Row(415, "invalid_request_error", "unsupported_media_type")
    TOO_FAST = Row(429, "rate_limit_error", "rate_limit_exceeded", retry=True)

    PROVIDER_REFUSED = Row(400, "invalid_request_error", "provider_refused")
    PROVIDER_ERROR = Row(502, "service_unavailable_error", "provider_error", next_route=True, retry=True)
    PROVIDER_OVERLOADED = Row(
        503, "service_unavailable_error", "provider_overloaded", next_route=True, retry=True
    )
    PROVIDER_TIMEOUT = Row(504, "service_unavailable_error", "provider_timeout", next_route=True, retry=True)
    PROVIDER_CUT = Row(502, "service_unavailable_error", "provider_error")

    OVERLOADED = Row(503, "service_unavailable_error", "server_overloaded", retry=True)
    DRAINING = Row(503, "service_unavailable_error", "server_draining", retry=True)
    LEDGER_UNAVAILABLE = Row(503, "service_unavailable_error", "ledger_unavailable", retry=True)
    UNSOLD = Row(503, "service_unavailable_error", "model_not_for_sale")
    BROKEN = Row(500, "internal_server_error", "internal_error", retry=True)

    # Two rows may say the same; without this, Enum would make the later one an alias of the earlier.
    def __new__(cls, *row: object) -> Kind:  # noqa: PYI034 -- an Enum makes its own members
        """Give each member an identity of its own, whatever its row says."""
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)
        member.row = Row(*row)  # type: ignore[arg-type]  # Enum hands the row over unpacked and untyped.
        return member

    row: Row


class Fault(Exception):  # noqa: N818 -- the glossary's word
    """An expected failure. `message` tells the caller what to do and never holds a provider's text, key or URL.

    `status` overrides the table where the provider's own status is the truth (400, 413 and 422 of a refusal).
    `fields` are further members of the error object, in order; values are JSON texts, so that amounts stay exact.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        retry: bool | None = None,
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.code = code or kind.row.code
        self.param = param
        self.status = status or kind.row.status
        self.retry_after_s = retry_after_s
        self.retry = kind.row.retry if retry is None else retry
        self.fields = fields
