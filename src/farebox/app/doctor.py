"""The doctor: what is wrong with a deployment, or soon will be, and what to do; it looks and changes nothing.

One small function a check, in a table. None of them migrates, sweeps or writes: it may run beside a running server, and
before the first start of a new release.
"""

from __future__ import annotations

import http.client
import resource
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path

import msgspec

from farebox.accounts.administrators import has_administrator
from farebox.app.bookkeeping import check_all_books
from farebox.app.office import plans_of
from farebox.app.prices import price_list, price_list_at
from farebox.app.secret import SECRET_VARIABLE
from farebox.app.stock import Found, is_loopback, take_stock
from farebox.config.origin import ConfigError
from farebox.config.settings import Settings, database_file
from farebox.core.clock import Clock
from farebox.providers.catalogue import Catalogue
from farebox.providers.imported import read_imported
from farebox.providers.listing import Listing, maker_of
from farebox.providers.rows import load_providers
from farebox.store.database import Database, StoreUnavailableError
from farebox.store.engines import Place, open_database
from farebox.store.migrate import load_migrations

FREE_BYTES = 1 << 30
FREE_PERCENT = 5
AHEAD_US = 60_000_000  # Another machine's clock may be so far ahead without harm.
ANSWER_S = 2.0
ANSWER_BYTES_MAX = 10_000
FILES_BESIDE = 256  # Open files that are no connection.
NAMED_MAX = 10
_OTHERS = 0o077
_OLD_US = 1_735_689_600_000_000  # 2025: no clock that is right shows less.
_SECRET_FILE = "secret.key"  # noqa: S105 -- the name of a file
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # Where a server on every address is reached.


class Finding(msgspec.Struct, frozen=True):
    """What a check saw; `advice` is what to do where it is not well."""

    name: str
    ok: bool
    text: str
    advice: str = ""


class Patient(msgspec.Struct, frozen=True):
    """What is looked at. `database` is None where it cannot be used as this release's."""

    data: Path
    settings: Settings
    environment: Mapping[str, str]
    found: Found
    clock: Clock
    database: Database | None = None


Check = Callable[[Patient], Iterable[Finding]]


def examine(patient: Patient) -> list[Finding]:
    """Every check, in the order of the table. The database is opened here and closed again."""
    opened = _opened(patient)
    findings = [opened] if isinstance(opened, Finding) else []
    database = None if isinstance(opened, Finding) else opened
    try:
        if database is not None:
            schema = _schema(database)
            findings.append(schema)
            if schema.ok:
                patient = msgspec.structs.replace(patient, database=database)
        for name, check in CHECKS.items():
            try:
                findings += check(patient)
            except StoreUnavailableError as problem:
                findings.append(
                    Finding(name, ok=False, text=str(problem), advice="see that the database answers")
                )
    finally:
        if database is not None:
            database.close()
    return findings


def _opened(patient: Patient) -> Database | Finding:
    store = patient.settings.store
    try:
        return open_database(Place(store.database, database_file(store, patient.data), store.durability))
    except StoreUnavailableError as problem:
        return Finding(
            "database", ok=False, text=str(problem), advice="start the database, or correct [store] database"
        )


def _schema(database: Database) -> Finding:
    known = {step.number: step.checksum for step in load_migrations()}
    try:
        database.ping()  # Says by one error, of either engine, that there are no migrations at all.
        with database.read() as view:
            rows = view.all("SELECT n, checksum FROM migrations")
    except StoreUnavailableError as problem:
        return Finding("database", ok=False, text=str(problem), advice="see that the database answers")
    applied = {int(str(n)): str(checksum) for n, checksum in rows}
    if applied.keys() - known.keys():
        advice = "update Farebox, or restore a backup of this release"
        return Finding("database", ok=False, text="it was written by a newer Farebox", advice=advice)
    if any(known[number] != checksum for number, checksum in applied.items()):
        advice = "run the release that the database was made with"
        return Finding("database", ok=False, text="its schema is not this release's", advice=advice)
    missing = len(known) - len(applied)
    if missing:
        advice = "make a backup and start `farebox up`: it applies them"
        return Finding("database", ok=False, text=f"{missing} migrations are not applied", advice=advice)
    return Finding("database", ok=True, text=f"opens, with the {len(known)} migrations of this release")


