"""Imported listings: what an operator brought in from a file of a release's form, laid over the release's own rows."""

from __future__ import annotations

import msgspec

from farebox.providers.listing import Listing
from farebox.store.database import Transaction

_WRITE = (
    "INSERT INTO imported_listings (id, listing, imported) VALUES (?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET listing = excluded.listing, imported = excluded.imported"
)


def read_imported(view: Transaction) -> tuple[Listing, ...]:
    """Every imported listing, by id."""
    rows = view.all("SELECT listing FROM imported_listings ORDER BY id")
    return tuple(msgspec.json.decode(str(row[0]), type=Listing) for row in rows)


def write_imported(work: Transaction, listings: list[Listing], now_us: int) -> None:
    """Keep these; an id that is there already is what it says now."""
    work.run_many(_WRITE, [(row.id, msgspec.json.encode(row).decode(), now_us) for row in listings])
