"""`farebox up`: everything, in one command."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from farebox.app.office import load_settings, open_office
from farebox.app.run import Bind, run
from farebox.app.stock import discover
from farebox.app.welcome import Welcome, check_bind
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError
from farebox.config.settings import Settings


def up(
    *,
    host: Annotated[str | None, Parameter(help="Where to listen; 127.0.0.1 unless set.")] = None,
    port: Annotated[int | None, Parameter(help="The port; 3273 unless set, 0 for any free one.")] = None,
    workers: Annotated[int | None, Parameter(help="Processes that answer; 1 unless set.")] = None,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> int:
    """Run the gateway until told to stop (Ctrl-C or SIGTERM: finish what runs; a second time: now)."""
    settings = _with_flags(load_settings(config, os.environ), host, port, workers)
    office = open_office(Path(data), settings, os.environ)
    try:
        check_bind(office, os.environ)
        found = asyncio.run(discover(settings, os.environ))
        bind = Bind.open(settings.server.host, settings.server.port)
        welcome = Welcome.prepare(office, bind.url, terminal=sys.stdout.isatty())
    finally:
        office.close()  # Each worker opens its own: connections do not survive a fork.
    return run(bind, Path(data), settings, found, lambda stock: print(welcome.text(stock), flush=True))


def _with_flags(settings: Settings, host: str | None, port: int | None, workers: int | None) -> Settings:
    given = {
        name: value
        for name, value in (("host", host), ("port", port), ("workers", workers))
        if value is not None
    }
    if port is not None and not 0 <= port <= 65_535:  # noqa: PLR2004 -- TCP's own bound
        raise UsageError(f"{port} is no port: 0 to 65535")
    if workers is not None and workers < 1:
        raise UsageError("at least one worker is needed")
    return msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, **given))
