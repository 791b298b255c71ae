"""`farebox prices`: what is in force, was and will be; changes ahead of time, and corrections of what was wrong."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from farebox.accounts.accounts import read_accounts
from farebox.app.office import Office
from farebox.app.prices import changes_of
from farebox.billing.prices.book import (
    Key,
    Period,
    find_version,
    in_force,
    list_changes,
    list_coming,
    list_periods,
    withdraw_change,
)
from farebox.billing.prices.pricelist import read_versions
from farebox.billing.prices.repricing import Corrected, Overlaps, Wrong, correct, overcharges, repriced
from farebox.billing.prices.scheduling import Scheduled, TooSoon, Unsellable, schedule_price
from farebox.billing.prices.tariff import Change, Layer, write_moment
from farebox.billing.receipts import read_row
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError, opened, read_amount
from farebox.cli.shop import look_at_shop
from farebox.cli.table import new_table, print_table
from farebox.cli.times import read_moment
from farebox.core.money import write_nano
from farebox.core.rates import EACH_RATES, TOKEN_RATES, Rates, read_rates
from farebox.ledger.books import RequestRow

app = App(
    name="prices", help="Show prices with their past and future, schedule changes, correct what was wrong."
)
Model = Annotated[str, Parameter(help="The model's id.")]
AsOf = Annotated[
    str | None, Parameter(help="By the prices in force then: a day, or a time such as 2026-12-01T00:00:00Z.")
]
Version = Annotated[str | None, Parameter(help="By this version of the price.")]
Json = Annotated[bool, Parameter(negative="", help="JSON lines.")]
NAMED_MAX = 5  # Models in a refusal.
_COLUMNS = ", ".join(RequestRow.__struct_fields__)


@app.command(name="list")
def list_prices(
    name: Annotated[str, Parameter(help="Only models with this in their id.")] = "",
    /,
    *,
    json: Json = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Every price in force by the book, by plan where a plan has its own; and what sells too low."""
    shop = look_at_shop(data, config)
    low = set(shop.prices.low(shop.markups))
    with opened(data, config, make=False) as office, office.database.read() as view:
        now_us = office.clock.now_us()
        rows = {key: version for key, version in in_force(view, now_us).items() if name in key.model}
        rates = read_versions(view, set(rows.values()))
    found = [(key, version) for key, version in sorted(rows.items()) if key.kind == "price"]
    if json:
        for key, version in found:
            _print_json(
                _wire_period(Period(key, now_us, version), rates) | {"below_margin": key.model in low}
            )
        return
    table = new_table("model", "plan", "input", "output", "version", "")
    for key, version in found:
        price = rates[version]
        note = "below what a route asks for" if key.model in low else ""
        table.add_row(key.model, key.scope, _text(price.input), _text(price.output), version, note)
    print_table(table)


