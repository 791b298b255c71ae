"""Translation says what the relay says: the same words, calls, finish and usage from the same bytes of a provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from farebox.core.usage import Usage
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Cost, Head, Names
from farebox.dialects.openai_chat import OpenAIChat
from farebox.gateway.call import Answer as Reply
from farebox.gateway.relay import RelayedReply, RelayedStream
from farebox.gateway.translate import TranslatedAnswer
from tests.dialects.forms import TOLD
from tests.dialects.recordings import Exchange, over_exchanges
from tests.gateway.shop import Shop, charge_of, data_lines, open_shop
from tests.gateway.test_recordings import choices_asked, finishes
from tests.support.answers import Act, Answer, chat, cut, error, error_event, json_answer, slow, stall, stream

CHAT = DIALECTS["openai_chat"]
NAMES = Names("chatcmpl-ours", "ours/model", 1_700_000_000)
COST = Cost("0.5", "USD")
told_by_chat = TOLD["openai_chat"]


class Abroad(OpenAIChat):
    """A dialect that only looks like OpenAI's, so that nothing may be relayed."""

    name = "chat_abroad"


LIMITS = "idle_timeout_s = 0.4\nkeep_alive_s = 0.15"


@asynccontextmanager
async def open_abroad(folder: Path, limits: str = LIMITS) -> AsyncIterator[Shop]:
    """A shop whose providers speak it."""
    async with open_shop(folder, limits) as shop:
        shop.speak(Abroad())
        yield shop


def through(answer: Reply, data: bytes, size: int) -> tuple[bytes | None, Usage | None]:
    """All that leaves of a reply that comes in pieces of this size, None if it failed; and the usage it told."""
    sent = []
    for start in range(0, len(data), size):
        answer.feed(data[start : start + size])
        sent.append(answer.ready())
    answer.close()
    sent.append(answer.ready())
    usage = answer.usage
    if answer.fault is not None:
        return None, usage
    return b"".join((*sent, answer.end(COST, usage or Usage(input_fresh=1, output_visible=1)))), usage


@pytest.mark.recordings
@over_exchanges(lambda exchange: exchange.dialect == "openai_chat" and (exchange.plain or exchange.stream))
def test_a_translated_reply_says_what_the_relayed_one_says(exchange: Exchange) -> None:
    streamed = exchange.plain is None
    data = exchange.plain or exchange.stream or b""
    head = Head(model="m", stream=streamed, choices=choices_asked(exchange))
    relayed: Reply = (RelayedStream if streamed else RelayedReply)(CHAT, head, NAMES)
    translated = TranslatedAnswer(CHAT.reader(stream=streamed), CHAT, head, NAMES)
    (theirs, their_usage), (ours, our_usage) = through(relayed, data, 700), through(translated, data, 700)
    if choices_asked(exchange) > 1:
        assert ours is None, "a conversation has one answer; n > 1 is for the relay alone"
        return
    assert (theirs is None) == (ours is None)
    assert our_usage == their_usage
    if ours is None or theirs is None:
        return
    told = [told_by_chat(None if streamed else sent, sent if streamed else None) for sent in (theirs, ours)]
    assert told[1]._replace(total=None) == told[0]._replace(total=None)
    assert finishes(ours, streamed=streamed).keys() == finishes(theirs, streamed=streamed).keys()
    assert _usage_of(ours, streamed=streamed)["cost"] == _usage_of(theirs, streamed=streamed)["cost"] == 0.5


