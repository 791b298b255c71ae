"""A Farebox that is killed the moment it begins to keep a response: after the charge, before the end of the answer.

    python -m tests.support.killed_keeping --data DIR --port 0 --config FILE

It is the product but for one part, whose `keep` is `kill -9`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import uvloop

from farebox.api.http import Server
from farebox.app.office import load_settings, open_office
from farebox.app.run import Bind
from farebox.app.stock import Found, take_stock
from farebox.app.worker import Worker, run_worker
from farebox.features.stored_responses.feature import StoredResponses
from farebox.gateway.call import Call

VERB = (sys.executable, "-m", "tests.support.killed_keeping")


class KilledResponses(StoredResponses):
    """Stored responses that nobody lives to keep."""

    async def keep(self, call: Call, previous_id: str | None, end: bytes) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        await super().keep(call, previous_id, end)


class KilledWorker(Worker):
    """A worker with such a part."""

    def _build_server(self) -> Server:
        self.stored = KilledResponses(self.office.database, self.office.clock, days=30, bytes_max=1 << 20)
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
            KilledWorker(office, stock, top_up_url=""), bind.listener(), lambda: print(ready, flush=True)
        )

    uvloop.run(work())


if __name__ == "__main__":
    main()
