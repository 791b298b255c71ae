"""Ten thousand calls race for the last money of two hundred and forty wallets, on one worker and on two."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.faulty import serve_faulty
from tests.support.races import race, told

pytestmark = [pytest.mark.process, pytest.mark.soak]

WALLETS = 240


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.timeout(900)
async def test_ten_thousand_races_never_take_a_wallet_below_zero(tmp_path: Path, workers: int) -> None:
    async with serve_faulty() as upstream:
        outcome = await race(tmp_path, upstream, wallets=WALLETS, workers=workers, seed=11)
    print(told(outcome))
    assert outcome.calls >= 10_000
    assert outcome.answered > 1_000
