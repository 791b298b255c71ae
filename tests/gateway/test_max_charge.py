"""x-farebox-max-charge: no answer costs more than its caller allows, however long it grows or its provider lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.shop import MODEL, Caller, Shop, charge_of, open_shop
from tests.support.answers import Answer, chat, stream

HEADER = "x-farebox-max-charge"


async def ask(shop: Shop, most: str, **members: Any) -> Caller:
    request = {"model": MODEL, "messages": [{"role": "user", "content": "Hi there!"}], **members}
    caller = await shop.open(json.dumps(request).encode(), headers={HEADER: most})
    await caller.ended()
    caller.hang_up()
    return caller


def nano(amount: str) -> int:
    return int(amount.replace("0.", "", 1).ljust(9, "0"))


async def test_a_limit_that_could_pass_the_maximum_is_refused_before_anything_is_held(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        caller = await ask(shop, "0.001", max_tokens=600)
        assert caller.status == 402
        assert caller.error["metadata"]["error_type"] == "max_charge_exceeded"
        assert caller.error["param"] == HEADER
        fitting = caller.error["affordable_max_tokens"]
        assert 400 < fitting < 500
        assert not shop.first.requests
        assert (await ask(shop, "0.001", max_tokens=fitting)).status == 200, "what is said to fit fits"
        assert (await ask(shop, "0.0013", max_tokens=600)).status == 200
        shop.assert_settled()


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_a_call_without_a_limit_gets_the_one_that_fits(tmp_path: Path, *, streamed: bool) -> None:
    async with open_shop(tmp_path) as shop:
        caller = await ask(shop, "0.001", stream=streamed)
        assert caller.status == 200
        limit = json.loads(shop.first.requests[0].body)["max_tokens"]
        assert 400 < limit < 500
        assert caller.headers["x-farebox-output-limit"] == str(limit)
        row = await shop.row()
        assert row["hold"] <= 1_000_000
        assert json.loads(row["hold_steps"])["max_charge_nano"] == 1_000_000
        shop.assert_settled(charge_of(11, 5))


async def test_a_stream_with_a_limit_of_its_own_is_cut_at_the_maximum(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stream([" word"] * 3_000, usage=(11, 3_000)))
        caller = await ask(shop, "0.002", stream=True, max_tokens=5_000)
        assert caller.status == 200
        assert "max_tokens" in shop.first.requests[0].body.decode()
        assert caller.error["metadata"]["error_type"] == "max_charge_exceeded"
        assert not caller.done
        row = await shop.row()
        assert 1_000_000 < row["charge"] <= row["hold"] <= 2_000_000
        shop.assert_settled(row["charge"])


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("usage", [(11, 1_400), (9_000, 5), (100, 450)])
async def test_what_a_provider_counts_beyond_the_maximum_is_not_charged(
    tmp_path: Path, usage: tuple[int, int], *, streamed: bool
) -> None:
    answer: Answer = stream(usage=usage) if streamed else chat(usage=usage)
    async with open_shop(tmp_path) as shop:
        shop.first.script(answer)
        caller = await ask(shop, "0.00095", max_tokens=400, stream=streamed)
        assert caller.status == 200
        row = await shop.row()
        assert row["charge"] <= row["hold"] <= 950_000
        assert row["charge"] + row["leakage"] == charge_of(*usage)
        shop.assert_settled(row["charge"])


async def test_no_call_fits_under_nothing(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        for members in ({}, {"stream": True}, {"max_tokens": 5}):
            assert (await ask(shop, "0", **members)).status == 402
        assert not shop.first.requests


@pytest.mark.parametrize("wrong", ["", "-1", "free", "0.0000000001", "1e3", "NaN", "0,5", "99999999999"])
async def test_what_is_no_amount_is_refused_by_the_header_s_name(tmp_path: Path, wrong: str) -> None:
    async with open_shop(tmp_path) as shop:
        caller = await ask(shop, wrong)
        assert caller.status == 400
        assert caller.error["param"] == HEADER
        assert HEADER in caller.error["message"]
