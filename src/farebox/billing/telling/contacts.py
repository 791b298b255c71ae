"""Contacts: where a customer wants to be told, and how a receiver knows that it was us."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from urllib.parse import urlsplit

import msgspec

from farebox.store.database import Transaction

EMAIL_MAX = 254  # RFC 5321, 4.5.3.1.3
URL_MAX = 2_000
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_VISIBLE = re.compile(r"[!-~]+")


class Contact(msgspec.Struct, frozen=True):
    """Where one account is told; all None: nowhere. `webhook_salt` belongs to the URL: a new one, a new secret."""

    email: str | None = None
    webhook_url: str | None = None
    webhook_salt: str | None = None
    low_balance_nano: int | None = None


def check_email(text: str) -> str:
    """Give back a plain mail address, or ValueError."""
    if len(text) > EMAIL_MAX or _EMAIL.fullmatch(text) is None:
        raise ValueError("write a mail address such as billing@example.com")
    return text


def check_webhook(text: str, *, schemes: tuple[str, ...] = ("https",)) -> str:
    """Give back an address that notices can be posted to, or ValueError, which never repeats it: it may be secret."""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # An unclosed bracket, a port beyond 65535.
        whole = False
    if not whole or len(text) > URL_MAX or _VISIBLE.fullmatch(text) is None:
        raise ValueError(f"write an address such as {schemes[0]}://example.com/hooks/farebox")
    if "@" in parts.netloc or "#" in text:
        raise ValueError("write the address without user, password and fragment")
    return text


def set_contact(work: Transaction, account_id: int, contact: Contact) -> None:
    """Put an account's contact in place of the one it had. ValueError names what cannot be used."""
    if contact.email is not None:
        check_email(contact.email)
    if contact.webhook_url is not None:
        check_webhook(contact.webhook_url)
        if not contact.webhook_salt:
            raise ValueError("a webhook needs a salt for its secret")
    if contact.low_balance_nano is not None and contact.low_balance_nano <= 0:
        raise ValueError("a balance to warn below is more than 0")
    work.run(
        "INSERT INTO account_contacts (account_id, email, webhook_url, webhook_salt, low_balance)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (account_id) DO UPDATE SET email = excluded.email,"
        " webhook_url = excluded.webhook_url, webhook_salt = excluded.webhook_salt,"
        " low_balance = excluded.low_balance",
        *(account_id, contact.email, contact.webhook_url, contact.webhook_salt, contact.low_balance_nano),
    )
    # A wallet may be below the new amount already: it is looked at again, as if money had moved.
    work.run("UPDATE wallet_alerts SET paid = -1 WHERE account_id = ?", account_id)


def find_contact(view: Transaction, account_id: int) -> Contact:
    """The account's contact; empty if it never gave one."""
    row = view.one(
        "SELECT email, webhook_url, webhook_salt, low_balance FROM account_contacts WHERE account_id = ?",
        account_id,
    )
    if row is None:
        return Contact()
    email, url, salt = (None if value is None else str(value) for value in row[:3])
    return Contact(email, url, salt, None if row[3] is None else int(row[3]))


def webhook_secret(master: bytes, salt: str) -> str:
    """What an account's webhooks are signed with, in the form of Standard Webhooks. It is nowhere on disk."""
    return f"whsec_{b64encode(hmac.digest(master, b'webhook:' + salt.encode(), 'sha256')).decode()}"
