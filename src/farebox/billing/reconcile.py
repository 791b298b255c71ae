"""Reconciling: a provider's export against our requests, by UTC day and model, the largest drifts first.

A day's calls are ours by when they began, and theirs by when they were counted, so that what runs over midnight is a
drift of two days that cancels. A model is compared without the date of its snapshot: we may ask for an alias, and the
bill names what it stood for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from farebox.billing.usage_exports import Entry, UnreadableError, same_model
from farebox.core.money import NANO, parse_nano
from farebox.store.database import Transaction, Value

PAIRS_MAX = 200_000  # Days times models, of either side: beyond any month one would look at.
DAY_US = 86_400_000_000
PERCENT_PPM = 10_000
WHOLE_PPM = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = f"created / {DAY_US}"
_OURS = (
    f"SELECT {_DAY}, upstream_model, cost_currency, COUNT(*), SUM(input_tokens),"  # noqa: S608 -- constants
    " SUM(output_tokens), SUM(cost), SUM(CASE WHEN state = 'voided' THEN 1 ELSE 0 END), SUM(partial),"
    " SUM(estimated), SUM(CASE WHEN attempts LIKE '%}},{{%' THEN 1 ELSE 0 END)"
    " FROM requests WHERE created >= ? AND created < ?{chosen}"
    f" GROUP BY {_DAY}, upstream_model, cost_currency"
)


class Amounts(msgspec.Struct):
    """What one side counts for a model on a day. None: this side's export does not tell it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano: int | None = None
    currency: str | None = None


class Doubts(msgspec.Struct):
    """Our calls that a provider may count otherwise than we do."""

    calls: int = 0
    voided: int = 0  # Charged to nobody, but the provider may bill what it produced before it failed.
    partial: int = 0
    estimated: int = 0
    retried: int = 0  # Another route was tried as well, which may bill its part.


class Line(msgspec.Struct, frozen=True):
    """One model on one day. `drift_ppm` is the largest of its measures', of the larger side; 1,000,000 is all of it."""

    day: str
    model: str
    theirs: Amounts
    ours: Amounts
    drift_ppm: int
    within: bool
    doubts: Doubts


class Reconciliation(msgspec.Struct, frozen=True):
    """The whole comparison; `lost` are calls of workers that died, which nobody can tell the model of."""

    format: str
    providers: tuple[str, ...]
    first_day: str
    last_day: str
    tolerance_ppm: int
    agreed: bool
    lines: tuple[Line, ...]
    lost: int


Pair = tuple[str, str]


def read_tolerance(text: str) -> int:
    """A percentage such as `0.5%`, in millionths. ValueError says what is wrong."""
    ppm = parse_nano(text.strip().removesuffix("%")) * PERCENT_PPM // NANO
    if not 0 <= ppm <= WHOLE_PPM:
        raise ValueError(f"{text!r} is no tolerance: write a percentage from 0 to 100, such as 0.5%")
    return ppm


def gather(entries: Iterable[Entry]) -> dict[Pair, Amounts]:
    """What the export counts by day and model, added up. UnreadableError where that has no end, or currencies mix."""
    totals: dict[Pair, Amounts] = {}
    for entry in entries:
        found = totals.get((entry.day, entry.model))
        if found is None:
            found = totals[entry.day, entry.model] = Amounts(currency=entry.currency)
            if len(totals) > PAIRS_MAX:
                raise UnreadableError(f"more than {PAIRS_MAX} days and models are in one file; cut it")
        found.input_tokens = _plus(found.input_tokens, entry.input_tokens)
        found.output_tokens = _plus(found.output_tokens, entry.output_tokens)
        found.cost_nano = _plus(found.cost_nano, entry.cost_nano)
        if found.currency != entry.currency:
            raise UnreadableError(f"{entry.model} on {entry.day} has amounts in two currencies")
    if not totals:
        raise UnreadableError("the file has no row")
    return totals


