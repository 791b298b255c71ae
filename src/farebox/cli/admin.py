"""`farebox admin`: the way in for an administrator."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from farebox.accounts.administrators import new_link
from farebox.cli.options import DEFAULT_DATA, Config, Data, opened

app = App(name="admin", help="The administrator's way in.")


@app.command
def link(
    *,
    quiet: Annotated[bool, Parameter(negative="", help="Print the link and nothing else.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Make a new one-time link to create an administrator; an earlier link is good no more."""
    with opened(data, config) as office:
        server = office.settings.server
        with office.database.transaction() as work:
            token = new_link(work, office.clock.now_us())
    url = f"{server.base_url or f'http://{server.host}:{server.port}'}/setup?token={token}"
    print(url if quiet else f"Create an administrator (once, within a day): {url}")
