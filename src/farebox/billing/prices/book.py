"""The price book: which version of which model was, is and will be in force from when; and the changes entered here.

A period begins when its version came into force and lasts until the next one of the same model and scope. The past is
never changed: what is found different at a start or after a reload becomes a period that begins now. What is to come
is written ahead and may still change. So the book says what customers were in fact charged by, whatever settings say
today.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import msgspec

from farebox.accounts.changes import announce, changes_after
from farebox.billing.prices.tariff import Change, Layer, What
from farebox.core.rates import Rates
from farebox.store.database import Record, Transaction

WHAT_CHANGED = "prices"  # In the list of changes that every worker follows.
CHANGES_MAX = 10_000  # Entered and still to be heeded; more is a program gone wrong.
LIST_MAX = 1_000
FOLLOWED_US = 2_000_000  # By then every worker has heard of a change.


class Key(NamedTuple):
    """What a period is of. The scope of a price is a plan's name or nothing, of a cost its provider."""

    kind: str  # price or cost
    model: str
    scope: str


class Period(msgspec.Struct, frozen=True):
    """From when a version is in force; `version` is nothing where the model is not sold any more."""

    key: Key
    starts_us: int
    version: str


class Begun(NamedTuple):
    """A period that has just begun, and the version before it, if it was sold before."""

    period: Period
    before: str | None


class Entered(msgspec.Struct, frozen=True):
    """A change of the database as it was entered."""

    id: str
    change: Change
    entered_us: int
    withdrawn_us: int | None


def in_force(view: Transaction, at_us: int) -> dict[Key, str]:
    """The version of everything that is sold at a moment."""
    rows = view.all(
        "SELECT p.kind, p.model, p.scope, p.version FROM price_periods p JOIN"
        " (SELECT kind, model, scope, MAX(starts) AS starts FROM price_periods WHERE starts <= ?"
        " GROUP BY kind, model, scope) l"
        " ON l.kind = p.kind AND l.model = p.model AND l.scope = p.scope AND l.starts = p.starts"
        " WHERE p.version <> ''",
        at_us,
    )
    return {Key(str(kind), str(model), str(scope)): str(version) for kind, model, scope, version in rows}


def find_version(view: Transaction, key: Key, at_us: int) -> str | None:
    """The version in force at a moment in that very scope."""
    row = view.one(
        "SELECT version FROM price_periods WHERE kind = ? AND model = ? AND scope = ? AND starts <= ?"
        " ORDER BY starts DESC LIMIT 1",
        *(*key, at_us),
    )
    return str(row[0]) if row is not None and row[0] else None


def find_price(view: Transaction, model: str, plan: str, at_us: int) -> str | None:
    """The version of the price that a plan's customers pay at a moment: the plan's own, else everybody's."""
    return find_version(view, Key("price", model, plan), at_us) or find_version(
        view, Key("price", model, ""), at_us
    )


def list_periods(view: Transaction, model: str) -> list[Period]:
    """Every period of a model, the newest first."""
    return _periods(
        view.all(
            "SELECT kind, model, scope, starts, version FROM price_periods WHERE model = ?"
            " ORDER BY starts DESC, kind DESC, scope LIMIT ?",
            model,
            LIST_MAX,
        )
    )


def list_coming(view: Transaction, now_us: int) -> list[Period]:
    """Every price to come, the next first."""
    return _periods(
        view.all(
            "SELECT kind, model, scope, starts, version FROM price_periods WHERE starts > ? AND kind = 'price'"
            " ORDER BY starts, model, scope",
            now_us,
        )
    )


def is_empty(view: Transaction) -> bool:
    """Whether nothing was ever sold here."""
    return view.one("SELECT 1 FROM price_periods LIMIT 1") is None


def write_current(work: Transaction, now_us: int, current: Mapping[Key, str]) -> list[Begun]:
    """Write what is in force now and was not before; what was and is no more ends. What has begun."""
    known = in_force(work, now_us)
    begun = [
        Begun(Period(key, now_us, version), known.get(key))
        for key, version in current.items()
        if known.get(key) != version
    ]
    begun += [Begun(Period(key, now_us, ""), known[key]) for key in known if key not in current]
    _insert(work, [one.period for one in begun])
    return begun


