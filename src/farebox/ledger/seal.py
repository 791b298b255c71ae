"""Seals: one hash a finished day over everything that was booked, chained to the day before.

A seal covers the transfers from the last one's end up to the newest that was booked before its day's end. They are
told by `seq`, which only grows, and not by their times: a row that comes late, or from a clock that is behind, belongs
to the next seal, and none is ever between two.

A day is sealed in two steps. It is *closed* while nobody else writes: every number up to the last one is then taken by
a row that is committed, or by none for ever. The hash is made afterwards, beside running calls, for nothing that is
read for it can change any more. A process that dies in between leaves a closed day, which the next turn finishes.

The hashed bytes are one JSON array a line: the seal's own head, each transfer with all columns in their order by
`seq`, each loss by its id. Whoever can write to the database could make all seals anew: only a hash kept elsewhere
shows that (`farebox books seals` prints them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import msgspec

from farebox.ledger.check import ROWS_MAX, RULES, BooksReport, Breach, check_books
from farebox.store.database import Database, Record, Transaction, Value

GENESIS = "0" * 64  # What stands before the first seal.
LINES = 5_000  # Read at a time, so that a day of any size takes as little memory.
DAYS_MAX = 400  # Sealed in one turn: those who were away for years catch up over several.
NEWEST = "~"  # Sorts after any day.
AS_SEALED = "a sealed day is as it was sealed"
IN_ORDER = "every seal follows the one before it"
_SEALS_MAX = 40_000  # A century of days.
_LOWEST = -(2**63)  # The first seal has whatever is below, were it put there later.
_COLUMNS = "day, ends, first_seq, last_seq, previous, hash, transfers, losses, made"
_TRANSFER = "seq, id, account_id, kind, debit, credit, amount, currency, reason, created"
_LOSS = "l.id, l.account_id, l.debit, l.credit, l.amount, l.currency, l.reason, l.created"
_MARK_LOSSES = (
    "INSERT INTO sealed_losses (id, day) SELECT l.id, ? FROM losses l LEFT JOIN sealed_losses s ON s.id = l.id"
    " WHERE s.id IS NULL AND l.created < ?"
)
_encoder = msgspec.json.Encoder()


class Day(msgspec.Struct, frozen=True):
    """A day to seal: its date as ISO 8601 has it, and the microsecond it ends before."""

    name: str
    end_us: int


class Seal(msgspec.Struct, frozen=True):
    """One day's seal; `hash` is empty while the day is only closed."""

    day: str
    ends_us: int
    first_seq: int
    last_seq: int
    previous: str
    hash: str
    transfers: int
    losses: int
    sealed_us: int


class _Digest(msgspec.Struct, frozen=True):
    """What the rows of a seal come to."""

    hash: str
    transfers: int
    losses: int


def list_seals(view: Transaction, before: str = NEWEST, limit: int = _SEALS_MAX) -> list[Seal]:
    """The seals of the days before one, newest first."""
    where = "day < ? AND hash IS NOT NULL"
    sql = f"SELECT {_COLUMNS} FROM seals WHERE {where} ORDER BY day DESC LIMIT ?"  # noqa: S608 -- constants
    return [_seal(row) for row in view.all(sql, before, limit)]


def unsealed_from_us(view: Transaction) -> int | None:
    """From when on days are not sealed: the last seal's end, else the first transfer; None where there is neither."""
    last = _last(view)
    if last is not None:
        return last.ends_us
    row = view.one("SELECT created FROM transfers ORDER BY seq LIMIT 1")
    return None if row is None else _int(row[0])


def make_seals(database: Database, days: Iterable[Day], now_us: int) -> int:
    """Seal those of the days that are over and not sealed, in their order; how many were. Waits its turn to write."""
    made = 0
    _finish(database)
    for day in days:
        if day.end_us > now_us or made >= DAYS_MAX:
            break
        if _close(database, day, now_us):
            _finish(database)
            made += 1
    return made


def check_seals(view: Transaction, last: int | None = None) -> tuple[Breach, ...]:
    """Hash every sealed day again, or the last few: a breach a day that is not as it was. Reads all its transfers."""
    seals = list_seals(view, limit=_SEALS_MAX if last is None else last + 1)[::-1]
    before = seals[:-last] if last is not None else []
    known = seals[len(before) :]
    breaches = [*_order(before, known), *_content(view, known)]
    return tuple(breaches[:ROWS_MAX])


def check_sealed_books(
    database: Database, last: int | None = None, rules: Mapping[str, str] = RULES
) -> BooksReport:
    """The check of the books and that of their seals in one report; `last` as in `check_seals`."""
    report = check_books(database, rules)
    with database.read() as view:
        broken = check_seals(view, last)
    breaches = (*report.breaches, *broken)
    return msgspec.structs.replace(report, balanced=not breaches, breaches=breaches)


def _order(before: list[Seal], seals: list[Seal]) -> Iterator[Breach]:
    """Where the chain is broken: a seal was taken out, put in or moved."""
    if seals and not before:
        yield from _follows(seals[0], GENESIS, 1)
    for earlier, later in pairwise((*before, *seals)):
        yield from _follows(later, earlier.hash, earlier.last_seq + 1)


