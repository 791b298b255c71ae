"""Five hundred `kill -9` under load on the same data, on SQLite and on PostgreSQL, with one and two workers in turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import late_settle
from tests.support.faulty import serve_faulty
from tests.support.kills import CALLERS, kill_under_load
from tests.support.postgres import started_postgres

pytestmark = [pytest.mark.process, pytest.mark.soak]

KILLS = 500
CONTROL_KILLS = 30
WORKERS = (1, 2)


@contextmanager
def store(database: str) -> Iterator[str]:
    """The settings of a new database of that kind."""
    if database == "sqlite":
        yield ""
        return
    with started_postgres() as server:
        yield f'\n[store]\ndatabase = "{server.new_database()}"\n'


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.timeout(3000)
async def test_no_delivered_answer_is_uncharged_across_five_hundred_kills(
    tmp_path: Path, database: str
) -> None:
    with store(database) as settings:
        async with serve_faulty() as upstream:
            verdict = await kill_under_load(
                tmp_path, upstream, kills=KILLS, seed=7, workers=WORKERS, store=settings
            )
    print(verdict)
    assert verdict.uncharged == []
    assert verdict.delivered > KILLS * CALLERS
    assert verdict.kills_at_finish > KILLS // 4


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.timeout(600)
async def test_the_same_kills_find_out_a_gateway_that_settles_after_the_end(
    tmp_path: Path, database: str
) -> None:
    with store(database) as settings:
        async with serve_faulty() as upstream:
            verdict = await kill_under_load(
                tmp_path, upstream, kills=CONTROL_KILLS, seed=1, verb=late_settle.VERB, store=settings
            )
    print(verdict)
    assert len(verdict.uncharged) >= 1