def write_coming(work: Transaction, now_us: int, coming: Iterable[Period]) -> bool:
    """Write what is to come in the place of what was to come; whether that changed anything."""
    planned = {(period.key, period.starts_us): period.version for period in coming}
    rows = work.all("SELECT kind, model, scope, starts, version FROM price_periods WHERE starts > ?", now_us)
    written = {(period.key, period.starts_us): period.version for period in _periods(rows)}
    if planned == written:
        return False
    work.run("DELETE FROM price_periods WHERE starts > ?", now_us)
    _insert(work, [Period(key, starts_us, version) for (key, starts_us), version in planned.items()])
    return True


def first_seen(work: Transaction, change: Change) -> int | None:
    """When a change of the file takes effect, as it was decided when it was first seen; None if it is new."""
    row = work.one("SELECT starts FROM price_seen WHERE id = ?", change.id)
    return None if row is None else int(row[0] or 0)


def note_seen(work: Transaction, change: Change, first_us: int, starts_us: int) -> None:
    """Keep what was decided of a change of the file."""
    work.run(
        "INSERT INTO price_seen (id, first, starts) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING",
        *(change.id, first_us, starts_us),
    )


def enter_change(work: Transaction, id_: str, change: Change, now_us: int) -> None:
    """Write a change down, for every worker to heed. ValueError where there are more than anybody can mean."""
    row = work.one("SELECT COUNT(*) FROM price_changes WHERE withdrawn IS NULL")
    if int((row or (0,))[0] or 0) >= CHANGES_MAX:
        raise ValueError(f"there are {CHANGES_MAX} dated changes already: withdraw some")
    value = change.factor_nano if change.rates is None else change.rates
    work.run(
        "INSERT INTO price_changes (id, what, model, provider, value, starts, notice, source, entered)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        *(id_, change.what, change.target, change.provider, msgspec.json.encode(value).decode()),
        *(change.starts_us, int(change.notice), change.source, now_us),
    )
    announce(work, WHAT_CHANGED, 0)


def withdraw_change(work: Transaction, id_: str, now_us: int) -> bool:
    """Take a change back that is still to come; False if there is none such, or too late to tell everybody."""
    changed = work.run(
        "UPDATE price_changes SET withdrawn = ? WHERE id = ? AND withdrawn IS NULL AND starts > ?",
        *(now_us, id_, now_us + FOLLOWED_US),
    )
    if changed:
        # Should nobody plan anew before it would have started, the book must not say that it did.
        write_coming(work, now_us, ())
        announce(work, WHAT_CHANGED, 0)
    return bool(changed)


def list_changes(view: Transaction, *, withdrawn: bool = False) -> list[Entered]:
    """The changes that were entered, by the time they start; those that were withdrawn on demand."""
    rows = view.all(
        "SELECT id, what, model, provider, value, starts, notice, source, entered, withdrawn FROM price_changes"
        " WHERE withdrawn IS NULL OR withdrawn > ? ORDER BY starts, n",
        0 if withdrawn else _NEVER_US,
    )
    return [_read_entered(row) for row in rows]


def changed_since(view: Transaction, n: int) -> tuple[int, bool]:
    """The number of the newest change of anything, and whether prices were among those after number `n`."""
    rows = changes_after(view, n)
    return (rows[-1][0] if rows else n), any(what == WHAT_CHANGED for _, what, _ in rows)


_NEVER_US = 2**62


def _read_entered(row: Record) -> Entered:
    id_, what, model, provider, value, starts, notice, source, entered, withdrawn = row
    is_factor = what == "markup"
    change = Change(
        what=cast("What", str(what)),
        target=str(model),
        starts_us=int(starts or 0),
        layer=Layer.DATABASE,
        rates=None if is_factor else msgspec.json.decode(str(value), type=Rates),
        factor_nano=msgspec.json.decode(str(value), type=int) if is_factor else None,
        provider=str(provider),
        notice=bool(notice),
        source=str(source),
    )
    return Entered(str(id_), change, int(entered or 0), None if withdrawn is None else int(withdrawn))


def _periods(rows: Iterable[Record]) -> list[Period]:
    return [
        Period(Key(str(kind), str(model), str(scope)), int(starts or 0), str(version))
        for kind, model, scope, starts, version in rows
    ]


def _insert(work: Transaction, periods: list[Period]) -> None:
    work.run_many(
        "INSERT INTO price_periods (kind, model, scope, starts, version) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (kind, model, scope, starts) DO UPDATE SET version = excluded.version",
        [(*period.key, period.starts_us, period.version) for period in periods],
    )