def _follows(seal: Seal, previous: str, first_seq: int) -> Iterator[Breach]:
    if (seal.previous, seal.first_seq) != (previous, first_seq):
        found, expected = f"{seal.previous} from {seal.first_seq}", f"{previous} from {first_seq}"
        yield Breach(IN_ORDER, seal.day, found, expected)


def _content(view: Transaction, seals: list[Seal]) -> Iterator[Breach]:
    for seal in seals:
        digest, sealed = _digest(view, seal), _Digest(seal.hash, seal.transfers, seal.losses)
        if digest != sealed:
            yield Breach(AS_SEALED, seal.day, _written(digest), _written(sealed))


def _written(digest: _Digest) -> str:
    return f"{digest.transfers} transfers, {digest.losses} losses, hash {digest.hash}"


def _close(database: Database, day: Day, now_us: int) -> bool:
    """Say where a day ends, while nobody else writes; False if that is said already, or another day comes first."""
    with database.read() as view:
        # Most is looked through here, beside those who write; what is booked meanwhile is looked at below.
        seen = _int((view.one("SELECT MAX(seq) FROM transfers") or (0,))[0])
        last = _last(view)
        after = 0 if last is None else last.last_seq
        row = view.one(
            "SELECT seq FROM transfers WHERE seq > ? AND seq <= ? AND created < ? ORDER BY seq DESC LIMIT 1",
            *(after, seen, day.end_us),
        )
    newest = 0 if row is None else _int(row[0])
    with database.transaction() as work:
        last = _last(work)
        if last is not None and (not last.hash or day.name <= last.day or day.end_us <= last.ends_us):
            return False
        after = 0 if last is None else last.last_seq
        row = work.one(
            "SELECT MAX(seq) FROM transfers WHERE seq > ? AND created < ?", max(after, seen), day.end_us
        )
        last_seq = max(after, newest, _int((row or (0,))[0]))
        previous = GENESIS if last is None else last.hash
        work.run(
            f"INSERT INTO seals ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?)",  # noqa: S608 -- constants
            *(day.name, day.end_us, after + 1, last_seq, previous, None, now_us),
        )
        work.run(_MARK_LOSSES, day.name, day.end_us)
    return True


def _finish(database: Database) -> None:
    """Give the closed day, if there is one, its hash. Two who do so at once come to the same."""
    with database.read() as view:
        seal = _last(view)
        if seal is None or seal.hash:
            return
        digest = _digest(view, seal)
    with database.transaction() as work:
        work.run(
            "UPDATE seals SET hash = ?, transfers = ?, losses = ? WHERE day = ? AND hash IS NULL",
            *(digest.hash, digest.transfers, digest.losses, seal.day),
        )


def _digest(view: Transaction, seal: Seal) -> _Digest:
    """Hash the head and every row of a seal."""
    head = (seal.previous, seal.day, seal.ends_us, seal.first_seq, seal.last_seq)
    running = hashlib.sha256(_encoder.encode_lines([head]))
    transfers = losses = 0
    after = _LOWEST if seal.previous == GENESIS else seal.first_seq - 1
    for page in _pages(view, after, seal.last_seq):
        transfers += len(page)
        running.update(_encoder.encode_lines(page))
    for page in _loss_pages(view, seal.day):
        losses += len(page)
        running.update(_encoder.encode_lines(page))
    return _Digest(running.hexdigest(), transfers, losses)


def _pages(view: Transaction, after: int, last: int) -> Iterator[list[Record]]:
    sql = (
        f"SELECT {_TRANSFER} FROM transfers"  # noqa: S608 -- constants
        f" WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT {LINES}"
    )
    while page := view.all(sql, after, last):
        yield page
        after = _int(page[-1][0])


def _loss_pages(view: Transaction, day: str) -> Iterator[list[Record]]:
    sql = (
        f"SELECT {_LOSS} FROM sealed_losses s JOIN losses l ON l.id = s.id"  # noqa: S608 -- constants
        f" WHERE s.day = ? AND s.id > ? ORDER BY s.id LIMIT {LINES}"
    )
    after = ""
    while page := view.all(sql, day, after):
        yield page
        after = str(page[-1][0])


def _last(view: Transaction) -> Seal | None:
    row = view.one(f"SELECT {_COLUMNS} FROM seals ORDER BY ends DESC LIMIT 1")  # noqa: S608 -- constants
    return None if row is None else _seal(row)


def _seal(row: Record) -> Seal:
    day, ends, first, last, previous, hash_, transfers, losses, made = row
    return Seal(
        day=str(day),
        ends_us=_int(ends),
        first_seq=_int(first),
        last_seq=_int(last),
        previous=str(previous),
        hash=str(hash_ or ""),
        transfers=_int(transfers),
        losses=_int(losses),
        sealed_us=_int(made),
    )


def _int(value: Value) -> int:
    return int(value or 0)
