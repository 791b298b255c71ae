"""The audit log over HTTP."""

from __future__ import annotations

from farebox.accounts.audit import Written, list_deeds
from farebox.api.admin.action import Action, Ask, Page, Words, list_words, number_cursor, reading
from farebox.api.admin.words import seconds
from farebox.core.money import MAX_NANO
from farebox.store.database import Transaction


def audit_actions() -> list[Action]:
    """The rows of the table."""
    return [reading("audit", Page, _list)]


def _list(ask: Ask, said: Page, view: Transaction) -> Words:
    del ask
    found = list_deeds(view, number_cursor(said.cursor, MAX_NANO), said.limit + 1)
    shown = found[: said.limit]
    return list_words(
        [_words(deed) for deed in shown], str(shown[-1].id) if len(found) > len(shown) else None
    )


def _words(deed: Written) -> Words:
    return {
        "id": deed.id,
        "object": "audit_entry",
        "actor": deed.actor,
        "action": deed.action,
        "changed": deed.changed,
        "before": deed.before,
        "after": deed.after,
        "ip": deed.ip,
        "created": seconds(deed.created_us),
    }
