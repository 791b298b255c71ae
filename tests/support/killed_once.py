"""A Farebox that is killed at a moment around the keeping of a reply; the moment is the variable `KILL_AT`.

    KILL_AT=after_keep python -m tests.support.killed_once --data DIR --port 0 --config FILE

It is the product but for one part, which is `kill -9` at its moment: `before_keep`, `after_keep` (and before the
charge), or `after_charge` (and before the answer's end has left).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import uvloop

from farebox.api.http import Server
from farebox.api.once import Once
from farebox.app.office import load_settings, open_office
from farebox.app.run import Bind
from farebox.app.stock import Found, take_stock
from farebox.app.worker import Worker, run_worker
from farebox.core.errors import Fault
from farebox.features.idempotency.feature import PURPOSE, Claim, Idempotency
from farebox.features.idempotency.reply import Reply

VERB = (sys.executable, "-m", "tests.support.killed_once")
MOMENTS = ("before_keep", "after_keep", "after_charge")
VARIABLE = "KILL_AT"


class KilledIdempotency(Idempotency):
    """Idempotency that ends its process."""

    async def keep(self, claim: Claim, reply: Reply | None) -> bool:
        kill_at("before_keep")
        kept = await super().keep(claim, reply)
        kill_at("after_keep")
        return kept

    def over(self, claim: Claim, fault: Fault | None) -> None:
        kill_at("after_charge")
        super().over(claim, fault)


class KilledWorker(Worker):
    """A worker with such a part."""

    def _build_server(self) -> Server:
        office = self.office
        self._idempotency = KilledIdempotency(
            office.database, office.clock, office.vault.safe(PURPOSE), hours=24, owner=self._lock.owner
        )
        self.once = Once(self._idempotency)
        return super()._build_server()


def kill_at(moment: str) -> None:
    if os.environ[VARIABLE] == moment:
        os.kill(os.getpid(), signal.SIGKILL)


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
            KilledWorker(office, stock, top_up_url=""), bind.listener(), lambda: print(ready, flush=True)
        )

    uvloop.run(work())


if __name__ == "__main__":
    main()
