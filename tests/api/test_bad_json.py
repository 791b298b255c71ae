"""Bodies that no call can be made of: each is a typed 400 that names the member, and costs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.caller import Caller, call_body, error_of
from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUGE = b"1" + b"0" * 6000  # More digits than Python cares to read.


def with_member(name: bytes, value: bytes) -> bytes:
    """A good call with one member written as it stands."""
    return b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "%b": %b}' % (
        name,
        value,
    )


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]", inside: bytes = b"") -> bytes:
    return with_member(b"extra", opening * depth + inside + closing * depth)


NOT_JSON = {
    "nothing": b"",
    "blanks": b" \r\n",
    "a word": b"hello",
    "half an object": b'{"model": "gpt-4o-mini", "messages": [',
    "an unclosed string": b'{"model": "gpt-4o-mini',
    "a comma too many": with_member(b"n", b"1,"),
    "single quotes": b"{'model': 'gpt-4o-mini'}",
    "text behind it": with_member(b"n", b"1") + b" and more",
    "a byte order mark": b"\xef\xbb\xbf" + with_member(b"n", b"1"),
    "UTF-16": '{"model": "gpt-4o-mini"}'.encode("utf-16"),
    "a byte that is no UTF-8": with_member(b"user", b'"\xff"'),
    "an overlong slash": with_member(b"user", b'"\xc0\xaf"'),
    "a surrogate in UTF-8": with_member(b"user", b'"\xed\xa0\x80"'),
    "half a surrogate pair": with_member(b"user", rb'"\ud800"'),
    "half a surrogate pair in a name": with_member(rb"\udc00", b"1"),
    "half a surrogate pair in an unknown member": with_member(b"extra", rb'"\ud800"'),
    "a bare control character": with_member(b"user", b'"\x01"'),
    "NaN": with_member(b"temperature", b"NaN"),
    "NaN in an unknown member": with_member(b"extra", b"NaN"),
    "Infinity": with_member(b"temperature", b"Infinity"),
    "minus infinity": with_member(b"extra", b"-Infinity"),
    "hexadecimal": with_member(b"seed", b"0x10"),
    "a leading zero": with_member(b"seed", b"01"),
    "101 levels": nested(98, inside=b"[[[]]]"),
    "a hundred thousand levels": nested(100_000),
    "a hundred thousand levels of objects": nested(100_000, b'{"a":', b"}", b"1"),
    "a million brackets without end": b'{"extra": ' + b"[" * 1_000_000,
    "101 levels in turn": nested(50, b'[{"a":', b"}]", b"1"),
}


@pytest.mark.parametrize("name", NOT_JSON)
async def test_what_is_no_json_is_refused(shared: Gateway, name: str) -> None:
    caller = Caller(shared, "writer")
    answer = await caller.post("/v1/chat/completions", NOT_JSON[name])
    error = error_of(answer, 400)
    assert error["type"] == "invalid_request_error"
    assert error["metadata"]["error_type"] == "invalid_json"
    assert caller.spent_nano() == 0


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1", b"true", b"[" * 1_000_000])
async def test_a_body_that_is_no_object_is_refused(shared: Gateway, body: bytes) -> None:
    error = error_of(await Caller(shared, "writer").post("/v1/chat/completions", body), 400)
    assert "object" in error["message"]


async def test_a_hundred_levels_are_taken(shared: Gateway) -> None:
    body = nested(99)  # The body itself is the first.
    assert (await Caller(shared, "deep").post("/v1/chat/completions", body)).status_code == 200
    error_of(await Caller(shared, "deep").post("/v1/chat/completions", nested(100)), 400)


async def test_a_wide_body_is_not_a_deep_one(shared: Gateway) -> None:
    body = with_member(b"extra", b"[" + b"[]," * 200_000 + b"[]]")
    assert (await Caller(shared, "wide").post("/v1/chat/completions", body)).status_code == 200


async def test_brackets_inside_strings_are_no_depth(shared: Gateway) -> None:
    answer = await Caller(shared, "deep").chat(say='["{' * 200 + "\\" * 3)
    assert answer.status_code == 200


def at(**members: object) -> dict[str, object]:
    return {**call_body(), **members}


def says(**message: object) -> dict[str, object]:
    return call_body(messages=[message])


# What is sent → the member that the error must name.
REFUSED: dict[str, tuple[Any, str]] = {
    "no model": (call_body(model=None), "model"),
    "no messages": (call_body(messages=None), "messages"),
    "null model": (at(model=None), "model"),
    "numeric model": (at(model=4), "model"),
    "empty model": (at(model=""), "model"),
    "long model": (at(model="m" * 257), "model"),
    "empty messages": (at(messages=[]), "messages"),
    "null messages": (at(messages=None), "messages"),
    "messages as text": (at(messages="Hi"), "messages"),
    "a message as text": (at(messages=["Hi"]), "messages[0]"),
    "no role": (says(content="Hi"), "messages[0].role"),
    "an unknown role": (says(role="king", content="Hi"), "messages[0].role"),
    "numeric content": (says(role="user", content=1), "messages[0].content"),
    "no content": (says(role="user"), "messages[0].content"),
    "null content": (says(role="system", content=None), "messages[0].content"),
    "an answer to no call": (says(role="tool", content="42"), "messages[0].tool_call_id"),
    "the second message": (
        at(messages=[{"role": "user", "content": "Hi"}, {"role": "user"}]),
        "messages[1].content",
    ),
    "stream as text": (at(stream="yes"), "stream"),
    "stream as number": (at(stream=1), "stream"),
    "n of nought": (at(n=0), "n"),
    "negative n": (at(n=-1), "n"),
    "a billion choices": (at(n=10**9), "n"),
    "n as text": (at(n="2"), "n"),
    "n as fraction": (at(n=1.5), "n"),
    "no tokens": (at(max_tokens=0), "max_tokens"),
    "negative tokens": (at(max_tokens=-5), "max_tokens"),
    "tokens as fraction": (at(max_completion_tokens=2.5), "max_completion_tokens"),
    "too many tokens": (at(max_tokens=2**31 + 1), "max_tokens"),
    "tokens beyond 64 bits": (at(max_completion_tokens=2**64), "max_completion_tokens"),
    "tokens without end": (with_member(b"max_tokens", HUGE), "max_tokens"),
    "a seed without end": (with_member(b"seed", HUGE), "seed"),
    "a character without end": (with_member(b"character_id", HUGE), "character_id"),
    "cold": (at(temperature=-0.1), "temperature"),
    "hot": (at(temperature=2.1), "temperature"),
    "beyond floats": (with_member(b"temperature", b"1e400"), "temperature"),
    "warm by word": (at(temperature="warm"), "temperature"),
    "warm by truth": (at(temperature=True), "temperature"),
    "top_p above one": (at(top_p=1.01), "top_p"),
    "negative top_p": (at(top_p=-1), "top_p"),
    "presence": (at(presence_penalty=3), "presence_penalty"),
    "frequency": (at(frequency_penalty=-3), "frequency_penalty"),
    "five stops": (at(stop=["a", "b", "c", "d", "e"]), "stop"),
    "a numeric stop": (at(stop=[1]), "stop[0]"),
    "top_logprobs": (at(logprobs=True, top_logprobs=21), "top_logprobs"),
    "tools as text": (at(tools="look"), "tools"),
    "a tool without type": (at(tools=[{"function": {"name": "look"}}]), "tools[0].type"),
    "four fallbacks": (at(models=["a", "b", "c", "d"]), "models"),
    "a long session": (at(session_id="s" * 257), "session_id"),
    "cache by word": (at(cache="yes"), "cache"),
    "a list of characters": (at(character_id=["1"]), "character_id"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_member_that_is_not_right_is_named(shared: Gateway, name: str) -> None:
    body, param = REFUSED[name]
    caller = Caller(shared, "careless")
    error = error_of(await caller.post("/v1/chat/completions", body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert param in error["message"]
    assert caller.spent_nano() == 0


@pytest.mark.parametrize("name", ["no model", "no messages", "no role"])
async def test_a_missing_member_is_told_from_a_wrong_one(shared: Gateway, name: str) -> None:
    error = error_of(
        await Caller(shared, "forgetful").post("/api/v1/chat/completions", REFUSED[name][0]), 400
    )
    assert error["code"] == "missing_required_parameter"


async def test_of_a_model_named_twice_one_is_called_and_charged(shared: Gateway) -> None:
    caller = Caller(shared, "double")
    messages = b'"messages": [{"role": "user", "content": "Hi"}]'
    answer = await caller.post(
        "/api/v1/chat/completions", b'{"model": "gpt-4o", %b, "model": "gpt-4o-mini"}' % messages
    )
    assert answer.json()["model"] == "gpt-4o-mini"
    assert shared.request(answer.headers["x-request-id"])["model"] == "openai/gpt-4o-mini"
    error_of(
        await caller.post("/v1/chat/completions", b'{"model": "gpt-4o-mini", %b, "model": "no"}' % messages),
        404,
    )


async def test_a_limit_given_twice_is_held_at_the_larger(shared: Gateway) -> None:
    caller = Caller(shared, "two-limits")
    ids = []
    for members in (
        {"max_tokens": 1, "max_completion_tokens": 900},
        {"max_tokens": 900, "max_completion_tokens": 1},
    ):
        ids.append((await caller.chat(**members)).headers["x-request-id"])
    low = (await caller.chat(max_tokens=1)).headers["x-request-id"]
    first, second = (int(str(shared.request(id_)["hold"])) for id_ in ids)
    assert first == second > int(str(shared.request(low)["hold"]))


@pytest.mark.parametrize(
    "name", ["nobody/nothing", "gpt", "openai/", "/", "../gpt-4o", "gpt-4o\0", "gpt-4o "]
)
async def test_an_unknown_model_is_not_found(shared: Gateway, name: str) -> None:
    caller = Caller(shared, "seeking")
    error = error_of(await caller.chat("/api/v1", model=name), 404)
    assert (error["type"], error["code"], error["param"]) == (
        "not_found_error",
        "model_not_found",
        "model",
    )
    assert caller.spent_nano() == 0


async def test_a_model_for_something_else_is_refused(shared: Gateway) -> None:
    error = error_of(await Caller(shared, "painting").chat(model="dall-e-3"), 400)
    assert error["param"] == "model"
    assert "image" in error["message"]


async def test_a_number_of_any_length_in_an_unknown_member_is_not_ours_to_refuse(shared: Gateway) -> None:
    caller = Caller(shared, "numerous")
    for value in (HUGE, b"1e400", b"-0.0", b"1E-9999"):
        answer = await caller.post("/v1/chat/completions", with_member(b"extra", value))
        assert answer.status_code == 200, answer.text


async def test_text_of_any_script_comes_through(shared: Gateway) -> None:
    said = 'नमस्ते 😀 "\\u0000" \u2028 \u202e'
    answer = await Caller(shared, "polyglot").chat(say=said)
    assert answer.status_code == 200
    escaped = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "\\u0928\\ud83d\\ude00"}]}'
    assert (await Caller(shared, "polyglot").post("/v1/chat/completions", escaped)).status_code == 200
