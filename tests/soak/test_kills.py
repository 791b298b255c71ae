"""A hundred `kill -9` under load on the same data, with one worker and with two."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.faulty import serve_faulty
from tests.support.kills import CALLERS, kill_under_load

pytestmark = [pytest.mark.process, pytest.mark.soak]

KILLS = 100


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.timeout(1800)
async def test_no_delivered_answer_is_uncharged_across_a_hundred_kills(tmp_path: Path, workers: int) -> None:
    async with serve_faulty() as upstream:
        verdict = await kill_under_load(tmp_path, upstream, kills=KILLS, seed=7, workers=workers)
    print(verdict)
    assert verdict.uncharged == []
    assert verdict.delivered > KILLS * CALLERS
    assert verdict.kills_at_finish > KILLS // 4
