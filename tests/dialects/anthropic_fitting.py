"""Prompts from elsewhere, fitted and written for an Anthropic provider; and what refuses them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from farebox.core.errors import Fault, Kind
from farebox.dialects.anthropic import Anthropic
from farebox.dialects.conversation import (
    Part,
    Prompt,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)

DIALECT = Anthropic()
PNG = "iVBORw0KGgoAAAANSUhEUg=="
USER = Turn("user", (Text("Hi"),))
LOOK = Tool("look", parameters=b'{"type":"object"}')
CALL = ToolCall("call_1", "look", "{}")
RESULT = ToolResult("call_1", (Text("seen"),))
OWN_THOUGHT = Thought("Hm.", "EqYC", signed_by="anthropic")


def fitted(*turns: Turn, **members: Any) -> Prompt:
    found = DIALECT.fit_prompt(Prompt(turns or (USER,), "openai_chat", **members))
    assert DIALECT.fit_prompt(found) == found, "applied twice, it does nothing more"
    return found


def wire(prompt: Prompt) -> Any:
    raw = DIALECT.write_prompt(prompt, "theirs")
    limited = msgspec.json.encode({"max_tokens": 99_999, **msgspec.json.decode(raw)})
    DIALECT.read_head(limited)  # What Anthropic refuses, we refuse as well.
    return msgspec.json.decode(raw)


def refusal(*turns: Turn, **members: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        fitted(*turns, **members)
    fault = caught.value
    assert fault.kind is Kind.BAD_REQUEST
    assert fault.param
    assert fault.param in fault.message
    return fault


def user(*parts: Part) -> Turn:
    return Turn("user", parts)


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", parts)


def system(text: str) -> Turn:
    return Turn("system", (Text(text),), native_role="developer")
