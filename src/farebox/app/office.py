"""The office: the data folder of a deployment, opened. What the command line and a worker both start from."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from farebox.accounts.plans import BUILT_IN, Plan, PlanChange, plan_table
from farebox.billing.pricelist import PriceList, Terms
from farebox.config.read import read_settings
from farebox.config.settings import Known, Settings, database_file
from farebox.core.clock import SystemClock, Ulids
from farebox.dialects import DIALECTS
from farebox.gateway.profiles import PROFILES
from farebox.providers.quirks import QUIRKS
from farebox.store.migrate import load_migrations, migrate
from farebox.store.sqlite import SqliteDatabase

SECRET_VARIABLE = "FAREBOX_SECRET"  # noqa: S105 -- the name of a variable, not its value
SECRET_BYTES = 32
KNOWN = Known(
    dialects=frozenset(DIALECTS),
    profiles=frozenset(PROFILES),
    plans=frozenset(plan.name for plan in BUILT_IN),
    quirks=frozenset(QUIRKS),
)


class Office(msgspec.Struct, frozen=True):
    """An opened deployment."""

    data: Path
    settings: Settings
    database: SqliteDatabase
    database_path: Path
    clock: SystemClock
    ids: Ulids
    secret: bytes
    new: bool  # The database was made just now.

    @property
    def owners_folder(self) -> Path:
        """Where workers on this database keep their proofs of life."""
        return self.database_path.with_name(f"{self.database_path.name}.owners")

    @property
    def windows_file(self) -> Path:
        """Where workers on this database count calls."""
        return self.database_path.with_name(f"{self.database_path.name}.windows")

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()


def load_settings(config: Path | None, environment: Mapping[str, str]) -> Settings:
    """Settings from the named file, else `farebox.toml` here if there is one, else from nothing but defaults."""
    usual = Path("farebox.toml")
    return read_settings(config or (usual if usual.exists() else None), environment, KNOWN)


def open_office(data: Path, settings: Settings, environment: Mapping[str, str]) -> Office:
    """Open a data folder, making it and its database where they are not there yet."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = database_file(settings.store, data)
    new = not path.exists()
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = SqliteDatabase(path, durability=settings.store.durability)
    migrate(database, load_migrations())
    _check_currency(database, settings.wallet.currency)
    clock = SystemClock()
    return Office(data, settings, database, path, clock, Ulids(clock), _secret(data, environment), new)


def _check_currency(database: SqliteDatabase, currency: str) -> None:
    """One currency a deployment, fixed at first start."""
    with database.transaction() as work:
        work.run("INSERT OR IGNORE INTO settings (name, value) VALUES ('currency', ?)", currency)
        row = work.one("SELECT value FROM settings WHERE name = 'currency'")
    assert row is not None
    if row[0] != currency:
        raise ValueError(
            f"wallet.currency is {currency}, but this data folder was started in {row[0]!s}:"
            " one deployment has one currency"
        )


def _secret(data: Path, environment: Mapping[str, str]) -> bytes:
    """The master secret: from the environment, else from `secret.key`, made at first start."""
    given = environment.get(SECRET_VARIABLE)
    if given:
        return given.encode()
    path = data / "secret.key"
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return bytes.fromhex(path.read_text("ascii").strip())
    secret = secrets.token_bytes(SECRET_BYTES)
    with os.fdopen(file, "w", encoding="ascii") as handle:
        handle.write(secret.hex() + "\n")
    return secret


def plans_of(settings: Settings) -> dict[str, Plan]:
    """The plan table with the operator's rows in it."""
    return plan_table(
        PlanChange(
            plan.name,
            plan.chat_rpm,
            plan.image_rpm,
            plan.tokens_per_minute,
            plan.concurrency,
            plan.models,
            plan.markup_nano,
        )
        for plan in settings.plans
    )


def price_list(settings: Settings) -> PriceList:
    """How this deployment makes prices."""
    wallet = settings.wallet
    return PriceList(Terms(wallet.currency, wallet.markup_nano, wallet.fx_nano))
