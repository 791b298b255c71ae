"""`farebox secret`: the master secret, which seals what must not be readable in the database."""

from __future__ import annotations

import os

from cyclopts import App

from farebox.app.secret import rotate_secret
from farebox.cli.options import DEFAULT_DATA, Config, Data, opened

app = App(name="secret", help="The master secret.")


@app.command
def rotate(*, data: Data = DEFAULT_DATA, config: Config = None) -> None:
    """Put a new master secret before the others in secret.key; what they have sealed stays readable."""
    with opened(data, config, make=False) as office:
        count = rotate_secret(office.data, os.environ)
    print(
        f"{data / 'secret.key'} has a new master secret, and {count - 1} before it for what they have sealed."
        " Start every running farebox on this data again to use it."
    )
