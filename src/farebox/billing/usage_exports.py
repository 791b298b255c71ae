"""Usage exports: what providers say we used, read from their files by a table of formats. Pure: lines or bytes in.

The names of columns and members are known from memory of the providers' documentation, not from recorded files:

- OpenAI: the organization's usage and costs endpoints (`/v1/organization/usage/completions`, `/v1/organization/costs`),
  pages of buckets with `results`; the dashboard's exports of both as CSV. `input_tokens` counts cached tokens as well,
  and text alone: audio stands beside it. Costs name the model in `line_item`, before a comma.
- Anthropic: the Admin API's usage and cost reports, pages likewise, whose `amount` is in hundredths of the currency;
  the console's exports of both as CSV. Input, cache reads and cache writes are disjoint.
- `plain`: a CSV anybody can make of any other provider's figures.

Days are UTC, as all of them count.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, DecimalException, localcontext

import msgspec

from farebox.core.money import MAX_NANO, NANO

COLUMNS_NAMED_MAX = 30
_DAY = re.compile(r"20\d\d-\d\d-\d\d")
_SNAPSHOT = re.compile(r"(?:[-@]20\d{6}|-20\d\d-\d\d-\d\d|-latest)$")
_NAME_MAX = 200


class UnreadableError(ValueError):
    """The file is no export we know; the message is one line."""


class Entry(msgspec.Struct, frozen=True):
    """One row of an export. None: the export does not tell this."""

    day: str
    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano: int | None = None
    currency: str | None = None


class Layout(msgspec.Struct, frozen=True):
    """A CSV: which columns it is known by, and which are added up for what. A file may lack those in `maybe`."""

    name: str
    providers: tuple[str, ...]  # What an operator usually calls them; empty: nobody knows.
    day: str
    model: str
    tokens_in: tuple[str, ...] = ()
    tokens_out: tuple[str, ...] = ()
    cost: str | None = None
    currency: str | None = None  # The column; None: US dollars.
    maybe: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column it may have."""
        given = (self.day, self.model, *self.tokens_in, *self.tokens_out, self.cost, self.currency)
        return tuple(column for column in given if column is not None)

    @property
    def required(self) -> frozenset[str]:
        """The columns it is known by."""
        return frozenset(self.columns) - self.maybe


OPENAI = ("openai", "openai-responses")
ANTHROPIC = ("anthropic",)
LAYOUTS = (
    Layout(
        "openai usage",
        OPENAI,
        day="start_time",
        model="model",
        tokens_in=("input_tokens", "input_audio_tokens"),
        tokens_out=("output_tokens", "output_audio_tokens"),
        maybe=frozenset({"input_audio_tokens", "output_audio_tokens"}),
    ),
    Layout(
        "openai costs",
        OPENAI,
        day="start_time",
        model="line_item",
        cost="amount_value",
        currency="amount_currency",
        maybe=frozenset({"amount_currency"}),
    ),
    Layout(
        "anthropic usage",
        ANTHROPIC,
        day="usage_date_utc",
        model="model_version",
        tokens_in=(
            "usage_input_tokens_no_cache",
            "usage_input_tokens_cache_read",
            "usage_input_tokens_cache_write_5m",
            "usage_input_tokens_cache_write_1h",
        ),
        tokens_out=("usage_output_tokens",),
        maybe=frozenset({"usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h"}),
    ),
    Layout("anthropic cost", ANTHROPIC, day="usage_date_utc", model="model", cost="cost_usd"),
    Layout(
        "plain",
        (),
        day="day",
        model="model",
        tokens_in=("input_tokens",),
        tokens_out=("output_tokens",),
        cost="cost",
        currency="currency",
        maybe=frozenset({"cost", "currency"}),
    ),
)


class Export(msgspec.Struct):
    """A file that is being read: which format it is, and its rows."""

    name: str
    providers: tuple[str, ...]
    entries: Iterable[Entry]


def read_csv(lines: Iterable[str]) -> Export:
    """A CSV by its head, its rows one by one. UnreadableError, at once or while the rows are read, says why not."""
    reader = csv.reader(lines)
    try:
        head = [column.strip().removeprefix("\ufeff").lower() for column in next(reader, [])]
    except csv.Error as problem:
        raise UnreadableError(f"this is no CSV: {problem}") from None
    for layout in LAYOUTS:
        if layout.required <= set(head):
            return Export(layout.name, layout.providers, _rows(layout, head, reader))
    found = ", ".join(repr(column[:60]) for column in head[:COLUMNS_NAMED_MAX]) or "none"
    raise UnreadableError(f"no known export has these columns: {found}")


def same_model(name: str) -> str:
    """A model's name as both sides are compared by it: small letters, without the date of a snapshot."""
    plain = name.strip().lower().removeprefix("models/")
    return _SNAPSHOT.sub("", re.sub(r"[ ._]+", "-", plain))[:_NAME_MAX]