def _usage_of(sent: bytes, *, streamed: bool) -> Any:
    pieces = (
        [json.loads(data) for data in data_lines(sent) if data != b"[DONE]"]
        if streamed
        else [json.loads(sent)]
    )
    return [piece["usage"] for piece in pieces if piece.get("usage")][-1]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_a_translated_call_is_answered_and_charged_like_a_relayed_one(
    tmp_path: Path, *, streamed: bool
) -> None:
    async with open_abroad(tmp_path) as shop:
        options = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
        caller = await shop.ask(temperature=0.5, **options)
        assert caller.text == "Hello from the provider."
        usage = caller.usage if streamed else json.loads(caller.body)["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["cost"]) == (11, 5, 0.000021)
        assert not streamed or caller.done
        sent = json.loads(shop.first.requests[0].body)
        assert (sent["model"], sent["temperature"], sent["messages"]) == (
            "up-1",
            0.5,
            [{"role": "user", "content": "Hi there!"}],
        )
        assert b"upstream" not in caller.body
        shop.assert_settled(charge_of(11, 5))


async def test_the_end_of_a_translated_stream_leaves_in_one_write(tmp_path: Path) -> None:
    async with open_abroad(tmp_path) as shop:
        shop.first.script(slow(stream(), 0.02))
        caller = await shop.ask(stream=True, stream_options={"include_usage": True})
        last = caller.pieces[-1]
        assert b'"finish_reason":"stop"' in last
        assert b'"usage":{' in last
        assert last.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert b" provider." in b"".join(caller.pieces[:-1])


FAULTS: dict[str, Callable[[Answer, int], Answer]] = {
    "cut": cut,
    "stalled": stall,
    "an error event": error_event,
    "garbage": lambda answer, after: replace(answer, body=(*answer.body[:after], b"data: canary\n\n")),
    "no finish": lambda answer, after: replace(answer, body=answer.body[:after]),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_translated_stream_that_breaks_ends_with_a_typed_error(tmp_path: Path, fault: str) -> None:
    async with open_abroad(tmp_path) as shop:
        shop.first.script(FAULTS[fault](stream(usage=None), 3))
        caller = await shop.ask(stream=True)
        assert caller.text == "Hello from"
        assert caller.error["type"] == "service_unavailable_error"
        assert not caller.done
        assert not shop.second.requests
        row = await shop.row()
        assert (row["partial"], row["estimated"], row["output_tokens"]) == (1, 1, 2)
        shop.assert_settled(row["charge"])


@pytest.mark.parametrize(
    "fault",
    [
        error(503),
        error(401),
        cut(stream(), 1),
        error_event(stream(), 1),
        replace(stream(), body=(stream().body[0], Act.HANG)),
    ],
    ids=["overload", "our key", "cut", "error", "silence"],
)
async def test_a_translated_call_goes_to_the_next_provider_too(tmp_path: Path, fault: Answer) -> None:
    async with open_abroad(tmp_path) as shop:
        shop.first.script(fault)
        caller = await shop.ask(stream=True)
        assert caller.text == "Hello from the provider."
        assert (len(shop.first.requests), len(shop.second.requests)) == (1, 1)
        shop.assert_settled(charge_of(11, 5))


async def test_a_translated_stream_without_usage_is_estimated(tmp_path: Path) -> None:
    async with open_abroad(tmp_path) as shop:
        shop.first.script(stream(usage=None))
        caller = await shop.ask(stream=True, stream_options={"include_usage": True})
        row = await shop.row()
        assert (row["estimated"], row["output_tokens"], caller.usage["completion_tokens"]) == (1, 4, 4)
        shop.assert_settled(row["charge"])


async def test_a_translated_finish_stands_though_its_usage_never_comes(tmp_path: Path) -> None:
    async with open_abroad(tmp_path) as shop:
        shop.first.script(stall(stream(usage=None, done=False), 99))
        caller = await shop.ask(stream=True)
        assert caller.done
        assert caller.error is None
        assert (await shop.row())["partial"] == 0


async def test_a_caller_who_leaves_a_translated_stream_pays_for_what_was_delivered(tmp_path: Path) -> None:
    async with open_abroad(tmp_path, "") as shop:
        shop.first.script(stall(stream(), 3))
        caller = await shop.call(stream=True)
        await caller.until(b" from")
        await asyncio.sleep(0.05)
        caller.hang_up()
        await shop.first.requests[0].closed_within(1)
        row = await shop.row()
        assert (row["output_tokens"], row["partial"], row["status"]) == (2, 1, 499)
        shop.assert_settled(row["charge"])


async def test_an_empty_translated_answer_is_free(tmp_path: Path) -> None:
    async with open_abroad(tmp_path) as shop:
        shop.first.script(chat("", usage=(11, 0)))
        caller = await shop.ask()
        assert caller.status == 200
        assert json.loads(caller.body)["usage"]["prompt_tokens"] == 11
        assert json.loads(caller.body)["usage"]["cost"] == 0
        shop.assert_settled(0)


async def test_several_answers_are_never_translated_into_one(tmp_path: Path) -> None:
    async with open_abroad(tmp_path) as shop:
        choices = [{"index": at, "message": {"content": "Hi"}, "finish_reason": "stop"} for at in (0, 1)]
        for provider in (shop.first, shop.second):
            provider.script(json_answer({"id": "c", "choices": choices}))
        caller = await shop.ask(n=2)
        assert caller.status == 502
        shop.assert_settled(0)
