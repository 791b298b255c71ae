"""The head of a Messages call: what is checked before any money moves.

Shapes and ranges are Anthropic's ("Messages", "Create a Message"). Two rules on the conversation are checked as well,
for Anthropic refuses their breach whatever the model: no empty words, and every call of a tool is answered at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.anthropic.rules import (
    BETAS,
    BLOCKS,
    CALLERS_TOOLS,
    EDITS,
    FREE_NAMES,
    ORDINARY,
    REFUSED,
    REFUSED_BETAS,
    STATE_INSIDE,
    refused,
    undated,
)
from farebox.dialects.body import COSTS, Suspects, decode_body, invalid
from farebox.dialects.dialect import ASKED, Asked, Head
from farebox.dialects.effort import BUDGET_MIN
from farebox.dialects.nesting import check_nesting
from farebox.dialects.own import UNSERVED, OwnMembers
from farebox.dialects.seal import holds_seals

_VERSION = re.compile(r"20\d\d-\d\d-\d\d", re.ASCII)
_BETA = re.compile(r"[a-z0-9-]{1,100}")
_ABSENT = msgspec.Raw()
_COUNTED = 1  # The limit of a body that is only to be counted, which says none itself.

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Block(msgspec.Struct):
    type: str
    text: str | None = None
    signature: str | None = None
    id: str | None = None
    tool_use_id: str | None = None
    content: msgspec.Raw = _ABSENT


class _Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Words(msgspec.Struct):
    type: Literal["text"]
    text: Annotated[str, msgspec.Meta(min_length=1)]


class _Tool(msgspec.Struct):
    type: str | None = None
    name: str | None = None
    input_schema: dict[str, msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(msgspec.Struct):
    type: str
    budget_tokens: Annotated[int, msgspec.Meta(ge=BUDGET_MIN, le=2**31)] | None = None
    display: str | None = None


class _Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: dict[str, msgspec.Raw]


class _OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: _Format | None = None


class _Metadata(msgspec.Struct):
    user_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class _Edit(msgspec.Struct):
    type: str


class _ContextManagement(msgspec.Struct):
    edits: list[_Edit] | None = None


class _Body(OwnMembers, kw_only=True):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    system: str | list[_Words] | None = None
    stream: bool | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    stop_sequences: list[Annotated[str, msgspec.Meta(min_length=1)]] | None = None
    thinking: _Thinking | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    metadata: _Metadata | None = None
    context_management: _ContextManagement | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


_suspects = Suspects(REFUSED, STATE_INSIDE, FREE_NAMES, refused)
_body_decoder = msgspec.json.Decoder(_Body)
_inner_decoder = msgspec.json.Decoder(list[_Block])


def read_head(body: bytes, asked: Asked = ASKED) -> Head:
    """Check a body; Fault BAD_REQUEST names the member and what it must be."""
    assert asked.model is None
    wire = decode_body(body, _body_decoder)
    check_nesting(body)
    unsigned = _check_messages(wire.messages)
    _check_thinking(wire, asked)
    _check_tools(wire.tools or (), wire.tool_choice)
    _check_money_and_state(wire, body)
    allowed, dropped = _sort_betas(asked.betas)
    if wire.character_id is not None:
        dropped = (*UNSERVED, *dropped)
    return Head(
        model=wire.model,
        stream=wire.stream is True,
        output_limit=wire.max_tokens,
        has_system=bool(wire.system) or any(message.role == "system" for message in wire.messages),
        session=wire.session_id,
        fallback_models=tuple(wire.models or ()),
        dropped=dropped,
        cache=wire.cache is True,
        # A thought that nobody signed came from elsewhere as well, and Anthropic refuses it.
        sealed=unsigned or holds_seals(body),
        headers=_headers_of(allowed, asked.version),
    )


def _headers_of(betas: Sequence[str], version: str | None) -> tuple[tuple[str, str], ...]:
    """What goes along to a provider of this language; a version that is no date is a stranger's text."""
    lines = [("anthropic-beta", ",".join(betas))] if betas else []
    if version is not None and _VERSION.fullmatch(version):
        lines.append(("anthropic-version", version))
    return tuple(lines)


