"""Automatic top-ups as an operator sets them: a wallet that runs low is filled, once, while calls go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.answers import chat
from tests.support.books import ACCOUNT, assert_balanced
from tests.support.clients import call
from tests.support.faulty import serve_faulty
from tests.support.process import cli, new_key, statement, up
from tests.support.shop import open_shop

pytestmark = pytest.mark.process

DEV = """
[payments]
processors = ["dev"]
minimum = "1"
"""


def entries(data: Path, config: Path) -> list[tuple[object, object]]:
    """What is on the statement beside charges."""
    lines = statement(data, ACCOUNT, config)
    return [(line["kind"], line["amount"]) for line in lines if line["kind"] != "charge"]


async def test_a_wallet_that_runs_low_is_filled_by_itself(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_faulty() as upstream:
        upstream.choose(lambda _: chat())
        config = open_shop(tmp_path, upstream.base_url, DEV)
        with up(data, config=config) as farebox:
            key = new_key(data, ACCOUNT, "--plan", "enterprise", "--credit", "0.05", config=config)
            words = [
                "--below",
                "0.04",
                "--amount",
                "2",
                "--monthly",
                "2",
                "--method",
                "any",
                "--processor",
                "dev",
            ]
            told = cli(
                "topups", "auto", ACCOUNT, "--below", "1", *words[2:-1], "razorpay", data=data, config=config
            )
            assert (told.returncode, "not available" in told.stderr) == (1, True)
            told = cli("topups", "auto", ACCOUNT, *words, data=data, config=config)
            assert told.returncode == 0, told.stderr
            assert entries(data, config) == [("grant", "0.05")]
            async with asyncio.timeout(60):
                while len(entries(data, config)) < 2:  # A call costs 0.000021.
                    answers = await asyncio.gather(*(call(farebox.url, key) for _ in range(100)))
                    assert {answer.status for answer in answers} <= {200, 402, 429}
            assert entries(data, config) == [("grant", "0.05"), ("top_up", "2")]
            assert cli("topups", "stop-auto", ACCOUNT, data=data, config=config).returncode == 0
            assert_balanced(data, config)
