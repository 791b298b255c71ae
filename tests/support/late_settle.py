"""A Farebox that settles after the end of the answer was sent: what `kill -9` tests must be able to tell from ours.

    python -m tests.support.late_settle --data DIR --port 0 --config FILE

It is the product but for one part: its wallets answer at once, and post a moment later, as a gateway does that leaves
the books to a background task.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import uvloop

from farebox.api.http import Server
from farebox.app.office import load_settings, open_office
from farebox.app.run import Bind
from farebox.app.stock import Found, take_stock
from farebox.app.worker import Worker, run_worker
from farebox.billing.wallet import Wallets
from farebox.ledger.books import RequestRow, Settled
from farebox.ledger.budgets import Guard

LATE_S = 0.005
VERB = (sys.executable, "-m", "tests.support.late_settle")


class LateWallets(Wallets):
    """Wallets that say "settled" first."""

    async def settle(self, row: RequestRow, guards: tuple[Guard, ...] = ()) -> Settled:
        self._late = asyncio.create_task(self._settle_late(row, guards))
        return Settled(row.charge, 0)

    async def _settle_late(self, row: RequestRow, guards: tuple[Guard, ...]) -> None:
        await asyncio.sleep(LATE_S)
        await super().settle(row, guards)


class LateWorker(Worker):
    """A worker with such wallets."""

    def _build_server(self) -> Server:
        wallets = LateWallets(self._commit, owner=self._lock.owner, clock=self.office.clock)
        self.house = msgspec.structs.replace(self.house, wallets=wallets)
        return super()._build_server()


def main() -> None:
    """Run it; the arguments are those of `farebox up`, each with its value."""
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    settings = load_settings(Path(options["--config"]), os.environ)
    office = open_office(Path(options["--data"]), settings, os.environ)
    stock = take_stock(settings, Found(), os.environ)
    bind = Bind.open("127.0.0.1", int(options["--port"]))

    async def work() -> None:
        ready = f"Farebox is ready on {bind.url}"
        await run_worker(
            LateWorker(office, stock, top_up_url=""), bind.listener(), lambda: print(ready, flush=True)
        )

    uvloop.run(work())


if __name__ == "__main__":
    main()
