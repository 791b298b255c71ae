"""The head of a message: what is refused before any money moves, and what travels to a provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault, Kind
from farebox.dialects.anthropic import Anthropic
from farebox.dialects.anthropic.count import count_path, read_count, write_count, write_counted
from farebox.dialects.anthropic.rules import BETAS, REFUSED, REFUSED_BETAS, STATE_INSIDE
from farebox.dialects.dialect import Asked
from farebox.dialects.own import OWN
from farebox.dialects.seal import seal

DIALECT = Anthropic()
MESSAGES: list[Any] = [{"role": "user", "content": "Hi"}]
TOOL = {"name": "look", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}


def body(**members: Any) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 9, "messages": MESSAGES, **members}).encode()


def turns(*contents: Any) -> list[Any]:
    """User and assistant by turns."""
    return [
        {"role": ("user", "assistant")[at % 2], "content": content} for at, content in enumerate(contents)
    ]


def refusal(raw: bytes, asked: Asked | None = None) -> Fault:
    with pytest.raises(Fault) as caught:
        DIALECT.read_head(raw, asked or Asked())
    assert caught.value.kind is Kind.BAD_REQUEST
    assert caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"), ({"model": ""}, "model"), ({"model": 7}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"messages": []}, "messages"), ({"messages": None}, "messages"), ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": turns("")}, "messages[0].content"), ({"messages": turns([])}, "messages[0].content"),
        ({"messages": turns([{"type": "text", "text": ""}])}, "messages[0].content[0].text"),
        ({"messages": turns([{"text": "Hi"}])}, "messages[0].content[0].type"),
        ({"messages": turns([{"type": "wizard"}])}, "messages[0].content[0].type"),
        ({"messages": turns([RESULT])}, "messages[0].content[0].tool_use_id"),
        ({"messages": turns("a", [CALL])}, "messages[1].content[0]"),
        ({"messages": turns("a", [CALL], "b")}, "messages[1].content[0]"),
        ({"messages": turns("a", [CALL], "b", "c", [RESULT])}, "messages[1].content[0]"),
        ({"messages": turns("a", [CALL], [RESULT, RESULT])}, "messages[2].content[1].tool_use_id"),
        ({"messages": turns("a", [CALL], [{**RESULT, "content": [{"type": "x"}]}])},
         "messages[2].content[0].content[0].type"),
        ({"max_tokens": None}, "max_tokens"), ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"), ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"system": 7}, "system"), ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"system": [{"type": "text", "text": ""}]}, "system[0].text"),
        ({"temperature": 1.1}, "temperature"), ({"temperature": "hot"}, "temperature"), ({"top_p": -1}, "top_p"),
        ({"top_k": -1}, "top_k"), ({"stop_sequences": "x"}, "stop_sequences"),
        ({"stop_sequences": [""]}, "stop_sequences[]"),
        ({"stream": "yes"}, "stream"), ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1024}, "thinking.budget_tokens"),
        ({"thinking": {}}, "thinking.type"), ({"thinking": "on"}, "thinking"),
        ({"tools": [{}]}, "tools[0].name"), ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "x", "input_schema": []}]}, "tools[0].input_schema"),
        ({"tools": [{"type": "custom", "input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"), ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice.name"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_format": {"type": "json_schema", "schema": "x"}}, "output_format.schema"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"), ({"models": ["a", "b", "c", "d"]}, "models"),
        ({"session_id": "s" * 257}, "session_id"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    fault = refusal(body(**members))
    told = {"stop_sequences[]": "stop_sequences[0]"}
    assert fault.param in (param, told.get(param))
    assert param.split("[", maxsplit=1)[0].split(".", maxsplit=1)[0] in fault.message


@pytest.mark.parametrize(
    "messages",
    [
        turns("a", [CALL], [RESULT]),
        turns("a", [{"type": "text", "text": "Look"}, CALL], [{"type": "text", "text": "b"}, RESULT], "c", "d"),
        [*turns("a", [CALL]), {"role": "user", "content": "wait"}, {"role": "user", "content": [RESULT]}],
        [*turns("a", [CALL]), {"role": "system", "content": "Be calm."}, {"role": "user", "content": [RESULT]}],
        turns("a", ""),
        turns("a", [{"type": "redacted_thinking", "data": "x"},
         {"type": "server_tool_use", "id": "s", "name": "w", "input": {}},
                    {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"type": "e"}}], "b"),
        turns([{"type": "document", "source": {"type": "content", "content": "x"}}]),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_conversation_that_anthropic_takes_passes(messages: list[Any]) -> None:
    assert DIALECT.read_head(body(messages=messages)).model == "m"


def hosted(kind: str) -> bytes:
    return body(tools=[{"type": kind, "name": "x"}])


def beta(name: str) -> tuple[bytes, Asked]:
    return body(), Asked(betas=(f"{name}-2026-01-31",))


# A refused rule → what it refuses, and the name it is refused by.
REFUSALS: dict[str, list[tuple[bytes, Asked, str]]] = {
    **{name: [(body(**{name: {"x": 1}}), Asked(), name)] for name in REFUSED},
    f"{', '.join(STATE_INSIDE)} anywhere inside": [
        *((body(messages=turns([{"type": "image", "source": {"type": "file", name: "x"}}])), Asked(),
         name) for name in STATE_INSIDE),
        (body(messages=turns([{"type": "image",
         "source": {"type": "file", "file_\\u0069d": "x"}}])).replace(b"\\\\u", b"\\u"),
         Asked(), "file_id"),
    ],
    "tools that the caller does not run: web search and fetch, code execution, tool search, MCP …": [
        (hosted(kind), Asked(), "tools[0].type")
        for kind in ("web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset", "bash",
                     "tool_search_tool_bm25_20251119", "advisor_20260301", "computers", "new_20300101")
    ],
    "blocks of uploads, code execution and MCP, and of types nobody knows": [
        (body(messages=turns([{"type": kind}])), Asked(), "messages[0].content[0].type")
        for kind in ("container_upload", "code_execution_tool_result", "mcp_tool_use", "mcp_tool_result",
         "compaction", "new")
    ],
    "`context_management` beyond clearing old tool results and thoughts": [
        (body(context_management={"edits": [{"type": "compact_20260112"}]}), Asked(),
         "context_management.edits[0].type"),
    ],
    "`max_tokens: 0`": [(body(max_tokens=0), Asked(), "max_tokens")],
    "`service_tier` beyond `auto` and `standard_only`": [(body(service_tier="priority"), Asked(), "service_tier")],
    "`speed` beyond `standard`": [(body(speed="fast"), Asked(), "speed")],
    "`inference_geo` beyond `global`": [(body(inference_geo="us"), Asked(), "inference_geo")],
    **{f"`anthropic-beta: {name}-…`": [(*beta(name),
     f"anthropic-beta: {name}-2026-01-31")] for name in REFUSED_BETAS},
}  # fmt: skip


@pytest.mark.parametrize(
    "rule", [rule for rule in DIALECT.rules if rule.verdict == "refused"], ids=lambda rule: rule.name
)
def test_each_refusal_of_the_table_is_one(rule: Any) -> None:
    for raw, asked, name in REFUSALS[rule.name]:
        fault = refusal(raw, asked)
        assert fault.param == name
        assert name in fault.message


@pytest.mark.parametrize("name", ["service_tier", "speed", "inference_geo"])
def test_each_ordinary_tier_of_the_table_is_stripped(name: str) -> None:
    assert any(rule.name == f"`{name}`" and rule.verdict == "stripped" for rule in DIALECT.rules)
    ordinary = {"service_tier": "standard_only", "speed": "standard", "inference_geo": "global"}[name]
    raw = body(**{name: ordinary})
    assert name not in json.loads(DIALECT.write_relayed(raw, "theirs", DIALECT.read_head(raw)))
    assert name not in json.loads(DIALECT.write_prompt(DIALECT.read_prompt(raw), "theirs"))


def test_every_rule_has_its_proof() -> None:
    told = {"`service_tier`", "`speed`", "`inference_geo`", *REFUSALS}
    (others,) = {rule.name for rule in DIALECT.rules} - told
    assert others.startswith("`anthropic-beta` of any other name")
    assert {rule.name for rule in DIALECT.rules} == {*told, others}


def test_features_that_change_nothing_but_tokens_go_to_the_provider_and_unknown_ones_are_listed() -> None:
    known = [f"{name}-2025-05-14" for name in sorted(BETAS)]
    head = DIALECT.read_head(
        body(), Asked(betas=(*known, "future-2030-01-01", "claude-code-20250219", "a\tb"))
    )
    assert head.headers == (("anthropic-beta", ",".join([*known, "claude-code-20250219"])),)
    assert head.dropped == ("anthropic-beta: future-2030-01-01", "anthropic-beta")
    assert DIALECT.read_head(body()).headers == ()


@pytest.mark.parametrize("name", [*REFUSED, *STATE_INSIDE])
def test_a_text_may_say_any_word(name: str) -> None:
    quoted = turns([{"type": "text", "text": f'"{name}"'}], [{**CALL, "input": {name: "x"}}], [RESULT])
    tool = {"name": "look", "input_schema": {"type": "object", "properties": {name: {"type": "string"}}}}
    assert DIALECT.read_head(body(messages=quoted, tools=[tool], metadata={"user_id": name})).model == "m"
    assert DIALECT.read_head(body(**{name: None})).model == "m"


def test_thinking_between_calls_may_exceed_the_limit_and_a_count_has_none() -> None:
    thinking = {"type": "enabled", "budget_tokens": 4096}
    interleaved = Asked(betas=("interleaved-thinking-2025-05-14",))
    assert DIALECT.read_head(body(thinking=thinking, max_tokens=2048), interleaved).model == "m"
    assert DIALECT.read_head(body(thinking=thinking, max_tokens=1)).model == "m"
    assert DIALECT.read_head(body(thinking={"type": "adaptive"})).model == "m"


@pytest.mark.parametrize(
    "kind",
    [
        "bash_20250124",
        "text_editor_20250728",
        "computer_20251124",
        "memory_20250818",
        "computer_toolset_20260801",
    ],
)
def test_tools_that_the_caller_runs_itself_pass(kind: str) -> None:
    assert DIALECT.read_head(hosted(kind)).model == "m"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"null", b"[]", b'"text"', b'{"model":"m"}', b"{}x", b"\xff\xfe{}", b'{"model":NaN}',
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"\xff"}]}',
        b"[" * 200_000, b'{"model":"m","max_tokens":1,"messages":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        body(metadata={"x": json.loads("[" * 101 + "]" * 101)}), body(container=1).replace(b"1}", b"1e400}"),
    ],
    ids=lambda raw: raw[:24].decode("latin-1"),
)  # fmt: skip
def test_what_is_no_body_is_refused(raw: bytes) -> None:
    refusal(raw)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_reader(raw: bytes) -> None:
    with suppress(Fault):  # Whatever else it raises is the failure.
        DIALECT.read_head(raw)


WORDS = st.sampled_from(
    ["type", "text", "tool_use", "tool_result", "id", "tool_use_id", "content", "thinking", "user"]
)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "stop_sequences",
     "context_management", "metadata", "max_tokens", "model"]
)  # fmt: skip


@given(st.dictionaries(NAMES, JSONS))
def test_no_members_at_all_break_either_reader(members: dict[str, Any]) -> None:
    readers: list[Callable[[bytes], object]] = [DIALECT.read_head, DIALECT.read_prompt]
    for read in readers:
        with suppress(Fault):
            read(body(**members))


def test_a_head_says_what_the_gateway_must_know() -> None:
    head = DIALECT.read_head(
        body(
            model="acme/one",
            stream=True,
            max_tokens=5,
            session_id="s",
            models=["b", "c"],
            cache=True,
            character_id=1,
        )
    )
    assert (head.model, head.stream, head.wants_usage, head.output_limit, head.choices) == (
        "acme/one",
        True,
        True,
        5,
        1,
    )
    assert (head.session, head.fallback_models, head.cache) == ("s", ("b", "c"), True)
    assert head.dropped == ("character_id",)
    assert (head.has_system, head.sealed) == (False, False)


def test_a_system_message_may_stand_at_the_top_or_among_the_others() -> None:
    assert DIALECT.read_head(body(system="Be brief.")).has_system
    assert DIALECT.read_head(body(system=[{"type": "text", "text": "Be brief."}])).has_system
    assert DIALECT.read_head(body(messages=[*MESSAGES, {"role": "system", "content": "Now."}])).has_system


@pytest.mark.parametrize("signature", ["", None, seal("theirs", "gemini")])
def test_a_body_with_thoughts_that_anthropic_did_not_sign_may_not_go_as_it_is(signature: str | None) -> None:
    thought = {
        "type": "thinking",
        "thinking": "Hm.",
        **({} if signature is None else {"signature": signature}),
    }
    assert DIALECT.read_head(body(messages=turns("a", [thought, {"type": "text", "text": "b"}], "c"))).sealed
    assert not DIALECT.read_head(body(messages=turns("a", [{**thought, "signature": "EqYC"}], "c"))).sealed


def test_a_body_travels_as_it_was_but_for_the_declared_members() -> None:
    members = {
        "temperature": 0.30000000000000004,
        "x_unknown": {"a": [1, {"id": None}]},
        "metadata": {"user_id": "é"},
    }
    raw = body(**members, **dict.fromkeys(OWN))
    told = DIALECT.write_relayed(raw, "theirs", DIALECT.read_head(raw))
    assert json.loads(told) == {"model": "theirs", "max_tokens": 9, "messages": MESSAGES, **members}
    assert b"0.30000000000000004" in told


# --- Counting ---------------------------------------------------------------------------------------------------


def test_a_count_asks_for_what_is_counted_and_nothing_else() -> None:
    asked = body(
        system="Be brief.",
        tools=[TOOL],
        thinking={"type": "adaptive"},
        stream=True,
        temperature=1,
        cache=True,
    )
    assert json.loads(write_count(asked, "theirs")) == {
        "model": "theirs", "messages": MESSAGES, "system": "Be brief.", "tools": [TOOL],
        "thinking": {"type": "adaptive"},
    }  # fmt: skip
    assert count_path("any") == "/v1/messages/count_tokens"


def test_a_count_of_a_prompt_with_seals_goes_without_what_was_sealed() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": seal("theirs", "gemini")}
    asked = body(messages=turns("a", [thought, {"type": "text", "text": "b"}], "c"))
    assert json.loads(write_count(asked, "m"))["messages"] == turns("a", [{"type": "text", "text": "b"}], "c")


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        (b'{"input_tokens":588}', 588),
        (b'{"input_tokens":-1}', None),
        (b"{}", None),
        (b"x", None),
        (b'{"input_tokens":"5"}', None),
    ],
)
def test_a_count_is_read_where_there_is_one(told: bytes, tokens: int | None) -> None:
    assert read_count(told) == tokens
    assert read_count(write_counted(7)) == 7
