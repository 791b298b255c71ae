"""The office: the data folder of a deployment, opened. What the command line and a worker both start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from farebox.accounts.plans import BUILT_IN, Plan, PlanChange, plan_table
from farebox.app.backup import backup_before_migration
from farebox.app.secret import read_secrets
from farebox.config.read import read_settings
from farebox.config.settings import DATABASE_FILE, Known, Settings, database_file
from farebox.core.clock import SystemClock, Ulids
from farebox.dialects import DIALECTS
from farebox.gateway.profiles import PROFILES
from farebox.ledger.owners import Lives, lives_on
from farebox.providers.quirks import QUIRKS
from farebox.store.database import Database
from farebox.store.engines import Place, open_database
from farebox.store.migrate import load_migrations, migrate
from farebox.store.vault import Vault

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
    database: Database
    database_path: Path | None  # None: it is on a server.
    clock: SystemClock
    ids: Ulids
    secret: bytes  # The current master secret.
    vault: Vault
    new: bool  # The database was made just now.
    lives: Lives  # How its workers prove that they live.

    @property
    def windows_file(self) -> Path:
        """Where workers on this machine count calls."""
        return _beside(self.database_path, self.data, "windows")

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
    path, store = database_file(settings.store, data), settings.store
    if path is not None:
        backup_before_migration(path, data)
    database = open_database(Place(store.database, path, store.durability))
    steps = load_migrations()
    new = migrate(database, steps) == len(steps)
    _check_currency(database, settings.wallet.currency)
    clock, secrets = SystemClock(), read_secrets(data, environment)
    return Office(
        data=data,
        settings=settings,
        database=database,
        database_path=path,
        clock=clock,
        ids=Ulids(clock),
        secret=secrets[0],
        vault=Vault(secrets),
        new=new,
        lives=lives_on(database, _beside(path, data, "owners"), clock),
    )


def _beside(database: Path | None, data: Path, what: str) -> Path:
    """A file or folder that belongs to the database: beside it, or in the data folder where it is on a server."""
    file = database or data / DATABASE_FILE
    return file.with_name(f"{file.name}.{what}")


def _check_currency(database: Database, currency: str) -> None:
    """One currency a deployment, fixed at first start."""
    with database.transaction() as work:
        work.run(
            "INSERT INTO settings (name, value) VALUES ('currency', ?) ON CONFLICT (name) DO NOTHING",
            currency,
        )
        row = work.one("SELECT value FROM settings WHERE name = 'currency'")
    assert row is not None
    if row[0] != currency:
        raise ValueError(
            f"wallet.currency is {currency}, but this data folder was started in {row[0]!s}:"
            " one deployment has one currency"
        )


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