def _folder(patient: Patient) -> Iterator[Finding]:
    secret = patient.data / _SECRET_FILE
    for path, mode in ((patient.data, 0o700), (secret, 0o600)):
        found = stat.S_IMODE(path.stat().st_mode) if path.exists() else mode
        if found & _OTHERS:
            text = f"{path} can be reached by other users (mode {found:04o})"
            yield Finding("data folder", ok=False, text=text, advice=f"chmod {mode:o} {path}")
            return
    if not secret.exists() and not patient.environment.get(SECRET_VARIABLE):
        advice = f"restore it from the backup of the data folder, or set {SECRET_VARIABLE}"
        yield Finding("data folder", ok=False, text=f"{secret} is not there", advice=advice)
        return
    yield Finding("data folder", ok=True, text=f"{patient.data} is its owner's alone")


def _disk(patient: Patient) -> Iterator[Finding]:
    usage = shutil.disk_usage(patient.data)
    text = f"{usage.free // (1 << 20)} MiB are free, {usage.free * 100 // max(usage.total, 1)} %"
    ok = usage.free >= FREE_BYTES or usage.free * 100 >= usage.total * FREE_PERCENT
    yield Finding("disk", ok=ok, text=text, advice="" if ok else "make room: a full disk stops every call")


def _clock(patient: Patient) -> Iterator[Finding]:
    now_us = patient.clock.now_us()
    newest = 0
    if patient.database is not None:
        with patient.database.read() as view:
            row = view.one("SELECT created FROM transfers ORDER BY seq DESC LIMIT 1")
        newest = int((row or (0,))[0] or 0)
    ahead_us = newest - now_us
    ok = ahead_us <= AHEAD_US and now_us >= _OLD_US
    text = "no entry of the books is from the future" if ok else "this machine's clock is behind"
    if ahead_us > AHEAD_US:
        text = f"the newest entry of the books is {ahead_us // 1_000_000} s from now"
    yield Finding("clock", ok=ok, text=text, advice="" if ok else "set the clock, and keep it by NTP")


def _books(patient: Patient) -> Iterator[Finding]:
    if patient.database is None:
        return
    report = check_all_books(patient.database)
    if report.balanced:
        text = f"balanced: {report.wallets} wallets, {report.transfers} transfers, {report.holds} holds"
        yield Finding("books", ok=True, text=text)
        return
    first = report.breaches[0]
    text = f"NOT balanced, {len(report.breaches)} breaches; the first: {first.rule}: {first.row}"
    yield Finding("books", ok=False, text=text, advice="`farebox books check` names every row")


def _administrator(patient: Patient) -> Iterator[Finding]:
    if patient.database is None:
        return
    with patient.database.read() as view:
        known = has_administrator(view)
    text = "there is one" if known else "there is none"
    yield Finding(
        "administrator", ok=known, text=text, advice="" if known else "`farebox admin link` makes one"
    )


def _keys(patient: Patient) -> Iterator[Finding]:
    rows = {row.name: row for row in load_providers()}
    without = [
        (provider.name, variable)
        for provider in patient.settings.providers
        if provider.api_key is None
        and not provider.headers
        and (variable := getattr(rows.get(provider.name), "key_variable", None))
    ]
    for name, variable in without:
        text = f"{name} has no key"
        yield Finding("providers", ok=False, text=text, advice=f'write api_key = "${variable}" in its row')
    if not without:
        count = len(patient.settings.providers) + len(patient.found.keys) + len(patient.found.engines)
        none = "none: the sandbox answers on loopback, and nothing is sold elsewhere"
        yield Finding("providers", ok=True, text=f"{count} can be asked" if count else none)


def _models(patient: Patient) -> Iterator[Finding]:
    catalogue = _catalogue(patient)
    if isinstance(catalogue, Finding):
        yield catalogue
        return
    sold = {listing.id for listing in catalogue.listings}
    unsold = [model.id for model in patient.settings.models if model.id not in sold]
    for id_ in unsold:
        text, advice = _why_unsold(patient, id_)
        yield Finding("models", ok=False, text=f"{id_} cannot be sold: {text}", advice=advice)
    if not sold:
        yield Finding("models", ok=False, text="none is for sale", advice="configure a provider")
    elif not unsold:
        yield Finding("models", ok=True, text=f"{len(sold)} are for sale")


def _why_unsold(patient: Patient, id_: str) -> tuple[str, str]:
    model = next(model for model in patient.settings.models if model.id == id_)
    names = {provider.name for provider in patient.settings.providers}
    ways = [route.provider for route in model.routes] or [maker_of(id_)]
    if not names.intersection(ways):
        return f"no provider of its routes is configured ({', '.join(ways)})", "give it routes to one that is"
    return f"what a {model.kind} model delivers has no price", "give it a cost or a price for that"


def _fx(patient: Patient) -> Iterator[Finding]:
    wallet = patient.settings.wallet
    if wallet.currency == "USD" or "USD" in wallet.fx_nano:
        yield Finding("exchange rates", ok=True, text=f"costs can be told in {wallet.currency}")
        return
    text = (
        f"nothing says what one USD is worth in {wallet.currency}, so no model with a cost in USD can be sold"
    )
    yield Finding("exchange rates", ok=False, text=text, advice='write [wallet] fx = { USD = "…" }')


