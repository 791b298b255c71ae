"""A conversation from elsewhere, as chat completions can say it.

What has no word here is listed in `dropped`; an address of a sound or a document is refused by name, and so are a
tool's result without its call, and a call that nothing answers. These rules repair the rest:

* a foreign thought is worthless here, for unknown members are refused: it is left out;
* what a tool shows beside words follows its result as the user's, for a tool message holds text alone;
* a budget for thinking becomes a word for effort; that a model may not think has no word;
* empty texts are left out, and turns without parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import (
    Media,
    Members,
    Opaque,
    Part,
    Prompt,
    Reasoning,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    abroad,
)
from farebox.dialects.effort import effort_of
from farebox.dialects.openai_chat.thought import NAME


def fit_prompt(prompt: Prompt) -> Prompt:
    """The prompt as chat completions can say it: the rest is in `dropped`, or a Fault BAD_REQUEST names it."""
    if prompt.origin == NAME:
        return prompt
    prompt = abroad(prompt, NAME)
    dropped = list(prompt.dropped)
    if prompt.sampling.top_k is not None:
        dropped.append("top_k")
    reasoning = _fit_reasoning(prompt.reasoning, dropped)
    turns = tuple(turn for turn in (_fit_turn(turn, dropped) for turn in prompt.turns) if turn.parts)
    if prompt.turns and not turns:  # Of what was said nothing is left.
        raise Fault(
            Kind.BAD_REQUEST, "The conversation is empty: say something to the model.", param="messages"
        )
    _check_pairs(turns)
    tools = tuple(replace(tool, mark=None) if isinstance(tool, Tool) else tool for tool in prompt.tools)
    return replace(
        prompt,
        turns=turns,
        tools=tools,
        # "tool_choice is only allowed when tools are specified", says OpenAI.
        tool_choice=prompt.tool_choice if tools else ToolChoice(),
        sampling=replace(prompt.sampling, top_k=None),
        output=replace(prompt.output, limit_member=None),
        reasoning=reasoning,
        dropped=tuple(dict.fromkeys(dropped)),
    )


def _fit_reasoning(reasoning: Reasoning, dropped: list[str]) -> Reasoning:
    """In a word for effort, the only one that chat completions share; that one may not think has none."""
    effort = reasoning.effort
    if reasoning.enabled is False or reasoning.budget == 0:
        dropped.append("thinking")
        return Reasoning()
    if effort is None and reasoning.budget is not None:
        effort = effort_of(reasoning.budget)
    return Reasoning(effort=effort or ("medium" if reasoning.enabled else None))


def _fit_turn(turn: Turn, dropped: list[str]) -> Turn:
    results: list[Part] = []
    rest: list[Part] = []
    for part in turn.parts:
        dropped += _lost(part)
        match part:
            case ToolResult():
                texts = tuple(_fit_part(inner) for inner in part.parts if isinstance(inner, Text))
                results.append(ToolResult(part.call_id, texts))
                # A tool message holds text alone: what it shows follows as the user's.
                rest += [_fit_part(inner) for inner in part.parts if isinstance(inner, Media)]
            case Thought():
                pass  # A foreign thought is worthless here, and unknown members are refused.
            case Text(text=""):
                pass  # Nothing is lost, and OpenAI refuses an empty part; Google's streams leave one behind.
            case Text() | Media() | ToolCall() | Opaque():
                rest.append(_fit_part(part))
    says = any(isinstance(part, Text | Media) for part in rest)
    # Some servers insist on the member where a message only calls tools.
    extra: Members = (("content", b"null"),) if turn.role == "assistant" and not says else ()
    return Turn(turn.role, (*results, *rest), turn.name, extra=extra)


def _fit_part(part: Part) -> Part:
    match part:
        case Text() | ToolCall():
            return replace(part, mark=None, signature=None)
        case Media():
            if part.data is None and part.kind in ("audio", "file"):
                what = f"An address of {part.kind} content"
                raise Fault(
                    Kind.BAD_REQUEST, f"{what} cannot be passed on to this model: send the data.", param="url"
                )
            return replace(part, mark=None)
        case ToolResult() | Thought() | Opaque():
            return part


def _lost(part: Part) -> Iterator[str]:
    """The names of what a part cannot take along."""
    match part:
        case Thought():
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
    """Fault BAD_REQUEST where a call is not answered at once, or an answer has no call: OpenAI refuses both."""
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "system":
            continue
        for part in turn.parts:
            if isinstance(part, ToolResult):
                if part.call_id not in waiting:
                    raise _unpaired(part.call_id, "is answered, and no call before it waits for that")
                waiting.remove(part.call_id)
        if waiting and not all(isinstance(part, ToolResult) for part in turn.parts):
            break
        waiting += [part.id for part in turn.parts if isinstance(part, ToolCall)]
    if waiting:
        raise _unpaired(waiting[0], "is a call that the next turn does not answer")


def _unpaired(call_id: str, reason: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{call_id!r} {reason}.", param=call_id)
