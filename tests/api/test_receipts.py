"""Receipts: every amount of a call, so that a customer can check it with a pencil; and nothing that is not theirs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from farebox.billing.receipts import Receipts, read_row
from farebox.ledger.books import RequestRow
from tests.gateway.shop import Shop, open_shop
from tests.support.answers import chat, error, stream

# OpenRouter's GenerationResponseData, as its clients' types have it.
GENERATION = {
    *("id", "upstream_id", "total_cost", "cache_discount", "upstream_inference_cost", "created_at", "model"),
    *("app_id", "streamed", "cancelled", "provider_name", "latency", "moderation_latency", "generation_time"),
    *("finish_reason", "native_finish_reason", "tokens_prompt", "tokens_completion", "native_tokens_prompt"),
    *("native_tokens_completion", "native_tokens_completion_images", "native_tokens_reasoning"),
    *("native_tokens_cached", "num_media_prompt", "num_input_audio_prompt", "num_media_completion"),
    *("num_search_results", "origin", "usage", "is_byok", "external_user", "api_type", "router"),
    *("provider_responses", "http_referer", "user_agent"),
}
INTERNAL = {"cost", "cost_currency", "cost_version", "margin", "upstream_model"}


async def get(shop: Shop, path: str) -> Any:
    answer = await shop.gateway.client.get(path, headers={"authorization": f"Bearer {shop.key}"})
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=dict[str, Any])


def row_of(shop: Shop, id_: str) -> RequestRow:
    names = ", ".join(RequestRow.__struct_fields__)
    rows = shop.gateway.office.database.rows(f"SELECT {names} FROM requests WHERE id = ?", id_)
    return read_row(next(iter(rows)))


async def test_a_receipt_explains_the_charge_the_hold_and_every_try(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(error(503))
        caller = await shop.ask(max_tokens=300)
        receipt = await get(shop, f"/v1/requests/{caller.headers['x-request-id']}")
        units = {line["unit"]: (line["units"], line["price"], line["per"]) for line in receipt["lines"]}
        assert units["input_fresh"] == (11, 1, 1_000_000)
        assert units["output_visible"] == (5, 2, 1_000_000)
        assert receipt["charge"] == 0.000021
        assert receipt["hold"] == receipt["held_at_first"] > receipt["charge"]
        assert (receipt["extensions"], receipt["unpaid"], receipt["max_charge"]) == ([], 0, None)
        assert (receipt["output_limit"], receipt["price_tier"], receipt["cache_saving"]) == (None, None, 0)
        tries = [(tried["provider"], tried["status"], tried["charge"]) for tried in receipt["attempts"]]
        assert tries == [("first", 503, 0), ("second", 200, 0.000021)]
        assert not INTERNAL & receipt.keys()
        assert not INTERNAL & receipt["attempts"][0].keys()


async def test_only_administrators_are_told_what_a_call_cost_us(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        caller = await shop.ask(max_tokens=300)
        receipts = Receipts(shop.gateway.office.database, "UTC")
        receipt = receipts.receipt(row_of(shop, caller.headers["x-request-id"]), internal=True)
        told = msgspec.json.decode(msgspec.json.encode(receipt))
        assert told.keys() >= INTERNAL
        assert (told["cost"], told["margin"], told["cost_currency"]) == (0.000021, 0, "USD")
        assert (told["attempts"][0]["cost"], told["attempts"][0]["model"]) == (0.000021, "up-1")


async def test_a_stream_s_receipt_shows_each_extension(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stream([" word"] * 9_000, usage=(11, 9_000)))
        caller = await shop.ask(stream=True)
        receipt = await get(shop, f"/v1/requests/{caller.headers['x-request-id']}")
        steps = receipt["extensions"]
        assert {step["why"] for step in steps} == {"stream"}
        assert len(steps) >= 2
        assert all(step["after_ms"] >= 0 for step in steps)
        whole = Decimal(str(receipt["held_at_first"])) + sum(Decimal(str(step["amount"])) for step in steps)
        assert whole == Decimal(str(receipt["hold"])) >= Decimal(str(receipt["charge"]))


async def test_an_extension_nobody_was_told_of_is_shown_as_well(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        caller = await shop.ask(max_tokens=300)
        row = row_of(shop, caller.headers["x-request-id"])
        row.hold, row.hold_steps = row.hold + 500, f'{{"first_nano":{row.hold}}}'
        receipt = Receipts(shop.gateway.office.database, "UTC").receipt(row)
        assert msgspec.json.decode(msgspec.json.encode(receipt["extensions"])) == [
            {"why": "late", "amount": 0.0000005, "after_ms": 0}
        ]


async def test_a_generation_has_every_member_of_openrouter_s(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(chat(usage=(11, 5)))
        caller = await shop.ask(max_tokens=300)
        data = (await get(shop, f"/v1/generation?id={caller.headers['x-request-id']}"))["data"]
        assert data.keys() >= GENERATION
        assert (data["total_cost"], data["usage"], data["cache_discount"]) == (0.000021, 0.000021, 0)
        assert (data["native_tokens_prompt"], data["native_tokens_completion"]) == (11, 5)
        assert data["is_byok"] is False
        assert data["provider_responses"][0]["status"] == 200


@pytest.mark.parametrize("path", ["/v1/requests/{}", "/v1/generation?id={}"])
async def test_another_account_s_receipt_is_not_there(tmp_path: Path, path: str) -> None:
    async with open_shop(tmp_path) as shop:
        caller = await shop.ask(max_tokens=300)
        other = shop.gateway.key("other")
        answer = await shop.gateway.client.get(
            path.format(caller.headers["x-request-id"]), headers={"authorization": f"Bearer {other}"}
        )
        assert answer.status_code == 404
