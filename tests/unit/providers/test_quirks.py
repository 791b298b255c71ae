"""Quirks change what their provider wants otherwise, and nothing else; what is lost is named, for strangers alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farebox.dialects import DIALECTS
from farebox.providers.quirks import QUIRKS, QuirkRow, apply_quirks, quirks_for
from farebox.providers.rows import load_providers

ROWS = {row.name: row for row in load_providers()}
TEXT = [{"role": "user", "content": "Hi"}]


def adapted(
    provider: str, model: str, *, abroad: bool = True, **members: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A body as a provider of the release wants it, without the members all bodies have, and what was lost."""
    body = json.dumps({"model": model, "messages": TEXT, **members}).encode()
    result = apply_quirks(body, quirks_for(ROWS[provider].quirks, model), abroad=abroad)
    out = json.loads(result.body)
    assert out.pop("model") == model
    if out["messages"] == TEXT:
        del out["messages"]
    return out, result.dropped


@pytest.mark.parametrize("abroad", [True, False])
@pytest.mark.parametrize(
    ("provider", "model", "given", "wanted"),
    [
        ("openai", "gpt-5-nano", {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("openai", "o3", {"max_tokens": 9, "max_completion_tokens": 8}, {"max_completion_tokens": 8}),
        ("openai", "gpt-4o", {"max_tokens": 9}, {"max_tokens": 9}),
        ("azure", "o4-mini", {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("mistral", "mistral-small-latest", {"seed": 1, "store": False}, {"random_seed": 1}),
        ("mistral", "mistral-small-latest", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("deepseek", "deepseek-chat", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("llama.cpp", "any", {"max_completion_tokens": 9, "seed": 1}, {"max_tokens": 9, "seed": 1}),
        ("groq", "llama-3.3-70b-versatile", {"seed": 1}, {"seed": 1}),
        ("openrouter", "openai/gpt-5", {"max_tokens": 9, "temperature": 0}, {"max_tokens": 9, "temperature": 0}),
    ],
)  # fmt: skip
def test_a_member_by_another_name_reaches_its_provider_whoever_wrote_it(
    provider: str, model: str, given: dict[str, Any], wanted: dict[str, Any], *, abroad: bool
) -> None:
    assert adapted(provider, model, abroad=abroad, **given) == (wanted, ())


SAMPLED = {"temperature": 0.2, "top_p": 0.9, "presence_penalty": 1, "frequency_penalty": 1}


@pytest.mark.parametrize(
    ("provider", "model", "given", "lost"),
    [
        ("openai", "o3", SAMPLED, set(SAMPLED)),
        ("openai", "gpt-5", SAMPLED, set(SAMPLED)),
        ("openai", "gpt-5-mini-2025-08-07", SAMPLED, set(SAMPLED)),
        ("openai", "gpt-5-chat-latest", SAMPLED, set()),
        ("openai", "gpt-4o", SAMPLED, set()),
        ("openai", "gpt-5.4", SAMPLED, set()),
        ("openai", "gpt-5.4", {**SAMPLED, "reasoning_effort": "none"}, set()),
        ("openai", "gpt-5.4", {**SAMPLED, "reasoning_effort": "low"}, set(SAMPLED)),
        ("openai-responses", "gpt-5.2-codex", {"top_p": 1, "reasoning": {"effort": "low"}}, {"top_p"}),
        ("openai-responses", "gpt-5.2-codex", {"top_p": 1, "reasoning": {"summary": "auto"}}, set()),
        ("openai-responses", "o1-pro", {"top_p": 1}, {"top_p"}),
        ("openai", "gpt-4o", {"reasoning_effort": "low"}, {"reasoning_effort"}),
        ("openai", "gpt-5", {"reasoning_effort": "low"}, set()),
        ("groq", "llama-3.3-70b-versatile", {"reasoning_effort": "low"}, {"reasoning_effort"}),
        ("groq", "openai/gpt-oss-120b", {"reasoning_effort": "low"}, set()),
        ("x-ai", "grok-4-0709", {**SAMPLED, "reasoning_effort": "low"},
         {"presence_penalty", "frequency_penalty", "reasoning_effort"}),
        ("x-ai", "grok-4-fast-non-reasoning", SAMPLED, set()),
        ("cerebras", "llama-3.3-70b", SAMPLED, {"presence_penalty", "frequency_penalty"}),
        ("anthropic", "claude-opus-4-7", {"temperature": 1, "top_p": 1, "top_k": 3}, {"temperature", "top_p", "top_k"}),
        ("anthropic", "claude-sonnet-5-5", {"temperature": 1}, {"temperature"}),
        ("anthropic", "claude-sonnet-4-6", {"temperature": 1, "top_k": 3}, set()),
    ],
)  # fmt: skip
def test_what_a_model_refuses_is_left_out_and_named_for_strangers_alone(
    provider: str, model: str, given: dict[str, Any], lost: set[str]
) -> None:
    out, dropped = adapted(provider, model, **given)
    assert (set(dropped), set(given) - set(out)) == (lost, lost)
    assert adapted(provider, model, abroad=False, **given) == (given, ()), (
        "a caller at home is taken at their word"
    )


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(1_024, "low"), (4_096, "low"), (10_000, "medium"), (32_768, "high"), (60_000, "xhigh")],
)
def test_a_budget_becomes_an_effort_where_budgets_are_gone(budget: int, effort: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    out, dropped = adapted("anthropic", "claude-opus-4-8", thinking=thinking)
    assert out == {
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": effort},
    }
    assert dropped == ()
    assert adapted("anthropic", "claude-opus-4-6", thinking=thinking)[0] == {"thinking": thinking}


def test_an_answers_form_and_a_callers_own_effort_stay_where_a_budget_goes() -> None:
    config = {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}}
    thinking = {"type": "enabled", "budget_tokens": 2_000, "display": "omitted"}
    out, _ = adapted("anthropic", "claude-opus-5", thinking=thinking, output_config=config)
    assert out == {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": config}


@pytest.mark.parametrize(
    "thinking", [{"type": "disabled"}, {"type": "adaptive"}, "odd", {"budget_tokens": 1}, None]
)
def test_thinking_without_a_budget_stays_as_it_is(thinking: object) -> None:
    assert adapted("anthropic", "claude-opus-5", thinking=thinking)[0] == {"thinking": thinking}


def test_a_schema_is_said_in_words_where_only_json_mode_is_known() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "description": "A thing."}}
    out, dropped = adapted("deepseek", "deepseek-chat", response_format=form)
    assert out["response_format"] == {"type": "json_object"}
    *rest, said = out["messages"]
    assert rest == TEXT
    assert said["role"] == "system"
    assert "A thing." in said["content"]
    assert json.loads(said["content"].partition("Schema: ")[2]) == schema
    assert dropped == ()


@pytest.mark.parametrize(
    "form", [{"type": "json_object"}, {"type": "text"}, "odd", None, {"type": "json_schema"}]
)
def test_another_form_of_answer_stays_as_it_is(form: object) -> None:
    assert adapted("deepseek", "deepseek-chat", response_format=form)[0] == {"response_format": form}


def test_members_that_no_quirk_touches_stay_as_they_were_written() -> None:
    body = b'{"model":"o3","x":1.50,"y":"\\u00e9","z":{"b":1,"a":[ 2]},"max_tokens":9}'
    changed = apply_quirks(body, quirks_for(ROWS["openai"].quirks, "o3"), abroad=True).body
    for member in (b'"x":1.50', b'"y":"\\u00e9"', b'"z":{"b":1,"a":[ 2]}'):
        assert member in changed


def test_a_body_without_anything_to_change_is_not_even_opened() -> None:
    body = b'{ "model": "gpt-4o" }'
    for provider, model in (("openai", "gpt-4o"), ("groq", "llama3-8b-8192"), ("anthropic", "claude-opus-5")):
        assert apply_quirks(body, quirks_for(ROWS[provider].quirks, model), abroad=False).body == body


def test_a_row_names_its_models_by_patterns_and_all_of_them_without() -> None:
    rows = (QuirkRow("max_tokens"), QuirkRow("random_seed", ("small-*", "tiny")))
    assert [quirk.change.__name__ for quirk in quirks_for(rows, "large")] == ["max_tokens"]
    assert [quirk.change.__name__ for quirk in quirks_for(rows, "small-2")] == ["max_tokens", "random_seed"]
    assert quirks_for(rows, "tiny-2") == quirks_for(rows, "large")


@pytest.mark.parametrize("name", sorted(QUIRKS))
def test_each_quirk_is_named_as_its_function_says_its_source_and_is_some_rows(name: str) -> None:
    change = QUIRKS[name].change
    assert change.__name__ == name
    assert "Source:" in (change.__doc__ or "")
    assert change.__module__.endswith(f".{name}")
    assert any(name == quirk.name for row in ROWS.values() for quirk in row.quirks)


@pytest.mark.parametrize("name", sorted(QUIRKS))
@pytest.mark.parametrize("value", [None, 7, "text", [], {}, [{"type": 1}], {"type": {}}])
def test_a_quirk_leaves_alone_what_it_cannot_make_sense_of(name: str, value: object) -> None:
    members = ["thinking", "output_config", "reasoning", "reasoning_effort", "response_format", "messages"]
    members.append("generationConfig")
    body = json.dumps(dict.fromkeys(members, value)).encode()
    result = apply_quirks(body, [QUIRKS[name]], abroad=True)
    assert set(json.loads(result.body)) | set(result.dropped) == set(members)


@pytest.mark.parametrize(
    ("effort", "word"), [("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "xhigh")]
)
def test_an_effort_in_chat_words_arrives_as_the_same_word_at_a_model_without_budgets(
    effort: str, word: str
) -> None:
    asked = {"model": "m", "messages": TEXT, "reasoning_effort": effort, "max_tokens": 100_000, "top_p": 0.9}
    prompt = DIALECTS["openai_chat"].read_prompt(json.dumps(asked).encode())
    target = DIALECTS["anthropic"]
    body = target.write_prompt(target.fit_prompt(prompt), "claude-opus-4-8")
    result = apply_quirks(body, quirks_for(ROWS["anthropic"].quirks, "claude-opus-4-8"), abroad=True)
    out = json.loads(result.body)
    assert out["thinking"]["type"] == "adaptive"
    assert out["output_config"] == {"effort": word}
    assert "top_p" not in out
