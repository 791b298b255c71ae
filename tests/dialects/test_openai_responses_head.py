"""The head of a Responses call: what is refused before any money moves, and what travels to a provider."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.dialects.openai_responses.head import read_head
from farebox.dialects.openai_responses.relayed import write_relayed
from farebox.dialects.openai_responses.rules import REFUSED, RULES, STATE_INSIDE
from farebox.dialects.own import OWN
from farebox.dialects.seal import seal

ENCRYPTED = "reasoning.encrypted_content"
HELLO = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "x"}
THOUGHT = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}


def body(**members: Any) -> bytes:
    return json.dumps({"model": "m", "input": "Hi", **members}).encode()


def items(*listed: Any) -> bytes:
    return body(input=[HELLO, *listed])


def refusal(raw: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        read_head(raw)
    assert caught.value.kind is Kind.BAD_REQUEST
    assert caught.value.message
    return caught.value


def relayed(raw: bytes) -> Any:
    return json.loads(write_relayed(raw, "theirs", read_head(raw)))


# --- Shapes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"), ({"model": ""}, "model"), ({"model": "m" * 257}, "model"),
        ({"input": None}, "input"), ({"input": []}, "input"), ({"input": 7}, "input"),
        ({"input": [{"role": "wizard", "content": "Hi"}]}, "input[0].role"),
        ({"input": [{"type": "message", "content": "Hi"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "output_text"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input[0].summary"),
        ({"max_output_tokens": 0}, "max_output_tokens"), ({"max_output_tokens": "9"}, "max_output_tokens"),
        ({"max_output_tokens": 10**30}, "max_output_tokens"), ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"temperature": 2.1}, "temperature"), ({"top_p": 1.1}, "top_p"), ({"top_logprobs": 21}, "top_logprobs"),
        ({"stream": "yes"}, "stream"), ({"store": "no"}, "store"), ({"truncation": "some"}, "truncation"),
        ({"metadata": {"a": 1}}, "metadata[]"), ({"safety_identifier": "s" * 65}, "safety_identifier"),
        ({"instructions": 7}, "instructions"), ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"), ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"tool_choice": "perhaps"}, "tool_choice"), ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "x"}, "tools": [TOOL]}, "tool_choice"),
        ({"session_id": "s" * 257}, "session_id"), ({"models": ["a", "b", "c", "d"]}, "models"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    fault = refusal(body(**members))
    assert fault.param == param
    assert param in fault.message


@pytest.mark.parametrize(
    ("listed", "param"),
    [
        ([RESULT], "input[1].call_id"),
        ([RESULT, CALL], "input[1].call_id"),
        ([CALL], "input[1].call_id"),
        ([CALL, {**RESULT, "call_id": "other"}], "input[2].call_id"),
        ([CALL, {"type": "custom_tool_call_output", "call_id": "c1", "output": ""}], "input[2].call_id"),
    ],
    ids=["no call", "too early", "no result", "another call's", "another kind's"],
)
def test_calls_and_results_must_match(listed: list[Any], param: str) -> None:
    assert refusal(items(*listed)).param == param


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"null", b"[]", b'"text"', b'{"model":"m"}', b"{}x", b'{"model":"m","input":"Hi",}', b"\xff\xfe{}",
        b'{"model":"m","input":"\xff"}', b'{"model":NaN}', b"[" * 200_000,
        b'{"model":"m","input":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        body(x=json.loads("[" * 101 + "]" * 101)), b'{"model":"m","input":"Hi","temperature":1e400}',
    ],
    ids=lambda raw: raw[:24].decode("latin-1"),
)  # fmt: skip
def test_what_is_no_body_is_refused(raw: bytes) -> None:
    refusal(raw)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_reader(raw: bytes) -> None:
    with suppress(Fault):  # Whatever else it raises is the failure.
        read_head(raw)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "input",
                "tools",
                "tool_choice",
                "text",
                "reasoning",
                "include",
                "store",
                "instructions",
                "stream",
            ]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["type", "role", "content", "id", "name", "format"]), inner, max_size=3
                )
            ),
            max_leaves=8,
        ),
    )
)
def test_no_members_at_all_break_the_reader(members: dict[str, Any]) -> None:
    with suppress(Fault):
        raw = body(**members)
        write_relayed(raw, "m", read_head(raw))


# --- Money and state --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_what_costs_apart_or_is_kept_at_a_provider_is_refused_by_name(name: str) -> None:
    assert refusal(body(**{name: "x_1"})).param == name
    assert refusal(body(**{name: "x_1"}).replace(name[:1].encode(), b"\\u%04x" % ord(name[0]))).param == name
    assert read_head(body(input=f'"{name}"', metadata={name: "x"})).model == "m", "a text may say so"
    assert read_head(body(**{name: None})).model == "m", "a null says nothing"


@pytest.mark.parametrize("name", STATE_INSIDE)
def test_ids_of_what_a_provider_keeps_are_refused_wherever_they_stand(name: str) -> None:
    part = {"type": "input_file", name: "file-1"}
    assert refusal(items({"role": "user", "content": [part]})).param == name
    assert refusal(items(CALL, {**RESULT, "output": [part]})).param == name
    schema = {"type": "object", "properties": {name: {"type": "string"}}}
    assert read_head(body(tools=[{**TOOL, "parameters": schema}])).model == "m", "a schema's names are free"


@pytest.mark.parametrize(
    "kind",
    [
        "web_search", "web_search_preview_2025_03_11", "file_search", "code_interpreter", "image_generation", "mcp",
        "computer_use_preview", "computer", "tool_search", "programmatic_tool_calling", "shell", "tomorrow",
    ],
)  # fmt: skip
def test_a_tool_that_the_caller_does_not_run_is_refused(kind: str) -> None:
    fault = refusal(body(tools=[TOOL, {"type": kind}]))
    assert fault.param == "tools[1].type"
    assert kind in fault.message
    assert refusal(body(tools=[TOOL], tool_choice={"type": kind + "_x"})).param == "tool_choice"


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "custom", "name": "run"},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "namespace", "name": "n", "description": "d", "tools": [TOOL]},
    ],
    ids=lambda tool: tool["type"],
)
def test_a_tool_that_the_caller_runs_passes(tool: Any) -> None:
    assert relayed(body(tools=[tool]))["tools"] == [tool]


def test_a_tool_inside_a_namespace_or_in_a_container_is_looked_at() -> None:
    namespace = {"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}
    assert refusal(body(tools=[namespace])).param == "tools[0].type"
    shell = {"type": "shell", "environment": {"type": "container_auto"}}
    assert refusal(body(tools=[shell])).param == "tools[0].type"


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_1"},
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "file_search_call", "id": "fs_1", "queries": []},
        {"type": "image_generation_call", "id": "ig_1"},
        {"type": "code_interpreter_call", "id": "ci_1"},
        {"type": "mcp_call", "id": "mcp_1"},
        {"type": "mcp_approval_response", "approval_request_id": "x"},
        {"type": "computer_call", "id": "cc_1", "call_id": "c"},
        {"type": "tomorrow"},
    ],
    ids=lambda item: item.get("type", "only an id"),
)
def test_an_item_of_a_provider_is_refused(item: Any) -> None:
    assert refusal(items(item)).param == "input[1].type"


def test_background_tiers_and_hosted_includes_are_refused() -> None:
    assert refusal(body(background=True)).param == "background"
    assert refusal(body(service_tier="priority")).param == "service_tier"
    assert refusal(body(include=["file_search_call.results"])).param == "include"
    assert read_head(body(background=False, service_tier="auto", include=[ENCRYPTED])).model == "m"


def test_every_rule_says_why() -> None:
    assert {rule.verdict for rule in RULES} == {"refused", "stripped"}
    assert all(rule.name and rule.why for rule in RULES)
    assert len({rule.name + rule.verdict for rule in RULES}) == len(RULES)


# --- The head ---------------------------------------------------------------------------------------------------


def test_a_head_says_what_the_gateway_must_know() -> None:
    head = read_head(
        body(
            model="acme/one",
            stream=True,
            max_output_tokens=50,
            prompt_cache_key="k",
            models=["b"],
            cache=True,
        )
    )
    assert (head.model, head.stream, head.output_limit, head.choices) == ("acme/one", True, 50, 1)
    assert (head.session, head.fallback_models, head.cache, head.wants_usage) == ("k", ("b",), True, True)
    assert not head.has_system
    assert not head.sealed
    assert read_head(body(session_id="s", prompt_cache_key="k")).session == "s"


@pytest.mark.parametrize(
    ("members", "has_system"),
    [
        ({"instructions": "Be brief."}, True),
        ({"instructions": ""}, False),
        ({"input": [{"role": "developer", "content": "Be brief."}, HELLO]}, True),
        ({"input": [HELLO, {"type": "message", "role": "system", "content": "Be brief."}]}, True),
        ({"input": [HELLO]}, False),
    ],
)
def test_a_system_message_is_found_wherever_it_stands(members: Any, has_system: bool) -> None:
    assert read_head(body(**members)).has_system is has_system


def test_seals_of_other_providers_are_seen() -> None:
    sealed = {**THOUGHT, "encrypted_content": seal("c2ln", "anthropic")}
    assert read_head(items(sealed)).sealed


@pytest.mark.parametrize(("stop", "kept"), [("END", True), (["END"], True), ([], False), (None, False)])
def test_stop_sequences_are_kept_from_a_provider_of_this_language(stop: Any, *, kept: bool) -> None:
    assert read_head(body(stop=stop)).sealed is kept
    assert refusal(body(stop=[7])).param == "stop[0]"


def test_what_a_reply_repeats_is_kept_as_it_was_written() -> None:
    raw = b'{"model":"m","input":"Hi","temperature":0.30,"tools":[ ],"user":null,"metadata":{"a" : "b"}}'
    assert read_head(raw).echo == b'"metadata":{"a" : "b"},"temperature":0.30,"tools":[ ]'
    assert read_head(body()).echo == b""


def test_thoughts_that_nobody_can_read_are_listed() -> None:
    hollow = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert read_head(items(hollow)).dropped == ("reasoning",)
    assert read_head(items(THOUGHT)).dropped == ()
    assert read_head(body(character_id=7)).dropped == ("character_id",)
    assert refusal(body(input=[hollow])).param == "input"


# --- On the way to a provider -----------------------------------------------------------------------------------


def test_a_body_travels_as_it_was_but_for_the_declared_members() -> None:
    members = {"temperature": 0.30000000000000004, "x_unknown": {"a": [1, {"id": None}]}, "user": "u\u00e9"}
    assert relayed(body(**members)) == {"model": "theirs", "input": "Hi", "store": False, **members}
    assert b"0.30000000000000004" in write_relayed(body(**members), "theirs", read_head(body(**members)))


@pytest.mark.parametrize("name", sorted(OWN - {"models", "session_id", "cache", "no_cache", "character_id"}))
def test_what_is_ours_stays_here(name: str) -> None:
    assert name not in relayed(body(**{name: {"x": 1}}))


def test_nothing_is_kept_at_a_provider() -> None:
    for told in ({}, {"store": True}, {"store": None}, {"store": False}):
        assert relayed(body(**told))["store"] is False
    stripped = relayed(
        body(service_tier="auto", stream_options={"include_obfuscation": False}, background=False)
    )
    assert not {"service_tier", "stream_options", "background"} & set(stripped)


def test_ids_of_items_and_thoughts_without_content_stay_here() -> None:
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": '"id"'}]}
    local = {"type": "local_shell_call", "id": "lsh_1", "call_id": "l", "action": {"type": "exec"}}
    told = relayed(
        items(
            {**THOUGHT, "id": "rs_1"},
            {"type": "reasoning", "id": "rs_2", "summary": []},
            {**message, "id": "msg_1", "status": "completed"},
            {**CALL, "id": "fc_1"},
            {**RESULT, "id": None},
            local,
        )
    )
    assert told["input"] == [HELLO, THOUGHT, {**message, "status": "completed"}, CALL, RESULT, local]


def test_an_id_in_escapes_is_found_as_well() -> None:
    raw = items({**CALL, "id": "fc_1"}, RESULT).replace(b'"id"', b'"\\u0069d"')
    assert relayed(raw)["input"] == [HELLO, CALL, RESULT]


@pytest.mark.parametrize(
    ("members", "include"),
    [
        ({"reasoning": {"effort": "low"}}, [ENCRYPTED]),
        ({"reasoning": {"effort": "low"}, "include": ["message.output_text.logprobs"]},
         ["message.output_text.logprobs", ENCRYPTED]),
        ({"reasoning": {"effort": "low"}, "include": [ENCRYPTED]}, [ENCRYPTED]),
        ({"reasoning": {"effort": "low"}, "store": False}, None),
        ({"include": [ENCRYPTED], "store": False}, [ENCRYPTED]),
        ({}, None),
    ],
    ids=str,
)  # fmt: skip
def test_thoughts_come_back_encrypted_where_we_keep_the_conversation(members: Any, include: Any) -> None:
    assert relayed(body(**members)).get("include") == include