def _prices(patient: Patient) -> Iterator[Finding]:
    settings, catalogue = patient.settings, _catalogue(patient)
    if isinstance(catalogue, Finding):
        return
    prices = price_list(settings, catalogue)
    if patient.database is not None:
        with patient.database.read() as view:
            prices = price_list_at(view, settings, catalogue, patient.clock.now_us())
    low = prices.low({plan.markup_nano for plan in plans_of(settings).values()})
    if not low:
        yield Finding("prices", ok=True, text="none is below its cost")
        return
    named = ", ".join(low[:NAMED_MAX]) + (", …" if len(low) > NAMED_MAX else "")
    guarded = bool(settings.wallet.margin_factor_nano)
    text = f"{len(low)} models would sell below {'the margin' if guarded else 'cost'}: {named}"
    if guarded:  # What the guard does about them is what the operator has asked for.
        yield Finding("prices", ok=True, text=f"{text}; the margin guard keeps them from it")
    else:
        yield Finding(
            "prices", ok=False, text=text, advice="raise their price, or set [wallet] margin_factor"
        )


def _address(patient: Patient) -> Iterator[Finding]:
    server = patient.settings.server
    public = not is_loopback(server.host)
    if public and not server.base_url:
        text = f"{server.host} is a public address, and base_url is not set: links in mails and payments lead nowhere"
        yield Finding("address", ok=False, text=text, advice='write [server] base_url = "https://…"')
    else:
        yield Finding("address", ok=True, text=server.base_url or f"{server.host} is this machine's alone")


def _payments(patient: Patient) -> Iterator[Finding]:
    payments = patient.settings.payments
    deaf = [
        name
        for name in payments.processors
        if getattr(getattr(payments, name, None), "webhook_secret", "none is needed") is None
    ]
    for name in deaf:
        text = f"{name} has no webhook_secret, so what it tells cannot be believed and payments are seen late"
        yield Finding("payments", ok=False, text=text, advice=f"write [payments.{name}] webhook_secret")
    if not deaf:
        yield Finding("payments", ok=True, text=", ".join(payments.processors) or "none are taken")


def _files(patient: Patient) -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * patient.settings.server.max_in_flight + FILES_BESIDE  # A call is a connection on both sides.
    ok = hard == resource.RLIM_INFINITY or hard >= wanted
    text = f"{'any number' if hard == resource.RLIM_INFINITY else hard} may be open, {wanted} may be needed"
    advice = "" if ok else f"raise it (LimitNOFILE={wanted}, ulimit -n), or lower [server] max_in_flight"
    yield Finding("open files", ok=ok, text=text, advice=advice)


def _port(patient: Patient) -> Iterator[Finding]:
    server = patient.settings.server
    host, port = _WILDCARDS.get(server.host, server.host), server.port
    if not port or not _is_ours(host):
        return
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/health/ready")
        said = connection.getresponse().read(ANSWER_BYTES_MAX)
        ready = msgspec.json.decode(said, type=dict[str, str])
    except ConnectionRefusedError:
        yield Finding("port", ok=True, text=f"{port} is free")
        return
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        ready = {}
    finally:
        connection.close()
    if "db" not in ready:
        text = f"something else answers on port {port}"
        yield Finding("port", ok=False, text=text, advice="end it, or choose another [server] port")
        return
    ok = ready.get("status") == "ready"
    text = f"a Farebox answers on port {port}: {ready.get('status')}, database {ready['db']}"
    yield Finding("port", ok=ok, text=text, advice="" if ok else "see its log")


def _is_ours(host: str) -> bool:
    """Whether the address is this machine's own: nobody else's is ever called."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _catalogue(patient: Patient) -> Catalogue | Finding:
    imported: tuple[Listing, ...] = ()
    if patient.database is not None:
        with patient.database.read() as view:
            imported = read_imported(view)
    try:
        return take_stock(patient.settings, patient.found, patient.environment, imported).catalogue
    except (ConfigError, ValueError) as problem:
        return Finding("models", ok=False, text=" ".join(str(problem).split()), advice="correct the settings")


CHECKS: dict[str, Check] = {
    "data folder": _folder,
    "disk": _disk,
    "clock": _clock,
    "books": _books,
    "administrator": _administrator,
    "providers": _keys,
    "models": _models,
    "exchange rates": _fx,
    "prices": _prices,
    "address": _address,
    "payments": _payments,
    "open files": _files,
    "port": _port,
}
