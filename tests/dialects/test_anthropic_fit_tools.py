"""Tools and media from elsewhere on their way to an Anthropic provider."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from farebox.dialects.anthropic.tools import STRICT_MOST
from farebox.dialects.conversation import (
    Media,
    Role,
    Tool,
    ToolChoice,
    ToolResult,
    Turn,
)
from tests.dialects.anthropic_fitting import (
    CALL,
    LOOK,
    PNG,
    RESULT,
    USER,
    assistant,
    fitted,
    refusal,
    user,
    wire,
)

# --- Tools ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        (None, {"type": "object", "properties": {}}), (b'{"properties":{}}', {"type": "object", "properties": {}}),
        (b"{}", {"type": "object"}), (b'{"type":"object","minProperties":1}', {"type": "object", "minProperties": 1}),
        (b"true", {"type": "object"}),
    ],
)  # fmt: skip
def test_parameters_are_an_object(parameters: bytes | None, schema: Any) -> None:
    (tool,) = wire(fitted(tools=(Tool("look", "", parameters),)))["tools"]
    assert tool == {"name": "look", "input_schema": schema}


@pytest.mark.parametrize(
    "tool",
    [
        Tool("a.b"), Tool(""), Tool("x" * 129), Tool("look", parameters=b'{"type":"array"}'),
        Tool("look", parameters=b'{"anyOf":[{"type":"object"}]}'),
        Tool("look", parameters=b'{"type":["object","null"]}'),
    ],
    ids=str,
)  # fmt: skip
def test_a_tool_that_anthropic_does_not_take_is_refused_by_name(tool: Tool) -> None:
    assert refusal(tools=(tool,)).param in (tool.name, "name")


def test_two_tools_of_one_name_are_refused() -> None:
    assert refusal(tools=(LOOK, LOOK)).param == "look"


def test_strict_tools_are_lowered_and_only_so_many_are_strict() -> None:
    schema = b'{"type":"object","properties":{"a":{"type":"string","minLength":3}},"required":["a"]}'
    tools = tuple(Tool(f"look{at}", parameters=schema, strict=True) for at in range(STRICT_MOST + 1))
    found = fitted(tools=tools)
    assert found.dropped == ("strict",)
    strict = wire(found)["tools"]
    assert [tool.get("strict", False) for tool in strict] == [True] * STRICT_MOST + [False]
    assert strict[0]["input_schema"]["additionalProperties"] is False
    assert "minLength" not in strict[0]["input_schema"]["properties"]["a"]
    assert strict[-1]["input_schema"] == msgspec.json.decode(schema)


def test_tools_that_were_called_but_are_not_defined_are_named_and_not_called_again() -> None:
    found = wire(fitted(USER, assistant(CALL), user(RESULT)))
    assert (found["tools"], found["tool_choice"]) == (
        [{"name": "look", "input_schema": {"type": "object"}}],
        {"type": "none"},
    )


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (ToolChoice("required"), {"type": "any"}), (ToolChoice("named", "look"), {"type": "tool", "name": "look"}),
        (ToolChoice("none"), {"type": "none"}), (ToolChoice("auto"), {"type": "auto"}), (ToolChoice(), None),
        (ToolChoice(parallel=False), {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(parallel=True), None),
        (ToolChoice("required", parallel=False), {"type": "any", "disable_parallel_tool_use": True}),
    ],
)  # fmt: skip
def test_a_choice_of_tools_is_said_in_anthropics_words(choice: ToolChoice, written: Any) -> None:
    assert wire(fitted(tools=(LOOK,), tool_choice=choice)).get("tool_choice") == written


def test_a_choice_of_what_is_not_there_is_refused() -> None:
    assert refusal(tool_choice=ToolChoice("required")).param == "tool_choice"
    assert refusal(tools=(LOOK,), tool_choice=ToolChoice("named", "other")).param == "tool_choice"
    assert fitted(tool_choice=ToolChoice("auto", parallel=False)).tool_choice == ToolChoice()


# --- Media ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media", "block"),
    [
        (Media("image", "https://a.example/x.png", detail="auto"),
         {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}}),
        (Media("image", data=PNG, media_type="image/jpg"),
         {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        (Media("image", data="/9j/4AA=", media_type=None),
         {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AA="}}),
        (Media("image", data="AAAA", media_type="image/jpg"),
         {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}}),
        (Media("file", data="JVBERi0x", name="a.pdf"),
         {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"},
          "title": "a.pdf"}),
        (Media("file", "https://a.example/x.pdf"),
         {"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}}),
        (Media("file", data=base64.b64encode("é".encode()).decode(), media_type="text/markdown; charset=utf-8"),
         {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}}),
        (Media("file", data=PNG, media_type="image/png", name="x.png"),
         {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
    ],
    ids=str,
)  # fmt: skip
def test_media_are_said_in_anthropics_words(media: Media, block: Any) -> None:
    assert wire(fitted(user(media)))["messages"][0]["content"] == [block]


@pytest.mark.parametrize(
    ("media", "param"),
    [
        (Media("audio", data="AA", media_type="audio/wav"), "audio"), (Media("video", "https://a.example"), "video"),
        (Media("image", "data:image/png,AA"), "url"), (Media("image"), "url"),
        (Media("file", "gs://bucket/x"), "url"),
        (Media("image", data="AA", media_type="image/bmp"), "image"), (Media("image", data="AA"), "image"),
        (Media("file", data="AA", media_type="application/zip"), "file"), (Media("file", data="AA"), "file"),
        (Media("file", data="!", media_type="text/plain"), "file"),
        (Media("file", data="gIA=", media_type="text/plain"), "file"),
    ],
    ids=str,
)  # fmt: skip
def test_media_that_anthropic_does_not_take_are_refused_by_name(media: Media, param: str) -> None:
    assert refusal(user(media)).param == param
    assert refusal(USER, assistant(CALL), user(ToolResult("call_1", (media,))), tools=(LOOK,)).param == param


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_media_are_the_users_alone(role: Role) -> None:
    assert refusal(USER, Turn(role, (Media("image", data=PNG),)), USER).param in ("system", "image")


def test_how_closely_to_look_is_listed() -> None:
    assert fitted(user(Media("image", data=PNG, detail="high"))).dropped == ("detail",)
