"""The grid as a table: on its page as it must be, and printed by `make grid` as it is.

python -m tests.grid.table      # plays every cell, prints the table, and writes the page if all is as it must be
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.docs import generated
from tests.docs.pages import ROOT
from tests.grid.cells import CELLS, COLUMNS, PROVIDERS, Cell, name_of, notes, rows, summary
from tests.grid.ground import open_ground
from tests.support.engine import started_engine

PAGE = "docs/grid.md"
_WIDTH = 140


async def play_all(folder: Path, console: Console) -> dict[Cell, str]:
    """What is wrong with each cell that is not as it must be."""
    broken: dict[Cell, str] = {}
    bar = Progress(
        TextColumn("{task.description:40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with started_engine(folder) as engine, bar:
        task = bar.add_task("starting", total=len(CELLS))
        async with open_ground(folder, engine) as ground:
            for cell in CELLS:
                bar.update(task, description=cell.id)
                try:
                    await ground.play(cell)
                except (AssertionError, LookupError, TypeError, ValueError) as error:
                    broken[cell] = f"{type(error).__name__}: {error}"
                bar.advance(task)
    return broken


def printed(broken: Mapping[Cell, str]) -> Table:
    """The table for a terminal."""
    table = Table(title="plain, stream", title_justify="left")
    for heading in ("caller", "provider", *COLUMNS):
        table.add_column(heading)
    for row in rows(broken):
        table.add_row(*row, end_section=row[1] == name_of(PROVIDERS[-1]))
    return table


def main() -> int:
    """Play, print, write; 1 if a cell is not as it must be."""
    console = Console()
    if not console.is_terminal:
        console = Console(
            width=_WIDTH
        )  # Of a pipe or a log nobody knows it, and 80 columns break every name.
    with tempfile.TemporaryDirectory() as folder:
        broken = asyncio.run(play_all(Path(folder), console))
    console.print(printed(broken))
    for number, reason in notes():
        console.print(f"{number}: {reason}")
    for cell, why in broken.items():
        console.print(f"{cell.id}: {why}", markup=False, highlight=False)
    if broken:
        console.print(f"{len(broken)} of {len(CELLS)} cells are not as they must be.")
        return 1
    console.print(summary())
    page = ROOT / PAGE
    page.write_text(generated.renewed(page.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
