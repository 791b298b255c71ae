"""A provider that lies about what it counted: whatever it says, its charge is explained, held, and balanced."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from msgspec.structs import replace

from farebox.core.money import NANO
from tests.gateway.shop import MODEL, Shop, charge_of, open_shop
from tests.support.answers import Answer, chat, stream

WORDS = ["Once", " upon", " a", " time", ",", " there", " was", " a", " meter", "."]
ABSURD = [
    *(
        0,
        1,
        5,
        40,
        1_499,
        1_501,
        2_600,
        9_000,
        12_000,
        100_000,
        249_000,
        251_001,
        99_999_999,
        2**31,
        2**63,
        2**70,
    ),
    *(-1, -(2**40), 1e30, 1.5, 12.0, "NaN", "Infinity", "7", "", True, None, [], {}, [3], {"n": 3}),
]


def usages(count: int) -> list[object]:
    """So many lies, the same in every run."""
    luck = random.Random(20261121)
    found: list[object] = [None, {}, [], "many", 5, {"prompt_tokens": 11}, {"completion_tokens": 5}]
    while len(found) < count:
        wire: dict[str, object] = {}
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            if luck.random() < 0.9:
                wire[name] = luck.choice(ABSURD) if luck.random() < 0.6 else luck.randrange(2_000)
        if luck.random() < 0.5:
            wire["prompt_tokens_details"] = {"cached_tokens": luck.choice([*ABSURD, 5, 11, 3_000])}
        if luck.random() < 0.5:
            wire["completion_tokens_details"] = {"reasoning_tokens": luck.choice([*ABSURD, 3, 900])}
        found.append(wire)
    return found


def written(usage: object) -> bytes:
    """JSON as a careless provider writes it: bare NaN and Infinity among it."""
    text = json.dumps(usage)
    return text.replace('"NaN"', "NaN").replace('"Infinity"', "Infinity").encode()


def lying(answer: Answer, usage: object) -> Answer:
    """The answer with this instead of its usage."""
    told = b'"usage":{"prompt_tokens":11,"completion_tokens":5,"total_tokens":16}'
    pieces = [
        piece.replace(told, b'"usage":' + written(usage)) for piece in answer.body if isinstance(piece, bytes)
    ]
    assert b"".join(pieces) != b"".join(piece for piece in answer.body if isinstance(piece, bytes))
    return replace(answer, body=tuple(pieces))


class Line(msgspec.Struct):
    unit: str
    units: int
    price: Decimal
    per: int
    amount: Decimal


class Extension(msgspec.Struct):
    why: str
    amount: Decimal
    after_ms: int


class Receipt(msgspec.Struct):
    id: str
    state: str
    charge: Decimal
    unpaid: Decimal
    hold: Decimal
    held_at_first: Decimal
    extensions: list[Extension]
    freed: Decimal
    lines: list[Line]
    estimated: bool
    usage: dict[str, int]


async def receipt_of(shop: Shop, id_: str) -> Receipt:
    answer = await shop.gateway.client.get(
        f"/v1/requests/{id_}", headers={"authorization": f"Bearer {shop.key}"}
    )
    return msgspec.json.decode(answer.content, type=Receipt)


def assert_explained(receipt: Receipt) -> None:
    """Its lines add up to the charge, and its hold to what was held at first and since."""
    assert sum(line.amount for line in receipt.lines) == receipt.charge
    for line in receipt.lines:
        if line.unit not in ("rounding", "unpaid"):
            assert line.amount == line.units * line.price / line.per
    assert receipt.hold == receipt.held_at_first + sum(step.amount for step in receipt.extensions)
    assert 0 <= receipt.charge <= receipt.hold
    assert receipt.freed == receipt.hold - receipt.charge
    assert all(units >= 0 for units in receipt.usage.values())
    assert all(step.amount > 0 for step in receipt.extensions)


async def ask(shop: Shop, *, streamed: bool, limit: int | None) -> httpx2.Response:
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi there!"}]}
    body |= {"stream": streamed} | ({} if limit is None else {"max_tokens": limit})
    answer = await shop.gateway.client.post(
        "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {shop.key}"}
    )
    assert answer.status_code in (200, 502), answer.text
    return answer


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("limit", [40, None], ids=["limited", "unlimited"])
async def test_every_lie_is_charged_by_a_receipt_that_adds_up(
    tmp_path: Path, limit: int | None, *, streamed: bool
) -> None:
    honest = stream(WORDS, usage=(11, 5)) if streamed else chat("".join(WORDS), usage=(11, 5))
    async with open_shop(tmp_path, credit="10", max_output=2_000) as shop:
        for usage in usages(150):
            shop.first.script(lying(honest, usage))
            shop.second.script(lying(honest, usage))
            answer = await ask(shop, streamed=streamed, limit=limit)
            receipt = await receipt_of(shop, answer.headers["x-request-id"])
            assert_explained(receipt)
            # 10,000 tokens more in than there are bytes, and 3,500 out, are the most that is believed.
            assert receipt.charge <= Decimal("0.018"), usage
            if answer.status_code != httpx2.codes.OK:  # NaN makes a whole answer no JSON.
                assert b"NaN" in written(usage) or b"Infinity" in written(usage)
                assert receipt.charge == 0
            elif not isinstance(usage, dict) or not {"completion_tokens", "total_tokens"} & usage.keys():
                assert receipt.estimated, usage
            if receipt.estimated:
                assert receipt.usage["output_visible"] <= len(WORDS)
        shop.assert_settled()


async def test_what_is_counted_beyond_a_hold_is_held_first_and_the_receipt_says_so(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(chat(usage=(5_000, 700)))
        answer = await ask(shop, streamed=False, limit=600)
        receipt = await receipt_of(shop, answer.headers["x-request-id"])
        assert_explained(receipt)
        assert receipt.charge == Decimal(charge_of(5_000, 700)) / NANO
        assert [step.why for step in receipt.extensions] == ["usage"]
        assert receipt.charge > receipt.held_at_first
        shop.assert_settled()


async def test_what_the_wallet_cannot_hold_stays_unpaid_and_is_shown(tmp_path: Path) -> None:
    async with open_shop(tmp_path, credit="0.0015") as shop:
        shop.first.script(chat(usage=(5_000, 600)))
        answer = await ask(shop, streamed=False, limit=600)
        receipt = await receipt_of(shop, answer.headers["x-request-id"])
        assert_explained(receipt)
        assert receipt.charge == Decimal("0.0015")
        assert receipt.unpaid == Decimal(charge_of(5_000, 600)) / NANO - receipt.charge
        assert [line.unit for line in receipt.lines][-2:] == ["unpaid", "rounding"]
        assert shop.gateway.balance_nano() == 0
        shop.assert_settled()


async def test_more_tokens_than_a_prompt_has_bytes_are_not_believed(tmp_path: Path) -> None:
    """But for what a provider puts before it, and for what stands at an address."""
    async with open_shop(tmp_path) as shop:
        shop.first.script(chat(usage=(50_000, 5)))
        answer = await ask(shop, streamed=False, limit=600)
        assert (await receipt_of(shop, answer.headers["x-request-id"])).estimated
        picture = {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}}
        body = {"model": MODEL, "messages": [{"role": "user", "content": [picture]}], "max_tokens": 600}
        caller = await shop.open(json.dumps(body).encode())
        await caller.ended()
        row = await shop.row()
        assert (row["estimated"], row["input_tokens"]) == (0, 50_000)
        shop.assert_settled()


async def test_who_counts_twice_what_was_seen_is_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_shop(tmp_path) as shop:
        counts = shop.gateway.worker.house.wallets.counts
        await ask(shop, streamed=False, limit=600)
        assert counts.doubted == 0
        shop.first.script(chat(usage=(3_000, 5)))
        for _ in range(3):
            await ask(shop, streamed=False, limit=600)
        assert counts.doubted == 3
        told = [
            record.getMessage()
            for record in caplog.records
            if "counted 3000 tokens in" in record.getMessage()
        ]
        assert len(told) == 2, "at the first and the second, not at the third"
        assert "provider first" in told[0]
        metrics = (await shop.gateway.client.get("/metrics")).text
        assert "farebox_usage_doubted_total 3.0" in metrics
