"""The naive sides are strict: what is not as the reference has it, or not as the scenario has it, does not pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.grid.cells import CALLERS
from tests.grid.facts import Answered, Heard, RefusedError, Scenario, Seen, Turn, Words
from tests.grid.lines import same
from tests.grid.play import CALLER_MODULES, check_heard
from tests.grid.providers.members import KEY
from tests.grid.scenarios import IMAGE, PARALLEL, SCENARIOS, SCHEMA, TEXT, THINKING, TOOLS
from tests.grid.stage import PROVIDER_MODULES, Stage, check, model_of
from tests.grid.test_voices import Line
from tests.support.answers import EVENT_TYPE
from tests.support.faulty import Recorded

NOTICED = (AssertionError, KeyError, IndexError, ValueError, TypeError)
# Events that nobody misses.
_PADDING = (b": OPENROUTER", b"event: ping", b'"partial_json": ""')


def first_request(name: str, scenario: str, **members: Any) -> Recorded:
    """A scenario's first request as it reaches a provider of the same dialect, members changed or (...) left out."""
    asking = CALLER_MODULES[name].ask(SCENARIOS[scenario], model_of(name), stream=False)
    body = {key: value for key, value in {**asking.body, **members}.items() if value is not ...}
    headers = {key: value.replace("KEY", KEY) for key, value in asking.headers.items()}
    headers["content-type"] = "application/json"
    return Recorded("POST", asking.path, headers, json.dumps(body).encode(), 0, 0.0)


@pytest.mark.parametrize("scenario", [TEXT, PARALLEL, THINKING], ids=lambda one: one.name)
@pytest.mark.parametrize("name", CALLERS)
def test_a_stream_that_lacks_any_one_event_is_not_taken_for_whole(name: str, scenario: Scenario) -> None:
    caller, provider = CALLER_MODULES[name], PROVIDER_MODULES[name]
    asking = caller.ask(scenario, model_of(name), stream=True)
    stage = Stage(provider)
    headers = {key: value.replace("KEY", KEY) for key, value in asking.headers.items()}
    request = Recorded(
        "POST",
        asking.path,
        {**headers, "content-type": "application/json"},
        json.dumps(asking.body).encode(),
        0,
        0.0,
    )
    events = [piece for piece in stage.answer(request).body if isinstance(piece, bytes)]

    def heard_of(kept: list[bytes]) -> Heard:
        heard = caller.hear(Answered(200, dict(EVENT_TYPE), b"".join(kept)), asking)
        check_heard(heard, scenario.replies[0], caller, name)
        return heard

    whole = heard_of(events)
    for at, event in enumerate(events):
        kept = events[:at] + events[at + 1 :]
        if any(mark in event for mark in _PADDING):
            assert heard_of(kept) == whole
        else:
            with pytest.raises(NOTICED):
                # A signature is not for reading: it is missed when it is to go back.
                same("heard", heard_of(kept).native, whole.native)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("openai_chat", b"event: ping\ndata: {}\n\n"),
        ("openai_responses", b"data: [DONE]\n\n"),
        ("anthropic", b": comment\n\n"),
        ("gemini", b": comment\n\n"),
        ("gemini", b"data: [DONE]\n\n"),
        ("gemini", b"event: ping\ndata: {}\n\n"),
    ],
)
async def test_a_line_that_is_none_of_the_dialect_is_noticed(name: str, line: bytes) -> None:
    asking = CALLER_MODULES[name].ask(TEXT, model_of(name), stream=True)
    answer = await Line(name).send(asking)
    CALLER_MODULES[name].hear(answer, asking)
    for body in (line + answer.body, answer.body + line):
        with pytest.raises(NOTICED):
            CALLER_MODULES[name].hear(Answered(200, answer.headers, body), asking)


OTHER: dict[str, Any] = {
    "model": "another",
    "turns": (Turn("user", (Words("[tools] Something else."),)),),
    "system": "",
    "tools": (),
    "choice": "none",
    "schema": {"type": "object", "properties": {}},
    "effort": "low",
    "stop": ("x",),
    "temperature": 0.1,
    "limit": 7,
    "signed": ("another",),
}


@pytest.mark.parametrize("fact", OTHER)
@pytest.mark.parametrize("name", CALLERS)
def test_a_fact_that_arrives_changed_is_noticed(name: str, fact: str) -> None:
    provider = PROVIDER_MODULES[name]
    seen = provider.read(first_request(name, "tools"))
    assert check(seen, TOOLS, provider) == 0
    with pytest.raises(AssertionError, match=r".+: .*, not "):
        check(replace(seen, **{fact: OTHER[fact]}), TOOLS, provider)
    assert set(OTHER) | {"stream"} == set(Seen.__struct_fields__)


def test_schemas_are_compared_by_what_they_mean() -> None:
    provider = PROVIDER_MODULES["gemini"]
    seen = provider.read(first_request("gemini", "schema"))
    assert check(seen, SCHEMA, provider) == 0
    assert seen.schema is not None
    poorer = {**seen.schema, "required": ["city"]}
    with pytest.raises(AssertionError, match="schema"):
        check(replace(seen, schema=poorer), SCHEMA, provider)


_HI = {"role": "user", "content": "[text] Hi"}
_CALLED: dict[str, Any] = {
    "openai_chat": {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    "anthropic": {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}],
    },
    "gemini": {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
}
_USER = {"role": "user", "parts": [{"text": "Hi"}]}
_THINK = {"type": "enabled", "budget_tokens": 2_000}
_OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


