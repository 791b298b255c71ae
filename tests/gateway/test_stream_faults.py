"""A provider that breaks in the middle of a stream: a typed error inside it, no end mark, no second provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.gateway.shop import charge_of, events_of, open_shop
from tests.support.answers import (
    Act,
    Answer,
    cut,
    error_event,
    reset,
    slow,
    stall,
    stream,
    trailed,
    truncated,
)

QUICK = "first_byte_timeout_s = 0.4\nidle_timeout_s = 0.4"
WORDS = stream()  # The role, four words, the finish, usage, the end mark.
TWO_WORDS = 3  # Events up to the second word.


def broken(event: bytes) -> Callable[[Answer, int], Answer]:
    """A stream that goes on with this, and then in good form."""
    return lambda answer, after: replace(answer, body=(*answer.body[:after], event, *answer.body[after:]))


def ended(answer: Answer, after: int) -> Answer:
    """A body that is over in good form, but for its finish."""
    return replace(answer, body=answer.body[:after])


def finished_badly(reason: str) -> bytes:
    chunk = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


FAULTS: dict[str, tuple[Callable[[Answer, int], Answer], str]] = {
    "cut": (cut, "provider_error"),
    "reset": (reset, "provider_error"),
    "stalled": (stall, "provider_timeout"),
    "ended without a finish": (ended, "provider_error"),
    "ended with an end mark alone": (
        lambda answer, after: replace(answer, body=(*answer.body[:after], answer.body[-1])),
        "provider_error",
    ),
    "an error event": (error_event, "provider_error"),
    "an event named error": (
        broken(b'event: error\ndata: {"error":{"message":"canary"}}\n\n'),
        "provider_error",
    ),
    "words instead of JSON": (broken(b"data: canary, not JSON\n\n"), "provider_error"),
    "half an object": (broken(b'data: {"id":"chatcmpl-upstream1","object":"canary\n\n'), "provider_error"),
    "an object with rubbish": (
        broken(events_of(WORDS)[1].replace(b'"choices"', b'"canary":,"choices"')),
        "provider_error",
    ),
    "bytes that are no text": (
        broken(
            b'data: {"id":"\xff\xfe","canary":"\xff","choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n'
        ),
        "provider_error",
    ),
    "an object without a bottom": (
        broken(b'data: {"id":"canary","choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n"),
        "provider_error",
    ),
    "a choice that failed": (broken(finished_badly("error")), "provider_error"),
    "a finish for want of resources": (
        broken(finished_badly("insufficient_system_resource")),
        "provider_error",
    ),
    "a choice with an error": (
        broken(b'data: {"choices":[{"index":0,"delta":{},"error":{"message":"canary"}}]}\n\n'),
        "provider_error",
    ),
    "a line without an end": (broken(b"data: " + b"l" * (5 << 20)), "provider_error"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stream_that_breaks_ends_with_a_typed_error_and_no_end_mark(
    tmp_path: Path, fault: str
) -> None:
    async with open_shop(tmp_path, QUICK) as shop:
        worsen, code = FAULTS[fault]
        shop.first.script(worsen(stream(usage=None), TWO_WORDS))
        caller = await shop.ask(stream=True)
        assert caller.status == 200
        assert caller.text == "Hello from", "what was said stays, and nothing is said twice"
        assert (caller.error["type"], caller.error["metadata"]["error_type"]) == (
            "service_unavailable_error",
            code,
        )
        assert caller.error["message"]
        assert caller.chunks[-1]["choices"] == [{"index": 0, "delta": {}, "finish_reason": "error"}]
        assert caller.chunks[-1]["id"] == caller.chunks[0]["id"]
        assert not caller.done
        assert b"canary" not in caller.body
        assert not shop.second.requests, "no second provider once something was said"
        assert len(shop.first.requests) == 1
        row = await shop.row()
        assert (row["partial"], row["estimated"], row["output_tokens"], row["error"]) == (1, 1, 2, code)
        shop.assert_settled(row["charge"])


async def test_a_provider_that_talks_on_behind_its_error_is_stopped(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(stall(error_event(stream(), TWO_WORDS), 99))
        caller = await shop.ask(stream=True)
        assert caller.error
        await shop.first.requests[0].closed_within(1)


async def test_usage_that_came_before_the_break_is_what_is_charged(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        last = stream(usage=(11, 3)).body[-2]
        shop.first.script(replace(stream(), body=(*stream().body[:3], last, Act.CLOSE)))
        caller = await shop.ask(stream=True)
        assert caller.error
        row = await shop.row()
        assert (row["charge"], row["estimated"], row["partial"]) == (charge_of(11, 3), 0, 1)
        shop.assert_settled(charge_of(11, 3))


async def test_what_came_in_one_read_with_the_break_is_still_delivered(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        body = b"".join(piece for piece in error_event(stream(), 4).body if isinstance(piece, bytes))
        shop.first.script(replace(stream(), body=(body,)))
        caller = await shop.ask(stream=True)
        assert caller.text == "Hello from the"
        assert caller.error
        assert (await shop.row())["output_tokens"] == 3


@pytest.mark.parametrize("worsen", [cut, stall, reset], ids=lambda worsen: worsen.__name__)
async def test_a_break_behind_the_finish_breaks_nothing(
    tmp_path: Path, worsen: Callable[[Answer, int], Answer]
) -> None:
    async with open_shop(tmp_path, QUICK) as shop:
        shop.first.script(worsen(stream(usage=None), 6))
        caller = await shop.ask(stream=True)
        assert caller.text == "Hello from the provider."
        assert caller.done
        assert caller.error is None
        assert (await shop.row())["partial"] == 0


async def test_an_error_told_behind_the_finish_is_an_error(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(error_event(stream(), 6, "canary: token limit reached"))
        caller = await shop.ask(stream=True)
        assert caller.text == "Hello from the provider."
        assert caller.error["type"] == "service_unavailable_error"
        assert not caller.done
        assert b'"finish_reason":"stop"' not in caller.body
        assert b"canary" not in caller.body
        row = await shop.row()
        assert (row["partial"], row["output_tokens"]) == (1, 4)
        shop.assert_settled(row["charge"])


@pytest.mark.parametrize("size", [3, 64])
async def test_a_stream_in_odd_framing_is_whole(tmp_path: Path, size: int) -> None:
    async with open_shop(tmp_path) as shop:
        shop.first.script(trailed(replace(stream(), chunk_size=size)))
        caller = await shop.ask(stream=True)
        assert caller.text == "Hello from the provider."
        assert caller.done


async def test_keep_alives_stand_between_events_and_only_behind_the_head(tmp_path: Path) -> None:
    async with open_shop(tmp_path, "keep_alive_s = 0.15") as shop:
        shop.first.script(slow(stream(), 0.4))
        caller = await shop.call(stream=True)
        await asyncio.sleep(0.05)
        assert caller.received == b"", "the head waits for something to say"
        await caller.until(b": keep-alive\n\n")
        assert b"Hello" not in caller.received, "the head went when the line fell silent"
        await caller.ended()
        assert caller.status == 200
        events = caller.body.split(b"\n\n")
        assert events.pop() == b""
        assert {event for event in events if not event.startswith(b"data: ")} == {b": keep-alive"}
        assert events.count(b": keep-alive") >= 8
        assert events[-1] == b"data: [DONE]"
        assert caller.text == "Hello from the provider."


async def test_no_keep_alive_lands_inside_an_event_that_comes_slowly(tmp_path: Path) -> None:
    async with open_shop(tmp_path, "keep_alive_s = 0.1") as shop:
        body = events_of(stream())
        half = len(body[3]) // 2
        pieces = (*body[:3], body[3][:half], 0.35, body[3][half:], *body[4:])
        shop.first.script(replace(stream(), body=pieces))
        caller = await shop.ask(stream=True)
        assert caller.text == "Hello from the provider."
        assert b"\n\n: keep-alive\n\n" in caller.body


async def test_the_head_goes_with_the_first_words_where_they_come_in_time(tmp_path: Path) -> None:
    async with open_shop(tmp_path, "keep_alive_s = 5") as shop:
        shop.first.script(replace(stream(), body=(stream().body[0], 0.2, *stream().body[1:])))
        caller = await shop.call(stream=True)
        await asyncio.sleep(0.1)
        assert caller.received == b"", "a role is nothing to say"
        await caller.ended()
        assert caller.text == "Hello from the provider."
        assert b"keep-alive" not in caller.body


async def test_a_failure_has_a_status_before_the_head_and_none_after_it(tmp_path: Path) -> None:
    async with open_shop(tmp_path, "first_byte_timeout_s = 0.5\nkeep_alive_s = 0.2") as shop:
        for provider in (shop.first, shop.second):
            provider.script(cut(stream(), 0), stall(stream(), 0))
        early = await shop.ask(stream=True)
        assert early.status == 502
        shop.first.script(replace(stream(), before=(0.3, Act.CLOSE)))
        shop.second.script(replace(stream(), before=(0.3, Act.CLOSE)))
        late = await shop.ask(stream=True)
        assert late.status == 200
        assert late.error["metadata"]["error_type"] == "provider_error"
        assert not late.done
        rows = [await shop.row(at) for at in (0, 1)]
        assert [(row["status"], row["charge"], len(row["attempts"])) for row in rows] == [
            (502, 0, 2),
            (502, 0, 2),
        ]
        shop.assert_settled(0)


async def test_a_plain_answer_cut_short_is_never_taken_for_whole(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        for provider in (shop.first, shop.second):
            provider.script(truncated(replace(stream(), headers=(("content-type", "application/json"),)), 10))
        caller = await shop.ask()
        assert caller.status == 502
        shop.assert_settled(0)
