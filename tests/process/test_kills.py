"""`kill -9` at any moment: whose answer was delivered is charged, once; and the test can tell when it is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import late_settle
from tests.support.faulty import serve_faulty
from tests.support.kills import CALLERS, kill_under_load

pytestmark = pytest.mark.process

KILLS = 10


async def test_no_delivered_answer_is_uncharged_across_ten_kills_under_load(tmp_path: Path) -> None:
    async with serve_faulty() as upstream:
        verdict = await kill_under_load(tmp_path, upstream, kills=KILLS, seed=1)
    print(verdict)
    assert verdict.uncharged == []
    assert verdict.delivered > KILLS * CALLERS
    assert verdict.kills_at_finish == KILLS // 2


async def test_the_same_kills_find_out_a_gateway_that_settles_after_the_end(tmp_path: Path) -> None:
    async with serve_faulty() as upstream:
        verdict = await kill_under_load(tmp_path, upstream, kills=KILLS, seed=1, verb=late_settle.VERB)
    print(verdict)
    assert len(verdict.uncharged) >= 1
