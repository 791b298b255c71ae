"""Changes: the list by which every worker learns within a second what another process changed."""

from __future__ import annotations

from farebox.store.database import Transaction


def announce(work: Transaction, what: str, id_: int) -> None:
    """Note, in the transaction that makes it, that a row changed."""
    work.run("INSERT INTO changes (what, id) VALUES (?, ?)", what, id_)


def last_change(work: Transaction) -> int:
    """The number of the newest change."""
    row = work.one("SELECT COALESCE(MAX(n), 0) FROM changes")
    assert row is not None
    return int(row[0] or 0)


def changes_after(work: Transaction, n: int) -> list[tuple[int, str, int]]:
    """Every change after number `n`: its number, what changed, and the row's id."""
    rows = work.all("SELECT n, what, id FROM changes WHERE n > ? ORDER BY n", n)
    return [(int(number or 0), str(what), int(id_ or 0)) for number, what, id_ in rows]
