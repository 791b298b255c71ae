"""What a Responses request means, and what this language makes of another's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import (
    CacheMark,
    Media,
    Opaque,
    Output,
    Part,
    Prompt,
    Reasoning,
    Sampling,
    Schema,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    abroad,
)
from farebox.dialects.openai_responses.fit import fit_prompt
from farebox.dialects.openai_responses.prompt import read_prompt, write_prompt
from farebox.dialects.seal import seal, seal_id

ENCRYPTED = "reasoning.encrypted_content"
HELLO = {"role": "user", "content": "Hello"}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "x"}
ASKED = Turn("user", (Text("Hi"),))
CALLED = Turn("assistant", (ToolCall("c1", "look", "{}"),))


def read(*items: Any, **members: Any) -> Prompt:
    return read_prompt(msgspec.json.encode({"model": "m", "input": items or [HELLO], **members}))


def written(prompt: Prompt) -> Any:
    return msgspec.json.decode(write_prompt(prompt, "m"))


def foreign(*turns: Turn, **members: Any) -> Prompt:
    return Prompt(turns or (ASKED,), "elsewhere", **members)


def fitted(*turns: Turn, **members: Any) -> Any:
    prompt = fit_prompt(foreign(*turns, **members))
    assert fit_prompt(prompt) == prompt, "applied twice, it does nothing more"
    return written(prompt)


def dropped(*turns: Turn, **members: Any) -> tuple[str, ...]:
    return fit_prompt(foreign(*turns, **members)).dropped


def refusal(*turns: Turn, **members: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        fit_prompt(foreign(*turns, **members))
    assert caught.value.kind is Kind.BAD_REQUEST
    return caught.value


# --- Reading ----------------------------------------------------------------------------------------------------


def test_a_text_is_what_the_user_says_and_instructions_stand_before_it() -> None:
    prompt = read_prompt(b'{"model":"m","input":"Hi","instructions":"Be brief."}')
    assert prompt.turns == (Turn("system", (Text("Be brief."),), native_role="instructions"), ASKED)
    assert written(prompt)["instructions"] == "Be brief."


def test_what_the_model_said_at_a_stretch_is_one_turn() -> None:
    prompt = read(
        HELLO,
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm"}],
            "encrypted_content": "e",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": "Let me see.",
            "status": "completed",
        },
        CALL,
        {**CALL, "call_id": "c2"},
        RESULT,
        {**RESULT, "call_id": "c2"},
        {"role": "developer", "content": [{"type": "input_text", "text": "Go on."}]},
    )
    thought = Thought("Hm", "e", signed_by="openai_responses")
    calls = (ToolCall("c1", "look", "{}"), ToolCall("c2", "look", "{}"))
    results = (ToolResult("c1", (Text("x"),)), ToolResult("c2", (Text("x"),)))
    assert prompt.turns == (
        Turn("user", (Text("Hello"),)),
        Turn("assistant", (thought, Text("Let me see."), *calls)),
        Turn("user", results),
        Turn("system", (Text("Go on."),), native_role="developer", listed=True),
    )


def test_messages_that_touch_are_turns_of_their_own() -> None:
    one, two = {"role": "assistant", "content": "One."}, {"role": "assistant", "content": "Two."}
    assert [len(turn.parts) for turn in read(HELLO, one, two, CALL, RESULT).turns] == [1, 1, 2, 1]
    assert [len(turn.parts) for turn in read(HELLO, one, CALL, two, RESULT).turns] == [1, 3, 1]


@pytest.mark.parametrize(
    ("wire", "part"),
    [
        ({"type": "input_text", "text": "x"}, Text("x")),
        (
            {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
            Text("x", mark=CacheMark(None, (("prompt_cache_breakpoint", b'{"mode":"explicit"}'),))),
        ),
        (
            {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"},
            Media("image", "https://a.example/b.png", detail="low"),
        ),
        (
            {"type": "input_image", "image_url": "data:image/png;base64,QUJD"},
            Media("image", data="QUJD", media_type="image/png"),
        ),
        (
            {"type": "input_file", "file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"},
            Media("file", data="QUJD", media_type="application/pdf", name="a.pdf"),
        ),
        (
            {"type": "input_file", "file_url": "https://a.example/b.pdf"},
            Media("file", "https://a.example/b.pdf"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
            Media("audio", data="QUJD", media_type="audio/mpeg"),
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_a_part_has_one_meaning_for_all_dialects(wire: Any, part: Part) -> None:
    prompt = read({"role": "user", "content": [wire]})
    assert prompt.turns[0].parts == (part,)
    assert written(prompt)["input"][0]["content"] == [wire]


@pytest.mark.parametrize(
    "wire",
    [
        {"type": "hologram"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "filename": "a.pdf"},
        {"type": "input_file", "file_data": "QUJD", "file_url": "https://a.example/b.pdf"},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mpeg"}},
        {"type": "output_text", "text": "x"},
    ],
    ids=str,
)
def test_a_part_that_is_not_understood_in_whole_goes_home_and_nowhere_else(wire: Any) -> None:
    prompt = read({"role": "user", "content": [wire]})
    assert written(prompt)["input"][0]["content"] == [wire]
    with pytest.raises(Fault, match=r"^input\[0\]\.content\[0\]\.type"):
        abroad(prompt, "elsewhere")


def test_an_item_that_only_this_language_has_goes_home_and_nowhere_else() -> None:
    call = {"type": "custom_tool_call", "call_id": "k", "name": "run", "input": "ls"}
    output = {"type": "custom_tool_call_output", "call_id": "k", "output": "a"}
    prompt = read(HELLO, {**call, "id": "ctc_1"}, output)
    assert [turn.role for turn in prompt.turns] == ["user", "assistant", "user"]
    assert written(prompt)["input"][1:] == [call, output]
    with pytest.raises(Fault, match=r"^input\[1\]\.type"):
        abroad(prompt, "elsewhere")


def test_a_thought_goes_home_only_with_what_its_provider_encrypted() -> None:
    items = [
        {"type": "reasoning", "summary": [], "encrypted_content": "e1"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "lost"}]},
        {
            "type": "reasoning",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "raw"}],
            "encrypted_content": "e2",
        },
    ]
    prompt = read(HELLO, *items)
    assert prompt.turns[1].parts == (
        Thought("", "e1", redacted=True, signed_by="openai_responses"),
        Thought("lost"),
        Thought("raw", "e2", signed_by="openai_responses", member="content"),
    )
    assert written(prompt)["input"][1:] == [items[0], items[2]]


def test_seals_come_off_and_what_another_signed_stays_here() -> None:
    prompt = read(
        HELLO,
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}],
         "encrypted_content": seal("c2ln", "anthropic")},
        {**CALL, "call_id": seal_id("c1", "sig")},
        {**RESULT, "call_id": seal_id("c1", "sig")},
    )  # fmt: skip
    assert prompt.turns[1].parts == (
        Thought("Hm", "c2ln", signed_by="anthropic"),
        ToolCall("c1", "look", "{}", "sig"),
    )
    home = fit_prompt(prompt)
    assert home.dropped == ("reasoning",)
    assert home.turns[1:] == (CALLED, Turn("user", (ToolResult("c1", (Text("x"),)),)))
    assert fit_prompt(home) == home
    assert written(home)["input"][1:] == [CALL, RESULT]


@pytest.mark.parametrize(
    ("members", "reasoning"),
    [
        ({"reasoning": {"effort": "low"}, "store": False}, (None, "low", None)),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, (None, "low", True)),
        ({"reasoning": {"generate_summary": "concise"}}, (None, None, True)),
        ({}, (None, None, None)),
    ],
    ids=str,
)
def test_reasoning_is_read_and_goes_home_as_it_was(members: Any, reasoning: Any) -> None:
    prompt = read(**members)
    assert (prompt.reasoning.enabled, prompt.reasoning.effort, prompt.reasoning.shown) == reasoning
    assert written(prompt).get("reasoning") == members.get("reasoning")


def test_the_answers_form_and_the_choice_of_tools_are_read() -> None:
    form = {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}
    tool = {
        "type": "function",
        "name": "look",
        "description": "d",
        "parameters": {},
        "strict": False,
        "defer_loading": True,
    }
    prompt = read(
        text={"format": form, "verbosity": "low"}, tools=[tool], parallel_tool_calls=False, max_output_tokens=20,
        tool_choice={"type": "function", "name": "look"}, stop="END", top_k=3,
    )  # fmt: skip
    assert prompt.output == Output(20, schema=Schema("a", b'{"type":"object"}', strict=True))
    assert prompt.tools == (Tool("look", "d", b"{}", False, extra=(("defer_loading", b"true"),)),)
    assert prompt.tool_choice == ToolChoice("named", "look", parallel=False)
    assert prompt.sampling == Sampling(top_k=3, stop=("END",))
    assert abroad(prompt, "elsewhere").dropped == ("text.verbosity", "defer_loading")
    assert written(prompt)["text"] == {"format": form, "verbosity": "low"}


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice"),
        ({"include": ["message.output_text.logprobs"]}, "message.output_text.logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"text": {"format": {"type": "tomorrow"}}}, "text.format"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
    ],
    ids=str,
)
def test_what_changes_the_answer_is_refused_abroad_by_name(members: Any, name: str) -> None:
    prompt = read(**members)
    assert members.items() <= written(prompt).items()
    with pytest.raises(Fault) as caught:
        abroad(prompt, "elsewhere")
    assert caught.value.param == name


def test_what_changes_nothing_goes_abroad() -> None:
    prompt = read(
        text={"format": {"type": "text"}}, top_logprobs=0, background=False, store=True, include=[ENCRYPTED]
    )
    assert set(abroad(prompt, "elsewhere").dropped) == {"text.format", "top_logprobs"}


# --- From elsewhere ---------------------------------------------------------------------------------------------


def test_a_conversation_from_elsewhere_is_said_in_items() -> None:
    image = Media("image", data="QUJD", media_type="image/png")
    told = fitted(
        Turn("system", (Text("Be brief."),), native_role="developer"),
        ASKED,
        Turn(
            "assistant",
            (Thought("Hm", "s", signed_by="gemini"), Text("See."), ToolCall("c1", "look", '{"a":', "sig")),
        ),
        Turn("user", (Text("So?"), ToolResult("c1", (Text("x"), image), failed=True))),
        Turn("system", (Text("Now."),)),
    )
    shown = {"type": "input_image", "image_url": "data:image/png;base64,QUJD"}
    assert told["input"] == [
        {"type": "message", "role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": "Hi"},
        {"type": "message", "role": "assistant", "content": "See."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a":'},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "x"}, shown],
        },
        {"type": "message", "role": "user", "content": "So?"},
        {"type": "message", "role": "system", "content": "Now."},
    ]
    assert told["store"] is False


def test_what_has_no_word_here_is_listed() -> None:
    marked = Text("Hi", mark=CacheMark())
    sampling = Sampling(0.5, 0.9, 3, 0.1, 0.2, 7)
    assert set(dropped(Turn("user", (marked,), name="Ann"), sampling=sampling)) == {
        "cache_control", "name", "top_k", "frequency_penalty", "presence_penalty", "seed",
    }  # fmt: skip
    told = fitted(sampling=sampling)
    assert (told["temperature"], told["top_p"]) == (0.5, 0.9)
    assert not {"top_k", "seed", "frequency_penalty", "presence_penalty"} & set(told)
    failed = Turn("user", (ToolResult("c1", (), failed=True),))
    assert dropped(ASKED, CALLED, failed) == ("is_error",)
    assert dropped(ASKED, Turn("assistant", (Thought("Hm"), Text("x")))) == ("thinking",)


def test_a_thought_that_such_a_provider_encrypted_comes_back_to_it_from_any_language() -> None:
    thought = Thought("Hm", "gAAA", signed_by="openai_responses", member="reasoning_details")
    foreign_thought = Thought("Hm", "c2ln", signed_by="anthropic")
    said = Turn("assistant", (thought, foreign_thought, Text("x")))
    _, reasoning, message = fitted(ASKED, said)["input"]
    assert reasoning == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm"}],
        "encrypted_content": "gAAA",
    }
    assert message["role"] == "assistant"
    assert dropped(ASKED, Turn("assistant", (thought, Text("x")))) == ()
    assert dropped(ASKED, said) == ("thinking",)


def test_stop_sequences_sound_and_film_are_refused_by_name() -> None:
    assert refusal(sampling=Sampling(stop=("END",))).param == "stop"
    with pytest.raises(Fault) as caught:
        fit_prompt(Prompt((ASKED,), "openai_responses", sampling=Sampling(stop=("END",))))
    assert caught.value.param == "stop", "at home as well: OpenAI has no such member"
    assert refusal(Turn("user", (Media("audio", data="QUJD"),))).param == "audio"
    assert refusal(Turn("user", (Media("video", "https://a.example/b.mp4"),))).param == "video"


def test_a_conversation_that_openai_refuses_is_refused_here() -> None:
    result = Turn("user", (ToolResult("c1", (Text("x"),)),))
    assert "c1" in refusal(ASKED, result).message
    assert "c1" in refusal(ASKED, CALLED).message
    assert "c1" in refusal(ASKED, result, CALLED).message
    assert "empty" in refusal(Turn("user", (Text(""),))).message
    assert refusal(tools=(Tool("a b"),)).param == "a b"


def test_a_limit_is_at_least_what_openai_takes() -> None:
    assert fitted(output=Output(5, "max_tokens"))["max_output_tokens"] == 16
    assert fitted(output=Output(500))["max_output_tokens"] == 500


def test_an_id_that_is_too_long_becomes_its_hash_on_both_sides() -> None:
    long = "toolu_" + "x" * 80
    told = fitted(
        ASKED, Turn("assistant", (ToolCall(long, "f", ""),)), Turn("user", (ToolResult(long, ()),))
    )["input"]
    assert told[1]["call_id"] == told[2]["call_id"]
    assert len(told[1]["call_id"]) <= 64
    assert (told[1]["arguments"], told[2]["output"]) == ("{}", "")


def test_tools_say_their_parameters_and_are_strict_only_when_asked() -> None:
    told = fitted(
        tools=(Tool("a"), Tool("b", "d", b'{"x":1}', True)),
        tool_choice=ToolChoice("named", "b", parallel=False),
    )
    assert told["tools"] == [
        {
            "type": "function",
            "name": "a",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {"type": "function", "name": "b", "description": "d", "parameters": {"x": 1}, "strict": True},
    ]
    assert (told["tool_choice"], told["parallel_tool_calls"]) == ({"type": "function", "name": "b"}, False)
    assert "tool_choice" not in fitted(tool_choice=ToolChoice("none"))


@pytest.mark.parametrize(
    ("reasoning", "told"),
    [
        (Reasoning(effort="high"), {"effort": "high", "summary": "auto"}),
        (Reasoning(budget=2_000, shown=False), {"effort": "low"}),
        (Reasoning(enabled=True), {"summary": "auto"}),
        (Reasoning(effort="none"), {"effort": "none"}),
        (Reasoning(effort="a lot", enabled=True), {"summary": "auto"}),
        (Reasoning(enabled=False, budget=5_000), None),
        (Reasoning(budget=0), None),
        (Reasoning(), None),
    ],
    ids=str,
)
def test_thinking_is_asked_for_in_words(reasoning: Reasoning, told: Any) -> None:
    wire = fitted(reasoning=reasoning)
    assert wire.get("reasoning") == told
    assert wire.get("include") == (None if told is None else [ENCRYPTED])
    silent = reasoning.enabled is False or reasoning.budget == 0 or reasoning.effort == "a lot"
    assert dropped(reasoning=reasoning) == (("reasoning",) if silent else ())


def test_json_is_asked_for_in_words_where_nobody_said_it() -> None:
    told = fitted(output=Output(schema=Schema()))
    assert told["text"] == {"format": {"type": "json_object"}}
    assert told["input"][0] == {
        "type": "message",
        "role": "system",
        "content": "Answer with one JSON object.",
    }
    said = fitted(Turn("user", (Text("As json."),)), output=Output(schema=Schema()))
    assert len(said["input"]) == 1


def test_a_schema_has_a_name_that_openai_takes() -> None:
    schema = Schema(None, b"{}", strict=True, description="d")
    form = {"type": "json_schema", "name": "answer", "schema": {}, "strict": True, "description": "d"}
    assert fitted(output=Output(schema=schema))["text"] == {"format": form}
    assert fitted(output=Output(schema=replace(schema, name="a b")))["text"] == {"format": form}


def test_documents_get_a_name_and_images_a_type() -> None:
    parts = (Media("file", data="QUJD", media_type="text/plain"), Media("image", data="QUJD", detail="odd"))
    assert fitted(Turn("user", parts))["input"][0]["content"] == [
        {"type": "input_file", "file_data": "data:text/plain;base64,QUJD", "filename": "document.txt"},
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD"},
    ]


def test_what_the_model_refused_stays_a_refusal() -> None:
    turn = Turn("assistant", (Text("a", refusal=True), Text("b")))
    content = [{"type": "refusal", "refusal": "a"}, {"type": "output_text", "text": "b"}]
    assert fitted(ASKED, turn, ASKED)["input"][1]["content"] == content


def test_an_opaque_part_of_another_language_is_refused() -> None:
    opaque = Opaque("elsewhere", "hologram", "content", b"{}")
    assert refusal(Turn("user", (opaque,))).param == "hologram"
