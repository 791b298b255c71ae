"""`dev`: every payment is paid at once, so that a shop can be tried out before it has a processor."""

from __future__ import annotations

from farebox.billing.payments.processors.instant import Instant
from farebox.billing.payments.processors.processor import Processor, Terms

DECLINED = "declined"  # The saved method of an account whose automatic top-ups are to fail.


def build_dev(terms: Terms) -> Processor:
    """The processor. ValueError where others could reach it: it gives money away."""
    if terms.public:
        raise ValueError("dev gives credit for nothing: it works on a loopback address only")
    return Instant("dev", declines=DECLINED)