@app.command
def show(model: Model, /, *, json: Json = False, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Every price and cost a model ever had here, and those to come, the newest first."""
    with opened(data, config, make=False) as office, office.database.read() as view:
        periods = list_periods(view, model)
        rates = read_versions(view, {period.version for period in periods})
    if not periods:
        raise ValueError(f"nothing is known of {model}: it was never sold here")
    _print_periods(periods, rates, json=json)


@app.command(name="as-of")
def as_of(
    at: Annotated[str, Parameter(help="A day, which begins in the wallet's zone, or a time.")],
    model: Model,
    /,
    *,
    json: Json = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """What a model sold for and cost at a moment, past or to come."""
    with opened(data, config, make=False) as office, office.database.read() as view:
        at_us = _moment(at, office)
        keys = sorted({period.key for period in list_periods(view, model)})
        found = [(key, find_version(view, key, at_us)) for key in keys]
        periods = [Period(key, at_us, version) for key, version in found if version is not None]
        rates = read_versions(view, {period.version for period in periods})
    if not periods:
        raise ValueError(f"{model} was not sold here at {write_moment(at_us)}")
    _print_periods(periods, rates, json=json)


@app.command
def changes(*, json: Json = False, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Prices to come by the book, then the dated changes that were entered here and in the file."""
    with opened(data, config, make=False) as office:
        with office.database.read() as view:
            coming = list_coming(view, office.clock.now_us())
            rates = read_versions(view, {period.version for period in coming})
            entered = list_changes(view, withdrawn=True)
        dated = [change for change in changes_of(office.settings) if change.starts_us]
    rows = [
        *((one.id, one.change, "withdrawn" if one.withdrawn_us else "database") for one in entered),
        *(("", change, "file") for change in dated),
    ]
    _print_periods(coming, rates, json=json)
    if json:
        for id_, change, where in rows:
            _print_json({"id": id_ or None, "where": where, **_wire_change(change)})
        return
    table = new_table("id", "where", "from", "model or currency", "change")
    for id_, change, where in rows:
        table.add_row(id_, where, write_moment(change.starts_us), change.target, _told(change))
    print_table(table)


@app.command
def schedule(
    model: Annotated[str, Parameter(help="The model's id, or a pattern such as openai/*.")],
    /,
    *,
    starts: Annotated[
        str, Parameter(name="--from", help="A day, which begins in the wallet's zone, or a time.")
    ],
    price: Annotated[
        str | None, Parameter(help='The price by hand, as in the settings: input="16", output="64".')
    ] = None,
    cost: Annotated[
        str | None, Parameter(help='What you pay: currency="USD", input="0.15", output="0.6".')
    ] = None,
    markup: Annotated[str | None, Parameter(help="The markup, such as 1.3.")] = None,
    notice: Annotated[
        bool, Parameter(help="Without it an increase may come before customers can be told.")
    ] = True,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Enter a dated change. Running servers follow it; what becomes dearer is announced ahead."""
    shop = look_at_shop(data, config)
    with opened(data, config, make=False) as office:
        change = _read_change(office, model, starts, price=price, cost=cost, markup=markup, notice=notice)
        with office.database.transaction() as work:
            outcome = schedule_price(
                work,
                shop.prices,
                change,
                id_=office.ids.new(),
                now_us=office.clock.now_us(),
                notice_days=office.settings.wallet.price_notice_days,
                markups=shop.markups,
            )
    match outcome:
        case Scheduled(id=id_):
            print(f"{id_}: {_told(change)} for {model} from {write_moment(change.starts_us)} on.")
        case TooSoon(earliest_us=earliest_us, dearer=dearer):
            raise ValueError(
                f"{', '.join(dearer[:NAMED_MAX])} would be dearer before customers can be told: say --from"
                f" {write_moment(earliest_us)} or later, or --no-notice"
            )
        case Unsellable(models=()):
            raise ValueError(f"no model for sale here is {model}")
        case Unsellable(models=models):
            raise ValueError(f"{', '.join(models[:NAMED_MAX])} cannot be sold at that")


@app.command
def withdraw(
    change: Annotated[str, Parameter(help="Its id, as `prices changes` shows it.")],
    /,
    *,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Take back a change that was entered here and has not taken effect."""
    with opened(data, config, make=False) as office, office.database.transaction() as work:
        if not withdraw_change(work, change, office.clock.now_us()):
            raise ValueError(f"there is no change {change} that is still to come")
    print(f"{change} is withdrawn.")


@app.command
def reprice(
    request: Annotated[str, Parameter(help="The request's id.")],
    /,
    *,
    as_of: AsOf = None,
    version: Version = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """What a past call comes to by another price than its own, line by line as JSON. Nothing is moved."""
    with opened(data, config, make=False) as office, office.database.read() as view:
        found = view.one(f"SELECT {_COLUMNS} FROM requests WHERE id = ?", request)  # noqa: S608 -- our own columns
        if found is None:
            raise ValueError(f"there is no request {request}")
        row = read_row(found)
        again = repriced(
            view, row, as_of_us=None if as_of is None else _moment(as_of, office), version=version
        )
    if again is None:
        raise ValueError(f"there is no such price of {row.model}")
    lines = [
        {"unit": line.unit_class, "units": line.units, "price": write_nano(line.price_nano), "per": line.per}
        for line in again.lines
    ]
    _print_json(
        {
            "id": row.id,
            "model": row.model,
            "charged": write_nano(row.charge),
            "charged_by": row.price_version,
            "comes_to": write_nano(again.charge_nano),
            "by": again.version,
            "currency": again.currency,
            "lines": lines,
        }
    )


@app.command(name="correct")
def correct_price(
    model: Model,
    /,
    *,
    since: Annotated[str, Parameter(name="--from", help="From when the price was wrong.")],
    until: Annotated[
        str, Parameter(name="--to", help="Until when it was wrong; that moment is right again.")
    ],
    as_of: AsOf = None,
    version: Version = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Only say what would be given back.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Give back what a wrong price took: one correction for each account. Doing it twice gives once."""
    if (as_of is None) == (version is None):
        raise UsageError("say which price was right: --as-of or --version")
    with opened(data, config, make=False) as office:
        right_us = None if as_of is None else _moment(as_of, office)
        wrong = Wrong(model, _moment(since, office), _moment(until, office), right_us, version)
        found = overcharges(office.database, wrong)
        with office.database.read() as view:
            names = {account.id: account.name for account in read_accounts(view)}
        for one in found:
            amounts = (
                f"{one.requests} calls, paid {write_nano(one.charged_nano)}, due {write_nano(one.due_nano)}"
            )
            print(f"{names[one.account_id]}: {amounts}, back {write_nano(one.back_nano)}")
        if dry_run:
            return
        currency = office.settings.wallet.currency
        reason = f"price of {model} corrected"
        with office.database.transaction() as work:
            outcome = correct(
                work, wrong, found, currency=currency, reason=reason, now_us=office.clock.now_us()
            )
    match outcome:
        case Overlaps(id=id_):
            raise ValueError(f"calls of that time were corrected already, by {id_}; nothing was given back")
        case Corrected(given_nano=given, new=new):
            print(f"{new} accounts got {write_nano(given)} {currency} back.")


def _moment(text: str, office: Office) -> int:
    return read_moment(text, office.settings.wallet.time_zone)


def _read_change(
    office: Office,
    model: str,
    starts: str,
    *,
    price: str | None,
    cost: str | None,
    markup: str | None,
    notice: bool,
) -> Change:
    if [price, cost, markup].count(None) != 2:  # noqa: PLR2004 -- all but one
        raise UsageError("say one of --price, --cost and --markup")
    currency = office.settings.wallet.currency
    return Change(
        what="price" if price else "cost" if cost else "markup",
        target=model,
        starts_us=_moment(starts, office),
        layer=Layer.DATABASE,
        rates=_read_rates(price or cost, currency) if price or cost else None,
        factor_nano=read_amount(markup) if markup else None,
        notice=notice,
        source="command line",
    )


def _read_rates(text: str | None, currency: str) -> Rates:
    try:
        members = msgspec.toml.decode(f"rates = {{ {text} }}")["rates"]
        return read_rates(str(members.pop("currency", currency)), **members)
    except ValueError as problem:
        raise UsageError(str(problem)) from None


def _print_periods(periods: list[Period], rates: dict[str, Rates], *, json: bool) -> None:
    if json:
        for period in periods:
            _print_json(_wire_period(period, rates))
        return
    table = new_table("from", "what", "model", "plan or provider", "input", "output", "currency", "version")
    for period in periods:
        found = rates.get(period.version)
        amounts = (
            ("", "", "not sold")
            if found is None
            else (_text(found.input), _text(found.output), found.currency)
        )
        key: Key = period.key
        table.add_row(
            write_moment(period.starts_us), key.kind, key.model, key.scope, *amounts, period.version
        )
    print_table(table)


def _wire_period(period: Period, rates: dict[str, Rates]) -> dict[str, object]:
    found = rates.get(period.version)
    return {
        "kind": period.key.kind,
        "model": period.key.model,
        "scope": period.key.scope,
        "from": write_moment(period.starts_us),
        "version": period.version or None,
        "rates": None if found is None else _wire_rates(found),
    }


def _wire_change(change: Change) -> dict[str, object]:
    return {
        "what": change.what,
        "target": change.target,
        "from": write_moment(change.starts_us),
        "rates": None if change.rates is None else _wire_rates(change.rates),
        "factor": None if change.factor_nano is None else write_nano(change.factor_nano),
        "notice": change.notice,
    }


def _wire_rates(rates: Rates) -> dict[str, object]:
    named = {
        name: write_nano(rate)
        for name in (*TOKEN_RATES, *EACH_RATES)
        if (rate := getattr(rates, name)) is not None
    }
    images = {variant or "default": write_nano(rate) for variant, rate in rates.images}
    return {"currency": rates.currency, **named, **({"image": images} if images else {})}


def _told(change: Change) -> str:
    if change.rates is None:
        return f"{change.what} {write_nano(change.factor_nano or 0)}"
    members = " ".join(
        f"{name} {amount}" for name, amount in _wire_rates(change.rates).items() if name != "currency"
    )
    return f"{change.what} {members} {change.rates.currency}"


def _text(nano: int | None) -> str:
    return "" if nano is None else write_nano(nano)


def _print_json(value: object) -> None:
    print(msgspec.json.encode(value).decode())
