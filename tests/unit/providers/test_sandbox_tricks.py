"""Each magic prompt does what the table says of it, and nothing else does."""

from __future__ import annotations

import asyncio
import json

import pytest

from farebox.core.errors import Fault, Kind
from farebox.providers.sandbox.tricks import TRICKS, Tricks, read_tricks
from farebox.providers.upstream import TimeLimits
from tests.support.sandbox import LIMIT, ask, body_of, send, stream


def test_the_table_describes_every_trick_by_its_own_example() -> None:
    assert set(TRICKS) == set(Tricks.__struct_fields__)
    for name, description in TRICKS.items():
        example = description.split("`")[1]
        tricks, rest = read_tricks(example)
        assert getattr(tricks, name) != getattr(Tricks(), name)
        assert rest == ""


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422, 429, 500, 502, 503, 529, 599])
async def test_an_error_is_given_with_the_status_asked_for(status: int) -> None:
    for streamed in (False, True):
        reply = await send(body_of(f"sandbox:error {status}", stream=streamed))
        assert reply.status == status
        assert reply.headers["content-type"] == "application/json"
        assert ("retry-after" in reply.headers) == (status in {429, 503})
        error = json.loads(await reply.read_whole(LIMIT))["error"]
        assert str(status) in error["message"]
        assert error["type"]


@pytest.mark.parametrize(
    "say",
    [
        *(
            "sandbox:error",
            "sandbox:error 200",
            "sandbox:error 600",
            "sandbox:error soon",
            "sandbox:error 429.5",
        ),
        *("sandbox:slow -1", "sandbox:slow", "sandbox:long 0", "sandbox:cut -1", "sandbox:usage many"),
    ],
)
async def test_a_trick_with_a_wrong_number_is_explained(say: str) -> None:
    reply = await send(body_of(say))
    assert reply.status == 400
    error = json.loads(await reply.read_whole(LIMIT))["error"]
    assert TRICKS[say.removeprefix("sandbox:").partition(" ")[0]] in error["message"]


@pytest.mark.parametrize(
    "say", ["Say sandbox:error 429", "sandbox: error 429", "sandbox:errors 429", "sandbox:unheard 1"]
)
async def test_words_that_only_look_like_a_trick_are_words(say: str) -> None:
    assert say in (await ask(say))["choices"][0]["message"]["content"]


async def test_a_trick_stands_on_any_line_of_the_last_user_message_only() -> None:
    reply = await send(body_of("Hello!\nsandbox:error 418\nGoodbye!"))
    assert reply.status == 418
    parts = [{"type": "text", "text": "Hello!"}, {"type": "text", "text": "sandbox:error 418"}]
    assert (await send(body_of(parts))).status == 418
    earlier = [
        {"role": "user", "content": "sandbox:error 418"},
        {"role": "assistant", "content": "sandbox:error 418"},
        {"role": "user", "content": "Better now?"},
    ]
    assert "Better now?" in (await ask(messages=earlier))["choices"][0]["message"]["content"]


async def test_the_rest_of_the_message_is_answered_as_if_the_trick_were_not_there() -> None:
    reply = await ask("sandbox:nousage\nWhat is the capital of France?")
    assert reply["choices"][0]["message"]["content"] == "The capital of France is Paris."


async def test_slow_waits_before_the_head() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await send(body_of("sandbox:slow 0.05"))
    assert loop.time() - start >= 0.05


async def test_slow_and_stall_are_bounded_by_the_gateways_patience() -> None:
    limits = TimeLimits(first_byte_s=0.01, idle_s=0.01)
    with pytest.raises(Fault) as slow:
        await send(body_of("sandbox:slow 100"), limits=limits)
    assert slow.value.kind is Kind.PROVIDER_TIMEOUT
    for streamed in (False, True):
        reply = await send(body_of("sandbox:stall 100", stream=streamed), limits=limits)
        assert await reply.read()
        with pytest.raises(Fault) as stalled:
            await reply.read_whole(LIMIT)
        assert stalled.value.kind is Kind.PROVIDER_TIMEOUT