def _check_messages(messages: Sequence[_Message]) -> bool:
    """Whether a thought among them is not signed; Fault BAD_REQUEST names what Anthropic would refuse."""
    # Calls of the assistant's newest turn that have no result yet, and where they stand.
    pending: dict[str, str] = {}
    unsigned, speaker = False, ""
    for at, message in enumerate(messages):
        if not message.content and not (at == len(messages) - 1 and message.role == "assistant"):
            raise _wrong(f"messages[{at}].content", "it is empty")
        if message.role == "assistant" and speaker == "user":
            _check_answered(pending)
        speaker = speaker if message.role == "system" else message.role
        if isinstance(message.content, str):
            continue
        for inside, block in enumerate(message.content):
            path = f"messages[{at}].content[{inside}]"
            _check_block(block, path)
            if block.type == "tool_use":
                pending[block.id or ""] = path
            elif block.type == "tool_result":
                if pending.pop(block.tool_use_id or "", None) is None:
                    raise _wrong(f"{path}.tool_use_id", "the assistant's turn before it holds no such call")
            elif block.type == "thinking" and not block.signature:
                unsigned = True
    _check_answered(pending)
    return unsigned


def _check_answered(pending: dict[str, str]) -> None:
    for path in pending.values():
        raise _wrong(path, "nothing answers this call: its tool_result belongs into the next user message")


def _check_block(block: _Block, path: str) -> None:
    if block.type not in BLOCKS:
        raise refused(f"{path}.type", f"{block.type!r} belongs to a hosted tool, or nobody knows it")
    if block.type == "text" and not block.text:
        raise _wrong(f"{path}.text", "it is empty")
    if block.type == "tool_result" and bytes(block.content).startswith(b"["):
        try:
            inner = _inner_decoder.decode(block.content)
        except msgspec.ValidationError as error:
            raise invalid(error, f"{path}.content") from error
        for at, one in enumerate(inner):
            if one.type not in BLOCKS:
                raise refused(f"{path}.content[{at}].type", f"nobody knows {one.type!r}")


def _check_thinking(wire: _Body, asked: Asked) -> None:
    thinking = wire.thinking
    if thinking is None or thinking.type != "enabled":
        return
    budget, limit = thinking.budget_tokens, wire.max_tokens
    if budget is None:
        path = "thinking.budget_tokens"
        raise Fault(Kind.BAD_REQUEST, f"{path} is missing.", param=path, code="missing_required_parameter")
    # With interleaved thinking the budget is for all thoughts between calls together, so it may exceed the limit.
    interleaved = any(undated(beta) == "interleaved-thinking" for beta in asked.betas)
    if _COUNTED < limit <= budget and not interleaved:
        raise _wrong("thinking.budget_tokens", f"it must be less than max_tokens, which is {limit}")


def _check_tools(tools: Sequence[_Tool], choice: _Choice | None) -> None:
    for at, tool in enumerate(tools):
        path = f"tools[{at}]"
        if tool.type not in (None, "custom"):
            if not tool.type.startswith(CALLERS_TOOLS):
                raise refused(f"{path}.type", f"{tool.type!r} runs at a provider: {COSTS}")
            continue
        for member in ("name", "input_schema"):
            if getattr(tool, member) in (None, ""):
                raise Fault(
                    Kind.BAD_REQUEST,
                    f"{path}.{member} is missing.",
                    param=f"{path}.{member}",
                    code="missing_required_parameter",
                )
    if choice is None:
        return
    if choice.type in ("any", "tool") and not tools:
        raise _wrong("tool_choice", "there are no tools to choose from")
    if choice.type == "tool" and not any(tool.name == choice.name for tool in tools if tool.name):
        raise _wrong("tool_choice.name", f"tools has none of the name {choice.name!r}")


def _check_money_and_state(wire: _Body, body: bytes) -> None:
    _suspects.check(body)
    for name, ordinary in ORDINARY.items():
        said = getattr(wire, name)
        if said is not None and said not in ordinary:
            raise refused(name, f"{said!r} has no price here")
    management = wire.context_management
    for at, edit in enumerate((management.edits if management else None) or ()):
        if not edit.type.startswith(EDITS):
            path = f"context_management.edits[{at}].type"
            raise refused(path, f"the tokens of {edit.type!r} are counted apart from the answer's")


def _sort_betas(betas: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The features to ask a provider for, and those that nobody knows; Fault BAD_REQUEST names one that is refused."""
    allowed: list[str] = []
    dropped: list[str] = []
    for beta in betas:
        name = undated(beta)
        if name in REFUSED_BETAS:
            raise refused(f"anthropic-beta: {beta}", REFUSED_BETAS[name])
        if name in BETAS:
            allowed.append(beta)
        else:
            # The name is a stranger's, and goes into a header line.
            dropped.append(f"anthropic-beta: {beta}" if _BETA.fullmatch(beta) else "anthropic-beta")
    return allowed, tuple(dropped)


def _wrong(path: str, reason: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{path} is not right: {reason}.", param=path)
