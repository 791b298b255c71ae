"""Buyers: who an account's invoices are made out to. What is on an issued invoice does not follow a change here."""

from __future__ import annotations

import re

import msgspec

from farebox.store.database import Transaction

NAME_MAX = 200
ADDRESS_LINES_MAX = 6
ADDRESS_LINE_MAX = 120
REGION_MAX = 40
TAX_ID_MAX = 40
EMAIL_MAX = 254  # RFC 5321: a path of 256 with its brackets.
_JOINERS = dict.fromkeys(
    (0x200C, 0x200D)
)  # Not printed themselves; several scripts of India cannot be written without.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


class Buyer(msgspec.Struct, frozen=True):
    """Billing details. `region` is the state or province that decides which tax lines apply; empty: the seller's."""

    name: str
    address: tuple[str, ...] = ()
    region: str = ""
    tax_id: str = ""
    email: str = ""


def check_buyer(buyer: Buyer) -> Buyer:
    """Give back usable billing details, their texts trimmed. ValueError names what is not."""
    tidy = Buyer(
        name=_text("name", buyer.name, NAME_MAX),
        address=tuple(
            line for one in buyer.address if (line := _text("a line of address", one, ADDRESS_LINE_MAX))
        ),
        region=_text("region", buyer.region, REGION_MAX),
        tax_id=_text("tax_id", buyer.tax_id, TAX_ID_MAX),
        email=_text("email", buyer.email, EMAIL_MAX),
    )
    if not tidy.name:
        raise ValueError("name must not be empty")
    if len(tidy.address) > ADDRESS_LINES_MAX:
        raise ValueError(f"address has more than {ADDRESS_LINES_MAX} lines")
    if tidy.email and not _EMAIL.fullmatch(tidy.email):
        raise ValueError("email is no address: write one such as accounts@example.com")
    return tidy


def find_buyer(view: Transaction, account_id: int) -> Buyer | None:
    """An account's billing details, if it has given any."""
    row = view.one(
        "SELECT name, address, region, tax_id, email FROM billing_details WHERE account_id = ?", account_id
    )
    if row is None:
        return None
    name, address, region, tax_id, email = map(str, row)
    return Buyer(name, tuple(address.splitlines()), region, tax_id, email)


def get_buyer(view: Transaction, account_id: int) -> Buyer:
    """Who to make an invoice out to: the billing details, else the account by its name alone."""
    buyer = find_buyer(view, account_id)
    if buyer is None:
        row = view.one("SELECT name FROM accounts WHERE id = ?", account_id)
        assert row is not None
        buyer = Buyer(str(row[0]))
    return buyer


def save_buyer(work: Transaction, account_id: int, buyer: Buyer, now_us: int) -> Buyer:
    """Keep an account's billing details for its invoices from now on. ValueError if they cannot be used."""
    tidy = check_buyer(buyer)
    work.run(
        "INSERT INTO billing_details (account_id, name, address, region, tax_id, email, changed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id) DO UPDATE SET name = excluded.name,"
        " address = excluded.address, region = excluded.region, tax_id = excluded.tax_id,"
        " email = excluded.email, changed = excluded.changed",
        *(account_id, tidy.name, "\n".join(tidy.address), tidy.region, tidy.tax_id, tidy.email, now_us),
    )
    return tidy


def _text(name: str, text: str, most: int) -> str:
    trimmed = text.strip()
    if len(trimmed) > most:
        raise ValueError(f"{name} is longer than {most} characters")
    if not trimmed.translate(_JOINERS).isprintable():
        raise ValueError(f"{name} holds a line break or another character that cannot be printed")
    return trimmed
