"""The sandbox speaks OpenAI's chat dialect, says the same to the same, and counts what it says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.providers.sandbox.upstream import Sandbox
from farebox.providers.upstream import Endpoint, Outgoing, Upstream
from tests.support.sandbox import LIMIT, ask, body_of, fold, send, stream

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            "required": ["city", "days"],
        },
    },
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STRUCTURED = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


def said(reply: Any) -> str:
    text = reply["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


async def refusal_of(body: bytes) -> dict[str, Any]:
    reply = await send(body)
    assert reply.status == 400
    error: dict[str, Any] = json.loads(await reply.read_whole(LIMIT))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error


async def test_hello_is_answered_as_in_every_providers_documentation() -> None:
    reply = await ask("Hello!")
    assert said(reply).startswith("Hello! How can I help you today?")
    assert "sandbox" in said(reply)
    assert reply["object"] == "chat.completion"
    assert reply["model"] == "test/model"
    assert reply["choices"][0]["finish_reason"] == "stop"


async def test_the_capital_of_france_is_the_documented_one() -> None:
    assert said(await ask("What is the capital of France?")) == "The capital of France is Paris."


async def test_any_other_question_comes_back_in_an_answer_that_owns_up_to_being_the_sandbox() -> None:
    text = said(await ask("Why is the sky blue\nat noon?"))
    assert "Why is the sky blue at noon?" in text
    assert "sandbox" in text.casefold()


async def test_a_long_question_is_echoed_in_part() -> None:
    text = said(await ask("word " * 10_000))
    assert "word word…" in text
    assert len(text) < 1000


async def test_the_answer_depends_on_model_words_and_seed_and_on_nothing_else() -> None:
    plain = await ask("Why?", temperature=0)
    assert await ask("Why?", temperature=2, user="somebody", metadata={"a": "b"}) == plain
    assert await ask([{"type": "text", "text": "Why?"}]) == plain
    for changed in (await ask("Why not?"), await ask("Why?", seed=1), await ask("Why?", model="another")):
        assert changed["id"] != plain["id"]


async def test_another_process_gives_the_same_bytes() -> None:
    body = body_of("Why is the sky blue?", n=2, tools=[WEATHER], tool_choice="none", logprobs=True)
    program = (
        "import asyncio, sys\n"
        "from tests.support.sandbox import send\n"
        "reply = asyncio.run(send(sys.stdin.buffer.read()))\n"
        "sys.stdout.buffer.write(asyncio.run(reply.read_whole(10**6)))\n"
    )
    root = Path(__file__).parents[3]
    other = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], input=body, capture_output=True, check=True, cwd=root
    )
    assert other.stdout == await (await send(body)).read_whole(LIMIT)


async def test_every_choice_is_its_own() -> None:
    reply = await ask("Why?", n=3)
    texts = [choice["message"]["content"] for choice in reply["choices"]]
    assert len(set(texts)) == 3
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]


async def test_media_are_acknowledged() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    reply = await ask([{"type": "text", "text": "Hello!"}, image])
    assert "I see 1 image." in said(reply)
    assert reply["usage"]["prompt_tokens"] == (await ask("Hello!"))["usage"]["prompt_tokens"] + 85
    assert "I see 2 images and 1 audio clip." in said(await ask([image, image, audio]))


async def test_tokens_are_four_bytes_each_and_four_a_message() -> None:
    usage = (await ask("What is the capital of France?"))["usage"]
    assert usage["prompt_tokens"] == 4 + -(-len("What is the capital of France?") // 4)
    assert usage["completion_tokens"] == -(-len("The capital of France is Paris.") // 4)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_limit_ends_the_answer_with_length_and_splits_no_character() -> None:
    reply = await ask("ß" * 150, max_completion_tokens=30)
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 30
    assert (await ask("ß" * 150, max_tokens=30))["choices"] == reply["choices"]


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("Paris", "The capital of France is "),
        (["Paris", " is"], "The capital of France"),
        (["never said", "Paris"], "The capital of France is "),
        ("The", ""),
    ],
)
async def test_the_text_ends_before_the_first_stop_sequence(stop: object, text: str) -> None:
    reply = await ask("What is the capital of France?", stop=stop)
    assert said(reply) == text
    assert reply["choices"][0]["finish_reason"] == "stop"


async def test_json_mode_answers_with_an_object() -> None:
    assert isinstance(json.loads(said(await ask("Hi", response_format={"type": "json_object"}))), dict)


async def test_a_schema_is_answered_with_a_value_of_its_form() -> None:
    assert json.loads(said(await ask("Hi", response_format=STRUCTURED))) == {"city": "sandbox"}


async def test_effort_brings_thoughts_that_are_counted_inside_the_completion() -> None:
    reply = await ask("Why?", reasoning_effort="low")
    usage, message = reply["usage"], reply["choices"][0]["message"]
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    assert thought == -(-len(message["reasoning_content"].encode()) // 4)
    assert usage["completion_tokens"] == thought + -(-len(message["content"].encode()) // 4)
    assert (
        len((await ask("Why?", reasoning_effort="high"))["choices"][0]["message"]["reasoning_content"])
        > thought
    )
    assert "reasoning_content" not in (await ask("Why?", reasoning_effort="none"))["choices"][0]["message"]


async def test_thoughts_can_use_up_the_whole_limit() -> None:
    reply = await ask("Why?", reasoning_effort="high", max_tokens=5)
    assert said(reply) == ""
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == 5


async def test_log_probabilities_have_openais_shape() -> None:
    reply = await ask("Why?", logprobs=True, top_logprobs=3)
    tokens = reply["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == said(reply)
    for token in tokens:
        assert token["logprob"] <= 0
        assert bytes(token["bytes"]).decode() == token["token"]
        assert len(token["top_logprobs"]) == 3
        assert token["top_logprobs"][0]["token"] == token["token"]
    bare = await ask("Why?", logprobs=True)
    assert {len(token["top_logprobs"]) for token in bare["choices"][0]["logprobs"]["content"]} == {0}
    assert (await ask("Why?"))["choices"][0]["logprobs"] is None


REQUESTS: dict[str, dict[str, Any]] = {
    "words": {"say": "Why?"},
    "spaces": {"say": "  many   words \n\n of\tmany kinds  "},
    "choices": {"say": "Why?", "n": 3},
    "limit": {"say": "Why?", "max_tokens": 7, "n": 2},
    "stop": {"say": "Why?", "stop": "You"},
    "thoughts": {"say": "Why?", "reasoning_effort": "medium"},
    "thoughts cut": {"say": "Why?", "reasoning_effort": "medium", "max_tokens": 3},
    "log probabilities": {"say": "Why?", "logprobs": True, "top_logprobs": 8, "n": 2},
    "schema": {"say": "Why?", "response_format": STRUCTURED},
    "tool": {"say": "Why?", "tools": [WEATHER]},
    "tools": {"say": "Why both?", "tools": [WEATHER, WEATHER], "n": 2, "reasoning_effort": "low"},
    "tool cut": {"say": "Why?", "tools": [WEATHER], "max_tokens": 5},
    "refusal": {"say": "sandbox:refuse", "logprobs": True},
    "nothing": {"say": "sandbox:empty"},
    "long": {"say": "sandbox:long 500"},
    "no usage": {"say": "sandbox:nousage"},
    "false usage": {"say": "sandbox:usage -5"},
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_stream_folds_to_the_plain_reply(name: str) -> None:
    plain = await ask(**REQUESTS[name])
    plain.setdefault("usage", None)
    assert fold(await stream(**REQUESTS[name])) == plain


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_same_request_gives_the_same_bytes(name: str) -> None:
    for streamed in (False, True):
        body = body_of(**REQUESTS[name], stream=streamed)
        first = await (await send(body)).read_whole(LIMIT)
        assert await (await send(body)).read_whole(LIMIT) == first


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@settings(deadline=None)  # The machine may be busy; pytest bounds the whole.
@given(
    say=words,
    limit=st.integers(1, 80),
    choices=st.integers(1, 3),
    effort=st.sampled_from([None, "none", "low", "high"]),
    stop=st.none() | st.text("aeiou ", min_size=1, max_size=3),
    form=st.sampled_from(["text", "schema", "tools"]),
)
def test_no_limit_is_ever_exceeded_and_every_count_adds_up(
    *, say: str, limit: int, choices: int, effort: str | None, stop: str | None, form: str
) -> None:
    members: dict[str, Any] = {"max_tokens": limit, "n": choices, "reasoning_effort": effort, "stop": stop}
    if form == "schema":
        members["response_format"] = STRUCTURED
    if form == "tools":
        members["tools"] = [WEATHER]

    async def both() -> tuple[Any, Any]:
        return await ask(say, **members), fold(await stream(say, **members))

    plain, folded = asyncio.run(both())
    assert folded == plain
    usage = plain["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert (
        usage["completion_tokens_details"]["reasoning_tokens"]
        <= usage["completion_tokens"]
        <= limit * choices
    )
    for choice in plain["choices"]:
        message = choice["message"]
        calls = [call["function"] for call in message.get("tool_calls", [])]
        pieces = [message.get("reasoning_content", ""), message["content"] or ""]
        pieces += [text for call in calls for text in (call["name"], call["arguments"])]
        assert sum(-(-len(piece.encode()) // 4) for piece in pieces) <= limit
        if stop is not None:
            assert stop not in (message["content"] or "")


async def test_a_stream_begins_with_roles_and_ends_with_finish_usage_and_done() -> None:
    chunks = await stream("Why?", n=2)
    assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks[:3]] == [
        "assistant",
        "assistant",
        None,
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-3:-1]] == ["stop", "stop"]
    assert chunks[-1]["choices"] == []
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    interleaved = [chunk["choices"][0]["index"] for chunk in chunks[2:8]]
    assert interleaved == [0, 1, 0, 1, 0, 1]
    assert len(chunks[2]["choices"][0]["delta"]["content"].split()) == 1


async def test_usage_is_streamed_only_where_it_was_asked_for() -> None:
    for options in ({"include_usage": False}, None):
        chunks = await stream("Why?", stream_options=options)
        assert all("usage" not in chunk for chunk in chunks)
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_each_read_of_a_stream_gives_one_event() -> None:
    reply = await send(body_of(stream=True))
    pieces = []
    while piece := await reply.read():
        pieces.append(piece)
    assert len(pieces) > 10
    assert all(piece.startswith(b"data: ") and piece.endswith(b"\n\n") for piece in pieces)
    assert await reply.read() == b""


async def test_a_delay_stands_between_chunks() -> None:
    loop = asyncio.get_running_loop()
    upstream: Upstream = Sandbox(delay_s=0.005)
    start = loop.time()
    outgoing = Outgoing("/chat/completions", body_of("ping", stream=True))
    reply = await upstream.send(Endpoint("sandbox", ""), outgoing)
    pieces = (await reply.read_whole(LIMIT)).count(b"data: ")
    assert loop.time() - start >= pieces * 0.005
    await upstream.close()


async def test_a_cancelled_reply_ends_at_once_even_in_a_pause() -> None:
    reply = await send(body_of("sandbox:stall 100\nWhy?", stream=True))

    async def read_to_the_end() -> int:
        pieces = 0
        while await reply.read():
            pieces += 1
        return pieces

    reading = asyncio.create_task(read_to_the_end())
    await asyncio.sleep(0.02)
    assert not reading.done()
    reply.cancel()
    reply.cancel()
    async with asyncio.timeout(2):
        assert await reading > 1
    assert await reply.read() == b""


async def test_a_reply_larger_than_allowed_is_the_providers_fault() -> None:
    for streamed in (False, True):
        reply = await send(body_of(stream=streamed))
        with pytest.raises(Fault) as caught:
            await reply.read_whole(100)
        assert caught.value.kind is Kind.PROVIDER_ERROR


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/embeddings"), ("GET", "/chat/completions"), ("POST", "")]
)
async def test_other_paths_are_unknown(method: str, path: str) -> None:
    reply = await send(body_of(), path=path, method=method)
    assert reply.status == 404
    assert reply.headers == {"content-type": "application/json"}
    assert json.loads(await reply.read_whole(LIMIT))["error"]["code"] == "unknown_url"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"model": "m", "messages": [{"role":"user","content":"\\ud800"}]}']
)
async def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert "JSON" in (await refusal_of(body))["message"]


ASSISTANT = {
    "role": "assistant",
    "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": "{}"}}],
}
MALFORMED: dict[str, tuple[dict[str, Any], str | None]] = {
    "no model": ({"model": ""}, "model"),
    "no messages": ({"messages": []}, "messages"),
    "messages of another type": ({"messages": "Hello!"}, "messages"),
    "unknown role": ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    "silent user": ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    "unknown part": ({"say": [{"type": "smell"}]}, "messages[0].content[0].type"),
    "result without a call": (
        {"messages": [ASSISTANT, {"role": "tool", "tool_call_id": "call_2", "content": "x"}]},
        "messages[1].tool_call_id",
    ),
    "no tokens at all": ({"max_tokens": 0}, "max_tokens"),
    "no choices": ({"n": 0}, "n"),
    "too many choices": ({"n": 129}, "n"),
    "too many stops": ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    "log probabilities out of nothing": ({"top_logprobs": 2}, "top_logprobs"),
    "format of another kind": ({"response_format": {"type": "xml"}}, "response_format.type"),
    "format without its schema": ({"response_format": {"type": "json_schema"}}, "response_format"),
    "schema without values": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": []}}}},
        "response_format",
    ),
    "tool of another kind": ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
    "tool without a name": ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
    "required without tools": ({"tool_choice": "required"}, "tool_choice"),
    "choice of an unknown tool": (
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "other"}}},
        "tool_choice",
    ),
    "tool without arguments that fit": (
        {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"required": ["a"], "maxProperties": 0}},
                }
            ]
        },
        "tools",
    ),
    "tool whose arguments are no object": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
        "tools",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_request_is_refused_by_the_name_of_its_parameter(name: str) -> None:
    members, param = MALFORMED[name]
    error = await refusal_of(body_of(**members))
    assert error["param"] == param
    assert error["message"].endswith(".")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda deep: (
        st.lists(deep, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "name", "x"]), deep)
    ),
    max_leaves=6,
)
MEMBERS = [
    "messages",
    "model",
    "stream",
    "max_tokens",
    "n",
    "stop",
    "tools",
    "tool_choice",
    "response_format",
    "seed",
]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS), anything, max_size=3) | anything, st.binary(max_size=40))
def test_any_body_is_answered_or_refused(members: Any, raw: bytes) -> None:
    bodies = [raw, json.dumps(members).encode(), body_of(**members) if isinstance(members, dict) else b"[]"]

    async def statuses() -> set[int]:
        return {(await send(body)).status for body in bodies}

    assert asyncio.run(statuses()) <= {200, 400}


async def test_a_conversation_without_a_user_is_answered_too() -> None:
    reply = await ask(messages=[{"role": "system", "content": "sandbox:error 500"}])
    assert "sandbox" in said(reply).casefold()


async def test_stop_of_nothing_stops_nothing() -> None:
    assert said(await ask("ping", stop="")) == "pong"
    assert said(await ask("ping", stop=[])) == "pong"
