"""A whole gateway inside a test's own loop: real database, real sockets, the sandbox or any upstream behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import msgspec

from farebox.accounts.accounts import create_account, find_account
from farebox.accounts.keys import mint_key
from farebox.app.office import Office, load_settings, open_office
from farebox.app.run import Bind
from farebox.app.stock import discover, take_stock
from farebox.app.worker import Worker
from farebox.core.money import parse_nano
from farebox.ledger.books import RequestRow
from farebox.ledger.check import check_books
from farebox.ledger.moves import Move, move
from farebox.ledger.rules import TransferKind
from farebox.store.database import Record, Value


class Gateway(msgspec.Struct):
    """A running gateway. `client` has its base URL; `key` makes keys as the command line does."""

    worker: Worker
    url: str
    client: httpx2.AsyncClient

    @property
    def office(self) -> Office:
        return self.worker.office

    def key(self, account: str = "acme", *, plan: str = "enterprise", credit: str = "10") -> str:
        """A key of an account, made with its credit if it is new."""
        office = self.office
        with office.database.transaction() as work:
            owner = find_account(work, account)
            if owner is None:
                currency, now_us = office.settings.wallet.currency, office.clock.now_us()
                owner = create_account(work, account, plan=plan, currency=currency, now_us=now_us)
                nano = parse_nano(credit)
                if nano:
                    move(
                        work,
                        Move(office.ids.new(), owner.id, TransferKind.GRANT, nano, currency, None, now_us),
                    )
            _, secret = mint_key(work, office.ids, account_id=owner.id, name="", now_us=office.clock.now_us())
        return secret

    def balance_nano(self, account: str = "acme") -> int:
        """What the account's wallet has, holds included."""
        row = self._one(
            "SELECT balance FROM wallets w JOIN accounts a ON a.id = w.account_id WHERE a.name = ?", account
        )
        return int(row[0] or 0)

    def holds(self) -> int:
        """How many holds stand."""
        return int(self._one("SELECT COUNT(*) FROM holds")[0] or 0)

    def request(self, id_: str) -> dict[str, Value]:
        """A settled request's row, by its column names."""
        names = RequestRow.__struct_fields__
        row = self._one(f"SELECT {', '.join(names)} FROM requests WHERE id = ?", id_)
        return dict(zip(names, row, strict=True))

    async def settled(self, count: int) -> None:
        """Wait until so many requests are in the books; they are, very soon, whatever their callers do."""
        async with asyncio.timeout(10):
            while int(self._one("SELECT COUNT(*) FROM requests")[0] or 0) < count:
                await asyncio.sleep(0.01)

    def assert_balanced(self) -> None:
        """The books keep every rule."""
        report = check_books(self.office.database)
        assert report.balanced, report.breaches

    def _one(self, sql: str, *values: str) -> Record:
        return self._all(sql, *values)[0]

    def _all(self, sql: str, *values: str) -> list[Record]:
        return list(self.office.database.rows(sql, *values))


@asynccontextmanager
async def running(
    folder: Path, config: str | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Gateway]:
    """A gateway on a free port of loopback; `config` is the text of a farebox.toml, None is a start without one."""
    file = None
    if config is not None:
        file = folder / "farebox.toml"
        file.write_text(config)
    variables = {"FAREBOX_SERVER__PORT": "0", **(environment or {})}
    settings = load_settings(file, variables)
    office = open_office(folder / "data", settings, variables)
    bind = Bind.open("127.0.0.1", 0)
    found = await discover(settings, variables) if config is None else await discover(settings, {})
    worker = Worker(office, take_stock(settings, found, variables), top_up_url=f"{bind.url}/console/wallet")
    await worker.start(bind.listener())
    bind.close()
    now = asyncio.Event()
    try:
        async with httpx2.AsyncClient(base_url=bind.url, timeout=20) as client:
            yield Gateway(worker, bind.url, client)
        now.set()
    finally:
        await worker.stop(now)