def _function(**members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **members}}


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("openai_chat", "text", {"odd": 1}, "odd"),
    ("openai_chat", "text", {"stream_options": {}}, "stream_options"),
    ("openai_chat", "text", {"max_tokens": 5}, "max_tokens"),
    ("openai_chat", "text", {"store": True}, "stored"),
    ("openai_chat", "text", {"tool_choice": "auto"}, "tools"),
    ("openai_chat", "text", {"stop": list("abcde")}, "stop"),
    ("openai_chat", "text", {"reasoning_effort": "huge"}, "reasoning_effort"),
    ("openai_chat", "text", {"tools": [_function(parameters={"type": "OBJECT"})]}, "schema"),
    ("openai_chat", "text", {"tools": [_function(parameters=_OPEN, strict=True)]}, "additionalProperties"),
    ("openai_chat", "text", {"messages": [{"role": "tool", "tool_call_id": "c", "content": ""}]}, "tool"),
    ("openai_chat", "text", {"messages": [_HI, _CALLED["openai_chat"]]}, "without a result"),
    ("openai_chat", "text", {"messages": [_HI, _CALLED["openai_chat"], _HI]}, "without a result"),
    (
        "openai_chat",
        "text",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        "empty",
    ),
    ("openai_chat", "text", {"messages": [{**_HI, "reasoning_details": []}]}, "reasoning_details"),
    ("openai_responses", "text", {"stop": ["e"]}, "stop"),
    ("openai_responses", "text", {"store": ...}, "stored"),
    ("openai_responses", "text", {"max_output_tokens": 5}, "max_output_tokens"),
    ("openai_responses", "text", {"input": [{"type": "item_reference", "id": "msg_1"}]}, "item_reference"),
    ("openai_responses", "text", {"input": [{**_HI, "id": "chatcmpl-1"}]}, "msg_"),
    (
        "openai_responses",
        "text",
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
        "not found",
    ),
    (
        "openai_responses",
        "text",
        {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "another's"}]},
        "verified",
    ),
    (
        "openai_responses",
        "text",
        {"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]},
        "No tool call",
    ),
    (
        "openai_responses",
        "text",
        {"input": [_HI, {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}]},
        "No tool output",
    ),
    (
        "openai_responses",
        "text",
        {"input": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]},
        "output_text",
    ),
    ("anthropic", "text", {"max_tokens": ...}, "max_tokens"),
    ("anthropic", "text", {"seed": 1}, "seed"),
    ("anthropic", "text", {"messages": [{"role": "system", "content": "x"}]}, "system"),
    ("anthropic", "text", {"messages": [_HI, _HI]}, "alternate"),
    ("anthropic", "text", {"messages": [{"role": "assistant", "content": "x"}]}, "alternate"),
    ("anthropic", "text", {"messages": [_HI, _CALLED["anthropic"]]}, "tool_result"),
    ("anthropic", "text", {"messages": [{"role": "user", "content": " "}]}, "whitespace"),
    ("anthropic", "text", {"thinking": _THINK}, "max_tokens"),
    ("anthropic", "thinking", {"temperature": 0.5}, "temperature"),
    ("anthropic", "thinking", {"tool_choice": {"type": "any"}}, "tool_choice"),
    ("anthropic", "thinking", {"messages": [_HI, _CALLED["anthropic"], _HI]}, "tool_result"),
    (
        "anthropic",
        "text",
        {
            "messages": [
                _HI,
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "x", "signature": "another's"}],
                },
            ]
        },
        "signature",
    ),
    (
        "anthropic",
        "schema",
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA.schema}}},
        "minimum",
    ),
    ("gemini", "text", {"odd": 1}, "odd"),
    ("gemini", "text", {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "role"),
    ("gemini", "text", {"contents": [{"role": "user", "parts": []}]}, "part"),
    ("gemini", "text", {"contents": [_USER, _CALLED["gemini"]]}, "thought_signature"),
    (
        "gemini",
        "text",
        {"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
        "function response",
    ),
    (
        "gemini",
        "text",
        {
            "tools": [
                {"functionDeclarations": [{"name": "f", "parameters": {"type": "object", "$schema": "x"}}]}
            ]
        },
        "schema",
    ),
    ("gemini", "text", {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "function_declarations"),
    ("gemini", "schema", {"generationConfig": {"responseJsonSchema": {"type": "object"}}}, "mime type"),
]


@pytest.mark.parametrize(("name", "scenario", "members", "word"), REFUSED)
def test_a_provider_refuses_what_the_real_one_would(
    name: str, scenario: str, members: dict[str, Any], word: str
) -> None:
    PROVIDER_MODULES[name].read(first_request(name, scenario))
    with pytest.raises(RefusedError, match=word):
        PROVIDER_MODULES[name].read(first_request(name, scenario, **members))


def _elsewhere(request: Recorded) -> None:
    request.path = "/v2/elsewhere"


def _without_key(request: Recorded) -> None:
    request.headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}


def _as_text(request: Recorded) -> None:
    request.headers["content-type"] = "text/plain"


@pytest.mark.parametrize("spoil", [_elsewhere, _without_key, _as_text])
@pytest.mark.parametrize("name", CALLERS)
def test_a_provider_wants_its_own_path_key_and_type(name: str, spoil: Callable[[Recorded], None]) -> None:
    request = first_request(name, "image")
    assert check(PROVIDER_MODULES[name].read(request), IMAGE, PROVIDER_MODULES[name]) == 0
    spoil(request)
    with pytest.raises(RefusedError):
        PROVIDER_MODULES[name].read(request)