def reconcile(
    view: Transaction,
    theirs: dict[Pair, Amounts],
    *,
    name: str,
    providers: tuple[str, ...],
    tolerance_ppm: int,
) -> Reconciliation:
    """Compare an export with the requests of its days; `providers` are ours by name, none of them means all. Scans."""
    first, last = min(day for day, _ in theirs), max(day for day, _ in theirs)
    start_us, end_us = _start_us(first), _start_us(last) + DAY_US
    ours, doubts = _ours(view, start_us, end_us, providers)
    tokens = any(side.input_tokens is not None for side in theirs.values())
    currencies = {side.currency for side in theirs.values() if side.currency is not None}
    lines = []
    for day, model in theirs.keys() | ours.keys():
        their = theirs.get((day, model)) or _nothing(tokens=tokens, currencies=currencies)
        our = ours.get((day, model)) or Amounts(0, 0, 0)
        drift = _drift_ppm(their, our)
        doubt = doubts.get((day, model)) or Doubts()
        lines.append(Line(day, model, their, our, drift, drift <= tolerance_ppm, doubt))
    lines.sort(key=lambda line: (-line.drift_ppm, line.day, line.model))
    lost = view.one(
        "SELECT COUNT(*) FROM requests WHERE error = 'owner_died' AND created >= ? AND created < ?",
        *(start_us, end_us),
    )
    return Reconciliation(
        format=name,
        providers=providers,
        first_day=first,
        last_day=last,
        tolerance_ppm=tolerance_ppm,
        agreed=all(line.within for line in lines),
        lines=tuple(lines),
        lost=_int((lost or (0,))[0]),
    )


def causes(line: Line) -> list[str]:
    """What may be behind a drift, as far as our rows tell."""
    said = (
        (line.doubts.voided, "voided: the provider may bill what failed or was abandoned"),
        (line.doubts.partial, "broken off: the provider may have gone on"),
        (line.doubts.estimated, "counted by us, for the provider did not say"),
        (line.doubts.retried, "tried on more than one route"),
    )
    told = [f"{count} {what}" for count, what in said if count]
    if not line.doubts.calls:
        told.append("no call of ours: is its key used elsewhere?")
    if not any((line.theirs.input_tokens, line.theirs.output_tokens, line.theirs.cost_nano)):
        told.append("nothing of theirs: is the export of the same provider and whole?")
    return told


def _ours(
    view: Transaction, start_us: int, end_us: int, providers: tuple[str, ...]
) -> tuple[dict[Pair, Amounts], dict[Pair, Doubts]]:
    chosen = f" AND provider IN ({', '.join('?' * len(providers))})" if providers else " AND provider <> ''"
    totals: dict[Pair, Amounts] = {}
    doubts: dict[Pair, Doubts] = {}
    for row in view.all(_OURS.format(chosen=chosen), start_us, end_us, *providers):
        day, model, currency, calls, tokens_in, tokens_out, cost, voided, partial, estimated, retried = row
        pair = (_EPOCH + timedelta(days=_int(day))).date().isoformat(), same_model(str(model))
        total = totals.setdefault(pair, Amounts(0, 0, 0, str(currency)))
        total.input_tokens = _plus(total.input_tokens, _int(tokens_in))
        total.output_tokens = _plus(total.output_tokens, _int(tokens_out))
        # Costs in two currencies on one day cannot be added; then only tokens are compared.
        same = total.currency == str(currency)
        total.cost_nano = _plus(total.cost_nano, _int(cost)) if same and total.cost_nano is not None else None
        doubt = doubts.setdefault(pair, Doubts())
        doubt.calls += _int(calls)
        doubt.voided += _int(voided)
        doubt.partial += _int(partial)
        doubt.estimated += _int(estimated)
        doubt.retried += _int(retried)
        if len(totals) > PAIRS_MAX:
            raise UnreadableError(f"more than {PAIRS_MAX} days and models are in our books; cut the file")
    return totals, doubts


def _nothing(*, tokens: bool, currencies: set[str]) -> Amounts:
    """A model that the export does not have, in the measures that it has."""
    count = 0 if tokens else None
    currency = next(iter(currencies)) if len(currencies) == 1 else None
    return Amounts(count, count, None if currency is None else 0, currency)


def _drift_ppm(theirs: Amounts, ours: Amounts) -> int:
    drifts = [
        _apart_ppm(theirs.input_tokens, ours.input_tokens),
        _apart_ppm(theirs.output_tokens, ours.output_tokens),
    ]
    if ours.currency is None or theirs.currency == ours.currency:
        drifts.append(_apart_ppm(theirs.cost_nano, ours.cost_nano))
    return max(drifts)


def _apart_ppm(theirs: int | None, ours: int | None) -> int:
    """How far two counts are apart, of the larger one, rounded up: within a tolerance means within it."""
    if theirs is None or ours is None or theirs == ours:
        return 0
    return -(-abs(ours - theirs) * WHOLE_PPM // max(abs(theirs), abs(ours)))


def _plus(one: int | None, other: int | None) -> int | None:
    return one if other is None else other + (one or 0)


def _start_us(day: str) -> int:
    try:
        start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    except ValueError:
        raise UnreadableError(f"{day!r} is no day") from None
    return (start - _EPOCH) // timedelta(microseconds=1)


def _int(value: Value) -> int:
    """A whole number of the database; PostgreSQL's sums are decimals."""
    return int(str(value or 0))
