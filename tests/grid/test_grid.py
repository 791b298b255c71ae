"""Every caller reaches every provider with everything it can say; what cannot be has its reason, and few have."""

from __future__ import annotations

import pytest

from tests.grid.cells import CALLERS, CELLS, COLUMNS, EXCUSED_PER_CENT_MAX, FORMS, PROVIDERS, Cell, Reason
from tests.grid.ground import Ground

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.process
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
async def test_a_cell_passes_or_is_refused_for_its_reason(ground: Ground, cell: Cell) -> None:
    await ground.play(cell)


async def test_the_grid_is_whole_and_reasons_are_few() -> None:
    assert len(set(CELLS)) == len(CALLERS) * len(PROVIDERS) * len(FORMS) * len(COLUMNS) == 384
    excused = [cell for cell in CELLS if cell.reason is not None]
    assert len(excused) * 100 <= EXCUSED_PER_CENT_MAX * len(CELLS)
    assert {cell.reason for cell in excused} == set(Reason), "a reason that excuses nothing"
