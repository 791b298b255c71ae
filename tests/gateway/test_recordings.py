"""Fixtures and recorded traffic through the whole gateway: the words arrive, and the usage is what is charged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.dialects.forms import TOLD
from tests.dialects.recordings import PATHS, Exchange, find_folder, over_exchanges
from tests.gateway.shop import INPUT_NANO, OUTPUT_NANO, Caller, Shop, data_lines, open_shop
from tests.support.answers import EVENT_TYPE, JSON_TYPE, Answer, Framing

recordings = pytest.mark.recordings
told_by_chat = TOLD["openai_chat"]


def pieces_of(exchange: Exchange) -> list[Any]:
    """The JSON of a reply, read without any of our own code."""
    if exchange.plain is not None:
        return [json.loads(exchange.plain)]
    return [json.loads(data) for data in data_lines(exchange.stream or b"") if data != b"[DONE]"]


def choices_asked(exchange: Exchange) -> int:
    """How many answers the caller of a reply must have asked for."""
    indices = {
        choice.get("index", 0) for piece in pieces_of(exchange) for choice in piece.get("choices") or ()
    }
    return max(indices, default=0) + 1


def price_of(exchange: Exchange) -> int | None:
    """What the usage of a reply comes to; None where it has none. Totals are the provider's own."""
    usages = [piece.get("usage") or (piece.get("x_groq") or {}).get("usage") for piece in pieces_of(exchange)]
    usage = next((usage for usage in reversed(usages) if usage), None)
    if usage is None:
        return None
    prompt = usage["prompt_tokens"]
    output = usage["total_tokens"] - prompt if "total_tokens" in usage else usage["completion_tokens"]
    return int(prompt * INPUT_NANO + output * OUTPUT_NANO)


def answer_of(exchange: Exchange, piece_bytes: int = 4_096) -> Answer:
    """The exact bytes, as the provider sent them."""
    if exchange.plain is not None:
        return Answer((exchange.plain,), headers=JSON_TYPE)
    stream = exchange.stream or b""
    pieces = [stream[start : start + piece_bytes] for start in range(0, len(stream), piece_bytes)]
    return Answer(tuple(pieces), headers=EVENT_TYPE, framing=Framing.CHUNKED)


async def ask(shop: Shop, exchange: Exchange) -> Caller:
    """The call that gets this reply."""
    streamed = exchange.stream is not None
    members: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    return await shop.ask(n=choices_asked(exchange), **members)


def finishes(body: bytes, *, streamed: bool) -> dict[int, str]:
    """The finish reason of each choice."""
    pieces = (
        [json.loads(data) for data in data_lines(body) if data != b"[DONE]"]
        if streamed
        else [json.loads(body)]
    )
    return {
        choice.get("index", 0): choice["finish_reason"]
        for piece in pieces
        for choice in piece.get("choices") or ()
        if choice.get("finish_reason")
    }


@recordings
@over_exchanges(lambda exchange: exchange.dialect == "openai_chat" and (exchange.plain or exchange.stream))
async def test_a_reply_arrives_whole_and_costs_its_usage(tmp_path: Path, exchange: Exchange) -> None:
    streamed = exchange.stream is not None and exchange.plain is None
    exchange = msgspec.structs.replace(exchange, stream=exchange.stream if streamed else None)
    theirs, sent = told_by_chat(exchange.plain, exchange.stream), exchange.plain or exchange.stream or b""
    broke = any(piece.get("error") for piece in pieces_of(exchange)) or not finishes(sent, streamed=streamed)
    async with open_shop(tmp_path) as shop:
        shop.first.script(answer_of(exchange))
        shop.second.script(answer_of(exchange))
        caller = await ask(shop, exchange)
        assert caller.status == 200, caller.body
        ours = told_by_chat(None if streamed else caller.body, caller.body if streamed else None)
        assert (ours.text, ours.calls) == (theirs.text, theirs.calls)
        row, price = await shop.row(), price_of(exchange)
        if broke:
            assert not caller.done
            assert caller.error["type"] == "service_unavailable_error"
        else:
            assert finishes(caller.body, streamed=streamed) == finishes(sent, streamed=streamed)
            assert caller.done == streamed
        assert row["partial"] == broke
        if price is None:
            assert row["estimated"] == 1
            assert row["charge"] > 0
        else:
            assert (row["charge"], row["estimated"]) == (price if row["output_tokens"] else 0, 0)
        shop.assert_settled(row["charge"])


class _Refused(msgspec.Struct):
    name: str
    path: str
    status: int
    response_headers: dict[str, str] = {}
    response_body: str | None = None


def refusals() -> list[_Refused]:
    """Recorded refusals, and one of our own so that the test runs without any."""
    ours = _Refused("ours", "/v1/chat/completions", 400, {}, '{"error":{"message":"Bad temperature."}}')
    folder = find_folder()
    files = (
        [msgspec.json.decode(path.read_bytes(), type=_Refused) for path in sorted(folder.glob("*.json"))]
        if folder
        else []
    )
    return [
        ours,
        *(file for file in files if file.path.endswith(PATHS["openai_chat"]) and file.status >= 400),
    ]


@recordings
@pytest.mark.parametrize(
    "refusal",
    refusals(),
    ids=lambda one: one.name if one.name == "ours" else f"recorded:openai_chat:{one.name}",
)
async def test_a_refusal_is_told_in_our_form_and_costs_nothing(tmp_path: Path, refusal: _Refused) -> None:
    async with open_shop(tmp_path) as shop:
        kind = refusal.response_headers.get("content-type", "application/json")
        body = (refusal.response_body or "").encode()
        for provider in (shop.first, shop.second):
            provider.script(Answer((body,), refusal.status, (("content-type", kind),)))
        caller = await shop.ask()
        assert set(caller.error) >= {"message", "type", "param", "code"}
        if refusal.status == 400:
            assert caller.status == 400
            assert not shop.second.requests
            assert caller.error["message"].split("…")[0] in body.decode()
        else:
            assert caller.status in (502, 503, 504)
            assert len(shop.second.requests) == 1
            assert caller.error["message"].startswith("The model's provider"), "our words, not theirs"
        shop.assert_settled(0)