def _rows(layout: Layout, head: list[str], reader: Iterator[list[str]]) -> Iterator[Entry]:
    places = {column: head.index(column) for column in layout.columns if column in head}
    number = 1
    try:
        for row in reader:
            number += 1
            if row and any(row):
                yield _entry(layout, {column: row[place] for column, place in places.items()})
    except (csv.Error, ValueError, IndexError, OverflowError) as problem:
        told = (
            problem
            if isinstance(problem, UnreadableError)
            else "it has fewer columns than the first, or no number"
        )
        raise UnreadableError(f"row {number} cannot be read: {told}") from None


def _entry(layout: Layout, row: Mapping[str, str]) -> Entry:
    has_cost = layout.cost is not None and layout.cost in row
    return Entry(
        day=_day(row[layout.day]),
        model=_model(row[layout.model]),
        input_tokens=_sum(row, layout.tokens_in),
        output_tokens=_sum(row, layout.tokens_out),
        cost_nano=_nano(row[layout.cost]) if has_cost and layout.cost is not None else None,
        currency=(row.get(layout.currency or "") or "USD").strip().upper() if has_cost else None,
    )


def _sum(row: Mapping[str, str], columns: tuple[str, ...]) -> int | None:
    return sum(int(row[column] or 0) for column in columns if column in row) if columns else None


def _day(text: str) -> str:
    """The UTC day of an epoch second or of a date in text."""
    text = text.strip()
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC).date().isoformat()
    if not _DAY.match(text):
        raise UnreadableError(f"{text[:40]!r} is no day")
    return text[:10]


def _model(text: str) -> str:
    name = same_model(text.partition(",")[0])
    if not name:
        raise UnreadableError("it names no model: export it grouped by model")
    return name


def _nano(value: str | Decimal, scale: int = NANO) -> int:
    """An amount in nano-units, rounded half to even as the default of decimals is."""
    with suppress(DecimalException), localcontext(prec=60):
        number = (Decimal(value or 0) * scale).to_integral_value()
        if abs(number) <= MAX_NANO:
            return int(number)
    raise UnreadableError(f"{str(value)[:40]!r} is no amount")


class _Amount(msgspec.Struct):
    value: Decimal
    currency: str = "usd"


class _CacheCreation(msgspec.Struct):
    ephemeral_1h_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0


class _Result(msgspec.Struct):
    """A result of any of the four endpoints; what tells them apart is which members it has."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    uncached_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    amount: _Amount | str | None = None
    currency: str | None = None
    line_item: str | None = None
    description: str | None = None


class _Bucket(msgspec.Struct):
    results: list[_Result]
    start_time: int | None = None
    starting_at: str | None = None


class _Page(msgspec.Struct):
    data: list[_Bucket]


_PAGES = msgspec.json.Decoder(list[_Page] | _Page)
_PAGE = msgspec.json.Decoder(_Page)
_CENT_NANO = NANO // 100


def read_json(text: bytes) -> Export:
    """Pages of an endpoint: one, a list of them, or one a line."""
    try:
        found = _PAGES.decode(text)
        pages = found if isinstance(found, list) else [found]
    except msgspec.DecodeError as problem:
        try:
            pages = _PAGE.decode_lines(text)
        except msgspec.DecodeError:
            raise UnreadableError(
                f"this is no usage or cost report of OpenAI or Anthropic: {str(problem)[:200]}"
            ) from None
    buckets = [bucket for page in pages for bucket in page.data]
    of_openai = any(bucket.start_time is not None for bucket in buckets)
    kinds = {_kind(result) for bucket in buckets for result in bucket.results}
    if len(kinds) > 1:
        raise UnreadableError(f"these are reports of different kinds: {', '.join(sorted(kinds))}")
    name = f"{'openai' if of_openai else 'anthropic'} {min(kinds, default='usage')} report"
    return Export(name, OPENAI if of_openai else ANTHROPIC, _results(buckets))


def _kind(result: _Result) -> str:
    return "usage" if result.amount is None else "cost"


def _results(buckets: Iterable[_Bucket]) -> Iterator[Entry]:
    for bucket in buckets:
        day = _day(str(bucket.start_time) if bucket.start_time is not None else bucket.starting_at or "")
        for result in bucket.results:
            yield _reported(day, result)


def _reported(day: str, result: _Result) -> Entry:
    model = _model(result.model or result.line_item or result.description or "")
    match result.amount:
        case _Amount(value=value, currency=currency):
            return Entry(day, model, cost_nano=_nano(value), currency=currency.upper())
        case str() as cents:
            currency = (result.currency or "USD").upper()
            return Entry(day, model, cost_nano=_nano(cents, _CENT_NANO), currency=currency)
        case None:
            written = result.cache_creation or _CacheCreation()
            into = (
                *(result.input_tokens, result.input_audio_tokens),
                *(result.uncached_input_tokens, result.cache_read_input_tokens),
                *(written.ephemeral_1h_input_tokens, written.ephemeral_5m_input_tokens),
            )
            out = (result.output_tokens, result.output_audio_tokens)
            return Entry(day, model, _total(into), _total(out))


def _total(counts: Iterable[int | None]) -> int:
    return sum(count or 0 for count in counts)
