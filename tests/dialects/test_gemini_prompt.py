"""generateContent requests ↔ prompts: what is understood, and what goes home as it came."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.errors import Fault
from farebox.dialects.conversation import (
    Media,
    Opaque,
    Output,
    Part,
    Prompt,
    Sampling,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    abroad,
)
from farebox.dialects.gemini.fit import fit_prompt
from farebox.dialects.gemini.openapi import json_schema
from farebox.dialects.gemini.prompt import read_prompt, write_prompt
from farebox.dialects.seal import seal, seal_id

CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
HI = Turn("user", (Text("Hi"),))


def read(**members: Any) -> Prompt:
    return read_prompt(json.dumps({"contents": CONTENTS, **members}).encode())


def written(prompt: Prompt) -> Any:
    return json.loads(write_prompt(fit_prompt(prompt), "theirs"))


def part(**members: Any) -> Part:
    return read(contents=[{"parts": [members]}]).turns[0].parts[0]


# --- Reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "found"),
    [
        ({"text": "a"}, Text("a")), ({"text": ""}, Text("")),
        ({"text": "a", "thoughtSignature": "c2ln"}, Text("a", signature="c2ln")),
        ({"text": "a", "thought": True}, Thought("a")), ({"text": "a", "thought": False}, Text("a")),
        ({"text": "a", "thought": True, "thoughtSignature": "c2ln"}, Thought("a", "c2ln", signed_by="gemini")),
        ({"text": "a", "thought": True, "thoughtSignature": seal("s?>~", "anthropic")},
         Thought("a", "s?>~", signed_by="anthropic")),
        ({"thought": True, "thoughtSignature": seal("s", "anthropic")},
         Thought("", "s", redacted=True, signed_by="anthropic")),
        ({"text": "", "thought": True, "thoughtSignature": seal("s", "")}, Thought("", "s", signed_by=None)),
        ({"text": "a", "thoughtSignature": seal("s", "anthropic")}, Text("a")),
        ({"inline_data": {"mime_type": "image/png", "data": "aGk="}},
         Media("image", data="aGk=", media_type="image/png")),
        ({"inlineData": {"mimeType": "application/pdf", "data": "aGk=", "displayName": "x.pdf"}},
         Media("file", data="aGk=", media_type="application/pdf", name="x.pdf")),
        ({"fileData": {"fileUri": "https://a.example/x.mp3", "mimeType": "audio/mp3"}},
         Media("audio", url="https://a.example/x.mp3", media_type="audio/mp3")),
        ({"functionCall": {"name": "f", "id": "c1", "args": {"a": [1]}}}, ToolCall("c1", "f", '{"a":[1]}')),
        ({"functionCall": {"name": "f"}, "thoughtSignature": "c2ln"}, ToolCall("gemini_call_1", "f", "{}", "c2ln")),
        ({"functionCall": {"name": "f", "id": seal_id("c1", "sig")}}, ToolCall("c1", "f", "{}")),
    ],
    ids=str,
)  # fmt: skip
def test_a_part_is_understood(wire: dict[str, Any], found: Part) -> None:
    assert part(**wire) == found


def test_a_seal_that_a_client_decoded_and_encoded_again_is_still_one() -> None:
    sealed = seal("s?>~\xff" * 3, "anthropic").replace("+", "-").replace("/", "_")
    found = part(text="a", thought=True, thoughtSignature=sealed)
    assert found == Thought("a", "s?>~\xff" * 3, signed_by="anthropic")


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ({"executableCode": {"code": "1"}}, "executableCode"), ({"somethingNew": 1}, "thought"),
        ({"fileData": {"fileUri": "gs://a/b"}}, "fileData"), ({"text": "a", "inlineData": {"data": "x"}}, "text"),
        ({"inlineData": {"data": "x", "mimeType": "image/png"}, "thought": True}, "inlineData"),
        ({"functionCall": {"name": "f", "partialArgs": []}}, "functionCall"),
    ],
    ids=str,
)  # fmt: skip
def test_a_part_that_is_not_understood_stays_whole_and_is_refused_by_name_elsewhere(
    wire: Any, name: str
) -> None:
    prompt = read(contents=[{"role": "user", "parts": [wire]}])
    found = prompt.turns[0].parts[0]
    assert isinstance(found, Opaque)
    assert written(prompt)["contents"][0]["parts"] == [wire]
    with pytest.raises(Fault) as caught:
        abroad(prompt, "another")
    assert caught.value.param == f"contents[0].parts[0].{name}"


def test_answers_find_their_calls_by_id_or_by_name_and_order() -> None:
    def called(name: str, **more: Any) -> Any:
        return {"functionCall": {"name": name, "args": {}, **more}}

    def answered(name: str, said: str, **more: Any) -> Any:
        return {"functionResponse": {"name": name, "response": {"result": said}, **more}}

    contents = [
        *CONTENTS,
        {"role": "model", "parts": [called("f"), called("g"), called("f", id="x"), called("f")]},
        {"role": "user",
         "parts": [answered("g", "1"), answered("f", "2"), answered("f", "3", id="x"), answered("f", "4")]},
        {"role": "user", "parts": [answered("h", "5")]},
    ]  # fmt: skip
    prompt = read(contents=contents)
    calls = [part.id for part in prompt.turns[1].parts if isinstance(part, ToolCall)]
    results = [part.call_id for part in prompt.turns[2].parts if isinstance(part, ToolResult)]
    assert results == [calls[1], calls[0], calls[2], calls[3]]
    assert len(set(calls)) == 4
    assert written(prompt)["contents"] == contents, (
        "ids of ours go home as none, and a stranger's name is kept"
    )


def test_a_result_is_the_text_of_its_object_and_says_if_it_failed() -> None:
    shown = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    for response, failed in (({"a": 1}, False), ({"error": "no"}, True), ({"error": 1, "b": 2}, False)):
        wire = {
            "functionResponse": {"name": "f", "response": response, "parts": [shown], "willContinue": False}
        }
        contents = [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}, wire]}]
        prompt = read(contents=contents)
        result = prompt.turns[0].parts[1]
        assert isinstance(result, ToolResult)
        assert result.failed is failed
        text, picture = result.parts
        assert isinstance(text, Text)
        assert json.loads(text.text) == response
        assert isinstance(picture, Media)
        assert written(prompt)["contents"] == contents


def test_a_streamed_answer_that_a_client_kept_chunk_by_chunk_is_one_turn() -> None:
    chunks = [
        {"text": "Let ", "thought": True}, {"text": "me think.", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": seal("sig", "anthropic")},
        {"text": "Hel"}, {"text": "lo."}, {"functionCall": {"name": "f", "id": "c"}}, {"text": ""},
    ]  # fmt: skip
    found = (
        Thought("Let me think.", "sig", signed_by="anthropic"),
        Text("Hello."),
        ToolCall("c", "f", "{}"),
        Text(""),
    )
    apart = read(contents=[*CONTENTS, *({"role": "model", "parts": [chunk]} for chunk in chunks)])
    assert apart.turns == (HI, Turn("assistant", found))
    together = read(contents=[*CONTENTS, {"role": "model", "parts": chunks}])
    assert together.turns[1].parts[0] == found[0], "the signature is for the whole thought"
    assert together.turns[1].parts[1:3] == (Text("Hel"), Text("lo.")), "parts of one content are parts"


def test_users_contents_stay_apart_and_a_signature_closes_a_text() -> None:
    signed = [{"text": "a", "thoughtSignature": "s"}, {"text": "b"}]
    prompt = read(contents=[*CONTENTS, *CONTENTS, *({"role": "model", "parts": [one]} for one in signed)])
    assert prompt.turns == (HI, HI, Turn("assistant", (Text("a", signature="s"), Text("b"))))


def test_settings_are_understood() -> None:
    prompt = read(
        generationConfig={
            "temperature": 1, "topP": 0.5, "topK": 40.0, "seed": 3, "presencePenalty": 1, "frequencyPenalty": -1,
            "stopSequences": ["x"], "maxOutputTokens": 9, "mediaResolution": "LOW",
        },
        toolConfig={"functionCallingConfig": {"mode": "any", "allowedFunctionNames": ["f"]}},
        safetySettings=[{"category": "X"}], store=True, session_id="s", model="models/x", serviceTier="standard",
    )  # fmt: skip
    assert prompt.sampling == Sampling(1, 0.5, 40, -1, 1, 3, ("x",))
    assert prompt.output == Output(9)
    assert prompt.tool_choice == ToolChoice("named", "f")
    assert dict(prompt.extra) == {
        "generationConfig.mediaResolution": b'"LOW"', "safetySettings": b'[{"category": "X"}]', "store": b"false",
    }  # fmt: skip
    assert abroad(prompt, "another").dropped == (
        "safetySettings",
        "store",
        "generationConfig.mediaResolution",
    )


@pytest.mark.parametrize(
    ("config", "reasoning"),
    [
        ({"thinkingBudget": 0}, (False, None, 0, None)), ({"thinkingBudget": -1}, (True, None, None, None)),
        ({"thinkingBudget": 900, "includeThoughts": False}, (True, None, 900, False)),
        ({"thinkingLevel": "HIGH", "includeThoughts": True}, (True, "high", None, True)),
        ({"thinkingLevel": "low"}, (True, "low", None, None)), ({"includeThoughts": True}, (True, None, None, True)),
        ({"includeThoughts": False}, (None, None, None, False)), ({}, (None, None, None, None)),
    ],
    ids=str,
)  # fmt: skip
def test_thinking_is_understood_and_goes_home_as_it_was(config: Any, reasoning: tuple[Any, ...]) -> None:
    prompt = read(generationConfig={"thinkingConfig": config})
    found = prompt.reasoning
    assert (found.enabled, found.effort, found.budget, found.shown) == reasoning
    assert written(prompt)["generationConfig"] == {"thinkingConfig": config}


@pytest.mark.parametrize(
    ("calling", "choice", "verdict"),
    [
        ({"mode": "AUTO"}, ToolChoice("auto"), None), ({"mode": "NONE"}, ToolChoice("none"), None),
        ({"mode": "ANY"}, ToolChoice("required"), None),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}, ToolChoice(), "refused"),
        ({"mode": "AUTO", "allowedFunctionNames": ["f"]}, ToolChoice(), "refused"),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, ToolChoice(), "refused"),
        ({"mode": "VALIDATED"}, ToolChoice(), "dropped"), ({"mode": "MODE_UNSPECIFIED"}, ToolChoice(), "dropped"),
    ],
    ids=str,
)  # fmt: skip
def test_a_choice_of_tools_is_understood_or_bound_or_harmless(
    calling: Any, choice: ToolChoice, verdict: str
) -> None:
    name = "toolConfig.functionCallingConfig"
    prompt = read(toolConfig={"functionCallingConfig": calling})
    assert prompt.tool_choice == choice
    assert (name in dict(prompt.bound), name in dict(prompt.extra)) == (
        verdict == "refused",
        verdict == "dropped",
    )
    assert written(prompt)["toolConfig"] == {"functionCallingConfig": calling}


@pytest.mark.parametrize(
    "settings",
    [
        {"candidateCount": 2}, {"responseLogprobs": True}, {"logprobs": 2}, {"responseModalities": ["IMAGE"]},
        {"responseMimeType": "text/x.enum"}, {"speechConfig": {}}, {"imageConfig": {"a": 1}}, {"responseFormat": []},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_the_answer_is_refused_by_name_elsewhere(settings: Any) -> None:
    prompt = read(generationConfig=settings)
    assert written(prompt)["generationConfig"] == settings
    with pytest.raises(Fault) as caught:
        abroad(prompt, "another")
    assert caught.value.param == f"generationConfig.{next(iter(settings))}"


def test_values_that_change_nothing_are_no_hindrance() -> None:
    settings = {"candidateCount": 1, "responseModalities": ["TEXT"], "responseMimeType": "text/plain"}
    assert abroad(read(generationConfig=settings), "another").turns == (HI,)


def test_settings_cannot_be_smuggled_in_by_their_path() -> None:
    with pytest.raises(Fault) as caught:
        read(**{"x.y": 1})
    assert caught.value.param == "x.y"
    with pytest.raises(Fault):
        read(**{"generationConfig.responseModalities": ["IMAGE"]})


# --- Schemas ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "general"),
    [
        ({"type": "STRING"}, {"type": "string"}), ({"type": "TYPE_UNSPECIFIED"}, {}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}), ({"nullable": False}, {}),
        ({"type": "STRING", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"any_of": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "ARRAY", "items": {"type": "NUMBER"}, "min_items": "1"},
         {"type": "array", "items": {"type": "number"}, "minItems": 1}),
        ({"type": "OBJECT", "properties": {"type": {"type": "OBJECT"}}, "propertyOrdering": ["type"]},
         {"type": "object", "properties": {"type": {"type": "object"}}}),
        ({"type": "string", "format": "date-time", "example": "OBJECT"},
         {"type": "string", "format": "date-time", "example": "OBJECT"}), ([], []), (7, 7),
    ],
    ids=str,
)  # fmt: skip
def test_googles_schema_is_said_in_json_schema(own: Any, general: Any) -> None:
    assert json.loads(json_schema(json.dumps(own).encode())) == general


def test_a_tools_schema_goes_home_as_it_was_and_abroad_as_json_schema() -> None:
    own = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}
    declared: list[Any] = [
        {"name": "f", "parameters": own, "response": {"type": "STRING"}},
        {"name": "g", "parametersJsonSchema": {"type": "object", "additionalProperties": False}}, {"name": "h"},
    ]  # fmt: skip
    prompt = read(
        tools=[
            {"googleSearch": {}, "functionDeclarations": declared[:2]},
            {"functionDeclarations": declared[2]},
        ]
    )
    schemas = [tool.parameters for tool in prompt.tools if isinstance(tool, Tool)]
    assert [json.loads(schema or b"null") for schema in schemas] == [
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}, declared[1]["parametersJsonSchema"],
        None,
    ]  # fmt: skip
    assert written(prompt)["tools"] == [{"functionDeclarations": declared}, {"googleSearch": {}}]
    with pytest.raises(Fault) as caught:
        abroad(prompt, "another")
    assert caught.value.param == "tools[0].googleSearch"


@pytest.mark.parametrize(
    ("settings", "schema"),
    [
        ({"responseMimeType": "application/json"}, None),
        ({"responseMimeType": "application/json", "responseSchema": {"type": "STRING"}}, {"type": "string"}),
        ({"responseMimeType": "application/json", "responseJsonSchema": {"type": "null"}}, {"type": "null"}),
        ({"responseMimeType": "application/json", "_responseJsonSchema": {"const": 1}}, {"const": 1}),
    ],
    ids=str,
)  # fmt: skip
def test_the_form_of_an_answer_goes_home_as_it_was(settings: Any, schema: Any) -> None:
    prompt = read(generationConfig=settings)
    assert prompt.output.schema is not None
    assert json.loads(prompt.output.schema.schema or b"null") == schema
    assert written(prompt)["generationConfig"] == settings


# --- At home ----------------------------------------------------------------------------------------------------


def test_a_foreign_thought_stays_here_and_its_own_goes_back() -> None:
    own = {"text": "mine", "thought": True, "thoughtSignature": "c2lnbmVk"}
    foreign = [
        {"text": "theirs", "thought": True, "thoughtSignature": seal("s", "anthropic")},
        {"thought": True, "thoughtSignature": seal("r", "openai_responses")},
    ]  # fmt: skip
    model = {"role": "model", "parts": [own, *foreign, {"text": "x", "thoughtSignature": "c2ln"}]}
    prompt = fit_prompt(
        read(contents=[*CONTENTS, model, {"role": "model", "parts": [foreign[1]]}, *CONTENTS])
    )
    assert prompt.dropped == ("thoughtSignature",)
    assert fit_prompt(prompt) == prompt
    assert written(prompt)["contents"] == [
        *CONTENTS, {"role": "model", "parts": [own, {"text": "x", "thoughtSignature": "c2ln"}]}, *CONTENTS,
    ]  # fmt: skip


@given(st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["contents", "parts", "text", "role", "tools", "functionDeclarations", "name", "functionCall",
                     "functionResponse", "response", "generationConfig", "toolConfig", "thought", "inlineData",
                     "data"]),
    inner, max_size=4), max_leaves=12))  # fmt: skip
def test_no_prompt_at_all_breaks_the_reader(members: Any) -> None:
    with suppress(Fault):  # Whatever else it raises is the failure.
        read_prompt(json.dumps(members).encode())


@given(st.binary(max_size=60))
def test_no_bytes_at_all_break_the_reader_of_prompts(raw: bytes) -> None:
    with suppress(Fault):
        read_prompt(raw)