async def test_a_stall_only_delays() -> None:
    loop = asyncio.get_running_loop()
    for streamed in (False, True):
        start = loop.time()
        stalled = await (await send(body_of("sandbox:stall 0.05\nping", stream=streamed))).read_whole(LIMIT)
        assert loop.time() - start >= 0.05
        assert b"pong" in stalled
        assert stalled.endswith(b"[DONE]\n\n" if streamed else b"}")


@pytest.mark.parametrize("length", [1, 2, 500, 2000])
async def test_long_has_exactly_so_many_tokens(length: int) -> None:
    reply = await ask(f"sandbox:long {length}")
    assert reply["usage"]["completion_tokens"] == length
    assert reply["choices"][0]["finish_reason"] == "stop"


async def test_long_is_bounded_by_the_caller_and_by_us() -> None:
    limited = await ask("sandbox:long 2000", max_tokens=50)
    assert limited["usage"]["completion_tokens"] == 50
    assert limited["choices"][0]["finish_reason"] == "length"
    assert (await ask("sandbox:long 999999"))["usage"]["completion_tokens"] == 100_000
    assert (await ask("sandbox:long 999999", n=4))["usage"]["completion_tokens"] == 100_000


async def read_until_cut(say: str) -> list[bytes]:
    """The events of a stream before it breaks off, which it must."""
    reply = await send(body_of(say, stream=True))
    pieces: list[bytes] = []
    kind = None
    try:
        while piece := await reply.read():
            pieces.append(piece)
    except Fault as fault:
        kind = fault.kind
    assert kind is Kind.PROVIDER_CUT
    return pieces


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_cut_stream_breaks_after_so_many_chunks_of_content(after: int) -> None:
    pieces = await read_until_cut(f"sandbox:cut {after}\nWhy is the sky blue?")
    assert len(pieces) == 1 + after
    assert b'"role":"assistant"' in pieces[0]
    assert all(b'"finish_reason":null' in piece for piece in pieces)


async def test_a_cut_beyond_the_end_still_comes_before_the_finish() -> None:
    pieces = await read_until_cut("sandbox:cut 500\nping")
    assert b"pong" in pieces[-1]
    assert all(b'"finish_reason":null' in piece for piece in pieces)


async def test_a_cut_plain_reply_breaks_in_the_middle_of_its_body() -> None:
    whole = await (await send(body_of("ping"))).read_whole(LIMIT)
    reply = await send(body_of("sandbox:cut 3\nping"))
    assert len(await reply.read()) < len(whole)
    with pytest.raises(Fault) as cut:
        await reply.read()
    assert cut.value.kind is Kind.PROVIDER_CUT


async def test_usage_can_be_missing_or_absurd() -> None:
    assert "usage" not in await ask("sandbox:nousage")
    assert not any(chunk.get("usage") for chunk in await stream("sandbox:nousage"))
    for count in (-5, 0, 999_999_999_999):
        usage = (await ask(f"sandbox:usage {count}"))["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (
            count,
            count,
            2 * count,
        )
        assert (await stream(f"sandbox:usage {count}"))[-1]["usage"] == usage


async def test_an_empty_answer_has_no_output_at_all() -> None:
    reply = await ask("sandbox:empty", reasoning_effort="high", tools=[])
    assert reply["choices"][0]["message"]["content"] == ""
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["completion_tokens"] == 0


async def test_a_refusal_takes_the_place_of_the_content() -> None:
    message = (await ask("sandbox:refuse", max_tokens=50))["choices"][0]["message"]
    assert message["content"] is None
    assert "sorry" in message["refusal"]
    short = await ask("sandbox:refuse", max_tokens=2)
    assert short["choices"][0]["message"]["refusal"] == "I'm sorr"
    assert short["choices"][0]["finish_reason"] == "length"


async def test_tricks_can_be_combined() -> None:
    assert len(await read_until_cut("sandbox:long 300\nsandbox:cut 40")) == 41
