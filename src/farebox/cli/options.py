"""The two options that every verb takes, and what they open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from farebox.app.office import Office, load_settings, open_office
from farebox.config.settings import database_file
from farebox.core.money import parse_nano

Data = Annotated[Path, Parameter(name="--data", help="The data folder.")]
Config = Annotated[
    Path | None, Parameter(name="--config", help="The configuration file, if not ./farebox.toml.")
]
DEFAULT_DATA = Path("farebox-data")


class UsageError(ValueError):
    """A verb was not used as it can be; not a refusal, since no state of the books would change it."""


@contextmanager
def opened(data: Path, config: Path | None, *, make: bool = True) -> Iterator[Office]:
    """The office of a data folder, closed again afterwards. UsageError if it is new and `make` is off."""
    settings = load_settings(config, os.environ)
    path = database_file(settings.store, data)
    if not make and path is not None and not path.exists():
        raise UsageError(f"there is no database {path}: name the data folder with --data")
    office = open_office(data, settings, os.environ)
    try:
        yield office
    finally:
        office.close()


def read_amount(text: str) -> int:
    """An amount as a person writes it, in nano-units; UsageError if it is none."""
    try:
        return parse_nano(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
