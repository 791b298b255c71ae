"""`manual`: a payment that an administrator saw arrive, such as a bank transfer. It needs a reason."""

from __future__ import annotations

from farebox.billing.payments.processors.instant import Instant
from farebox.billing.payments.processors.processor import Processor, Terms


def build_manual(terms: Terms) -> Processor:
    """The processor."""
    del terms
    return Instant("manual", wants_reason=True)
