"""A conversation from elsewhere, as Responses can say it.

System turns stay where they are, as `developer` or `system` messages. What has no word here is listed in `dropped`;
stop sequences, sound and film change the answer, so they are refused by name. These rules repair the rest:

* a limit below 16 tokens is raised to 16, for OpenAI refuses less;
* a thought's signature is worthless to another provider: thoughts are left out, but for those that such a provider
  encrypted itself and a caller of another language brought back;
* thinking that is turned off is left out as well, for models that do not reason refuse every word about it;
* thinking that is asked for comes with a summary, unless the caller said it will not look, and encrypted;
* empty texts and turns are left out; an id of more than 64 letters becomes its hash;
* JSON without a schema needs the word in the prompt: where nobody says it, a message does;
* a document needs a name, an image a media type: they get the plainest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import (
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
from farebox.dialects.effort import NONE, effort_of
from farebox.dialects.openai_responses.content import NAME

LIMIT_MIN: Final = 16  # OpenAI OpenAPI, CreateResponse.max_output_tokens.
_ID_MAX = 64  # OpenAI OpenAPI, FunctionCallOutputItemParam.call_id.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")  # OpenAI OpenAPI, FunctionToolParam.name.
_SCHEMA_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_NO_PARAMETERS = b'{"type":"object","properties":{}}'
_SAY_JSON = Turn("system", (Text("Answer with one JSON object."),))
_DETAILS = frozenset({"low", "high", "auto", "original"})
_UNSAID = ("top_k", "frequency_penalty", "presence_penalty", "seed")
_NO_STOP = "stop sequences have no word in its language"
_SUFFIXES = {"application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md", "text/html": "html"}


def fit_prompt(prompt: Prompt) -> Prompt:
    """The prompt as Responses can say it: the rest is in `dropped`, or a Fault BAD_REQUEST names it."""
    if prompt.origin == NAME:
        return _at_home(prompt)
    prompt = abroad(prompt, NAME)
    if prompt.sampling.stop:
        raise _unsayable("stop", _NO_STOP)
    dropped = [*prompt.dropped, *(name for name in _UNSAID if getattr(prompt.sampling, name) is not None)]
    reasoning = _fit_reasoning(prompt.reasoning, dropped)
    turns = [_fit_turn(turn, dropped) for turn in prompt.turns]
    turns = [turn for turn in turns if turn.parts]
    _check_pairs(turns)
    tools = tuple(_fit_tool(tool, dropped) for tool in prompt.tools)
    output = _fit_output(prompt.output)
    if output.schema is not None and output.schema.schema is None and not _says_json(turns):
        turns = [_SAY_JSON, *turns]
    return replace(
        prompt,
        turns=tuple(turns),
        tools=tools,
        tool_choice=prompt.tool_choice if tools else ToolChoice(),
        sampling=Sampling(prompt.sampling.temperature, prompt.sampling.top_p),
        output=output,
        reasoning=reasoning,
        dropped=tuple(dict.fromkeys(dropped)),
    )


def _at_home(prompt: Prompt) -> Prompt:
    """Nothing changes but what another provider sealed; stop sequences are the gateway's extension, not OpenAI's."""
    if prompt.sampling.stop:
        raise _unsayable("stop", _NO_STOP)
    if not any(_is_sealed(part) for turn in prompt.turns for part in turn.parts):
        return prompt
    dropped = list(prompt.dropped)
    turns = []
    for turn in prompt.turns:
        parts: list[Part] = []
        for part in turn.parts:
            if isinstance(part, Thought) and _is_sealed(part):
                dropped.append("reasoning")
            else:
                parts.append(replace(part, signature=None) if isinstance(part, ToolCall) else part)
        if parts or not turn.parts:
            turns.append(replace(turn, parts=tuple(parts)))
    return replace(prompt, turns=tuple(turns), dropped=tuple(dict.fromkeys(dropped)))


def _is_own(thought: Thought) -> bool:
    return thought.signature is not None and thought.signed_by == NAME


def _is_sealed(part: Part) -> bool:
    match part:
        case Thought():
            return part.signature is not None and part.signed_by != NAME
        case ToolCall():
            return part.signature is not None
        case Text() | Media() | ToolResult() | Opaque():
            return False


def _fit_reasoning(reasoning: Reasoning, dropped: list[str]) -> Reasoning:
    effort, budget = reasoning.effort, reasoning.budget
    if reasoning.enabled is False or (effort is None and budget == 0):
        dropped.append("reasoning")
        return Reasoning()
    if effort is not None and effort not in _EFFORTS:
        dropped.append("reasoning")
        effort = None
    if effort is None and budget is not None:
        effort = effort_of(budget)
    if effort is None and not reasoning.enabled:
        return Reasoning()
    return Reasoning(enabled=True, effort=effort, shown=False if effort == NONE else reasoning.shown)


def _fit_output(output: Output) -> Output:
    limit, schema = output.limit, output.schema
    if limit is not None:
        limit = max(limit, LIMIT_MIN)
    if schema is not None and schema.schema is None:
        schema = Schema()
    elif schema is not None and not _SCHEMA_NAME.fullmatch(schema.name or ""):
        schema = replace(schema, name="answer")
    return Output(limit, schema=schema)


def _fit_tool(tool: Tool | Opaque, dropped: list[str]) -> Tool | Opaque:
    match tool:
        case Opaque():
            return tool
        case Tool():
            if not _NAME.fullmatch(tool.name):
                raise _unsayable(tool.name, "its tools have names of letters, digits, _ and - alone")
            if tool.mark is not None:
                dropped.append("cache_control")
            # Left out, OpenAI takes a schema strictly where it can: elsewhere nobody does that unasked.
            return replace(
                tool, parameters=tool.parameters or _NO_PARAMETERS, strict=tool.strict is True, mark=None
            )


def _fit_turn(turn: Turn, dropped: list[str]) -> Turn:
    if turn.name is not None:
        dropped.append("name")
    results: list[Part] = []
    rest: list[Part] = []
    for part in turn.parts:
        dropped += _lost(part)
        fitted = _fit_part(part)
        if fitted is not None:
            (results if isinstance(fitted, ToolResult) else rest).append(fitted)
    native = "developer" if turn.native_role == "developer" else None
    # Results first: what a user says beside them comes after them.
    return Turn(turn.role, (*results, *rest), native_role=native)


def _fit_part(part: Part) -> Part | None:
    match part:
        case Thought():
            return replace(part, extra=()) if _is_own(part) else None
        case Text():
            return Text(part.text, part.refusal) if part.text else None
        case ToolCall():
            return ToolCall(_short(part.id), part.name, part.arguments or "{}")
        case ToolResult():
            inner = tuple(fitted for one in part.parts if (fitted := _fit_part(one)) is not None)
            return ToolResult(_short(part.call_id), inner)
        case Media():
            return _fit_media(part)
        case Opaque():
            return part


def _fit_media(media: Media) -> Media:
    if media.kind in ("audio", "video"):
        raise _unsayable(media.kind, f"{media.kind} has no word in its language")
    media_type, name = media.media_type, media.name
    if media.url is None and media_type is None:
        media_type = "image/png" if media.kind == "image" else "application/pdf"
    if media.kind == "file" and media.url is None and name is None:
        name = f"document.{_SUFFIXES.get(media_type or '', 'pdf')}"
    detail = media.detail if media.detail in _DETAILS and media.kind == "image" else None
    return Media(media.kind, media.url, media.data, media_type, detail, name)


def _lost(part: Part) -> Iterator[str]:
    """The names of what a part cannot take along."""
    match part:
        case Thought():
            if not _is_own(part):
                yield "thinking"
        case Text() | Media() | ToolCall() | ToolResult():
            if part.mark is not None:
                yield "cache_control"
            if isinstance(part, ToolResult):
                if part.failed:
                    yield "is_error"
                for inner in part.parts:
                    yield from _lost(inner)
        case Opaque():
            pass


def _check_pairs(turns: Iterable[Turn]) -> None:
    """OpenAI refuses a result without its call, a call without its result, and a prompt without anything."""
    pending: set[str] = set()
    called: set[str] = set()
    said = False
    for turn in turns:
        said = True
        for part in turn.parts:
            if isinstance(part, ToolCall):
                called.add(part.id)
                pending.add(part.id)
            elif isinstance(part, ToolResult):
                if part.call_id not in called:
                    raise _unpaired(part.call_id, "has no tool call before it")
                pending.discard(part.call_id)
    if pending:
        raise _unpaired(min(pending), "is the id of a tool call that nothing answers")
    if not said:
        raise Fault(
            Kind.BAD_REQUEST, "The conversation is empty: say something to the model.", param="messages"
        )


def _short(call_id: str) -> str:
    return call_id if len(call_id) <= _ID_MAX else f"call_{sha256(call_id.encode()).hexdigest()[:48]}"


def _says_json(turns: Iterable[Turn]) -> bool:
    """OpenAI OpenAPI, ResponseFormatJsonObject: the model must be told in words to produce JSON."""
    return any(
        isinstance(part, Text) and "json" in part.text.lower() for turn in turns for part in turn.parts
    )


def _unsayable(name: str, reason: str) -> Fault:
    return Fault(
        Kind.BAD_REQUEST,
        f"{name} cannot be passed on to this model: {reason}. Leave it out, or choose another model.",
        param=name,
    )


def _unpaired(call_id: str, reason: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{call_id!r} {reason}.", param=call_id)
