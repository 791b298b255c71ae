"""Tables on standard output: whole at any width, so that an id can be copied and a pipe loses nothing."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_WIDTH = 2000  # Beyond any row: a narrow terminal wraps a line by itself, where rich would cut every cell.


def new_table(*columns: str) -> Table:
    """A table without lines."""
    return Table(*columns, box=None, pad_edge=False)


def print_table(table: Table) -> None:
    """Print a table, a line a row."""
    Console(width=_WIDTH, highlight=False, markup=False).print(table)
