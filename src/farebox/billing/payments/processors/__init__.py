"""Payment processors, each a file and a row of this table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec

import msgspec

from farebox.billing.payments.processors.dev import build_dev
from farebox.billing.payments.processors.manual import build_manual
from farebox.billing.payments.processors.processor import Processor, Terms
from farebox.billing.payments.processors.razorpay import build_razorpay
from farebox.billing.payments.processors.stripe import build_stripe


class ProcessorRow(msgspec.Struct, frozen=True):
    """What the house must know of a processor before it is built."""

    build: Callable[[Terms], Processor]
    for_customers: bool  # Customers may choose it.
    off_session: bool  # It can charge a saved method while its owner is away.
    library: str | None = None  # The official one, which is the extra of the same name.
    secrets: tuple[str, ...] = ()  # Without which it cannot work.


PROCESSORS: Mapping[str, ProcessorRow] = {
    "stripe": ProcessorRow(build_stripe, True, True, "stripe", ("secret_key",)),
    "razorpay": ProcessorRow(build_razorpay, True, False, "razorpay", ("key_id", "key_secret")),
    "manual": ProcessorRow(build_manual, False, False),
    "dev": ProcessorRow(build_dev, True, True),
}


def build_processor(name: str, terms: Terms) -> Processor:
    """A processor by its name in the table. ValueError says what is missing."""
    row = PROCESSORS[name]
    missing = [secret for secret in row.secrets if not terms.secrets.get(secret)]
    if missing:
        raise ValueError(f"{name} needs {' and '.join(missing)}")
    if row.library is not None and find_spec(row.library) is None:
        raise ValueError(f"{name} needs its library: install farebox[{name}]")
    return row.build(terms)
