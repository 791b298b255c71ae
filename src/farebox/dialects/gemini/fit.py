"""A conversation from elsewhere, as Gemini can say it.

What has no word here is listed in `dropped`; what changes the answer is refused by its name. These rules repair the
rest (Google's reference, and the refusals that its clients report):

* the words of all system turns go to `systemInstruction`, in their order; if nothing else is said, they are the
  user's;
* turns of one side that follow one another are one, and one that begins with the model's words gets a user's before it;
* the results of one turn's calls stand together, in the order of the calls, before what else the user says; pictures
  that a tool shows follow as the user's;
* a result is an object: JSON objects go as they are, any other text as `result`, a failure as `error`;
* arguments are an object: what is none is its member `_raw`;
* the first call of a turn that nobody signed gets the text that Google documents for calls from elsewhere;
* schemas go through `dialects.schema`;
* a thinking budget lies between 512 and 24,576 tokens, which every model that takes one takes;
* a foreign thought is worthless here: it is left out. Empty texts are left out, and turns without parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

import msgspec
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
from farebox.dialects.effort import NONE, budget_of
from farebox.dialects.gemini.part import NAME, as_object, is_object
from farebox.dialects.schema import lower_schema

# Google, "Thought signatures", for calls that no Gemini model made.
UNSIGNED: Final = "skip_thought_signature_validator"
# Google, "Gemini thinking": what the models of 2.5 take have these in common.
BUDGET_MIN: Final = 512
BUDGET_MAX: Final = 24_576
STOPS_MAX: Final = 5  # Google's reference, GenerationConfig.stopSequences.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")  # Google's reference, FunctionDeclaration.name.
_SEEDS = range(-(2**31), 2**31)
_TARGET: Final = "gemini"
_BEGIN: Final = Turn("user", (Text("Begin."),))
_MAGIC: Final = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}
_FALLBACKS: Final = {
    "image": "image/png",
    "audio": "audio/wav",
    "video": "video/mp4",
    "file": "application/pdf",
}
_SUFFIXES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
    ".mp3": "audio/mp3",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
}


def fit_prompt(prompt: Prompt) -> Prompt:
    """The prompt as Gemini can say it: the rest is in `dropped`, or a Fault BAD_REQUEST names it."""
    if prompt.origin == NAME:
        return _at_home(prompt)
    prompt = abroad(prompt, NAME)
    dropped = list(prompt.dropped)
    tools = tuple(_fit_tool(tool, dropped) for tool in prompt.tools if isinstance(tool, Tool))
    return replace(
        prompt,
        turns=_fit_turns(prompt.turns, dropped),
        tools=tools,
        tool_choice=_fit_choice(prompt.tool_choice, tools, dropped),
        sampling=_fit_sampling(prompt.sampling, dropped),
        output=_fit_output(prompt.output),
        reasoning=_fit_reasoning(prompt.reasoning),
        dropped=tuple(dict.fromkeys(dropped)),
    )


def _at_home(prompt: Prompt) -> Prompt:
    """Nothing changes but what another provider signed."""
    if not any(_is_foreign(part) for turn in prompt.turns for part in turn.parts):
        return prompt
    turns = []
    for turn in prompt.turns:
        parts = tuple(part for part in turn.parts if not _is_foreign(part))
        if parts or not turn.parts:
            turns.append(replace(turn, parts=parts))
    return replace(
        prompt, turns=tuple(turns), dropped=tuple(dict.fromkeys((*prompt.dropped, "thoughtSignature")))
    )


def _is_foreign(part: Part) -> bool:
    return isinstance(part, Thought) and part.signature is not None and part.signed_by != NAME


# --- Turns ------------------------------------------------------------------------------------------------------


def _fit_turns(turns: Iterable[Turn], dropped: list[str]) -> tuple[Turn, ...]:
    system: list[Part] = []
    talk: list[Turn] = []
    for turn in turns:
        if turn.name is not None:
            dropped.append("name")
        parts = [fitted for part in turn.parts for fitted in _fit_part(part, dropped)]
        if turn.role == "system":
            system += (_check_system(part) for part in parts)
        elif parts and talk and talk[-1].role == turn.role:
            talk[-1] = Turn(turn.role, (*talk[-1].parts, *parts))
        elif parts:
            talk.append(Turn(turn.role, tuple(parts)))
    if not talk:
        if not system:
            raise Fault(
                Kind.BAD_REQUEST, "The conversation is empty: say something to the model.", param="messages"
            )
        talk, system = [Turn("user", tuple(system))], []
    if talk[0].role == "assistant":
        talk.insert(0, _BEGIN)
    talk = _answered(talk)
    return (Turn("system", tuple(system)), *talk) if system else tuple(talk)


def _check_system(part: Part) -> Part:
    if isinstance(part, Text):
        return part
    raise _unsayable("system", "its system instruction holds words alone")


def _answered(talk: list[Turn]) -> list[Turn]:
    """Every turn of calls with its results right behind it, in their order; a Fault where one lacks the other."""
    out: list[Turn] = []
    open_ids: list[str] = []
    for turn in talk:
        found = [part for part in turn.parts if isinstance(part, ToolResult)]
        results = {part.call_id: part for part in found}
        if len(results) < len(found):
            raise _unpaired(found[-1].call_id, "is answered twice")
        strangers = [call_id for call_id in results if call_id not in open_ids]
        if strangers:
            raise _unpaired(strangers[0], "answers no tool call of the turn before it")
        missing = [call_id for call_id in open_ids if call_id not in results]
        if missing:
            raise _unpaired(missing[0], "is the id of a tool call that the next turn does not answer")
        rest = tuple(part for part in turn.parts if not isinstance(part, ToolResult))
        parts = (*(results[call_id] for call_id in open_ids), *rest)
        calls = [part for part in rest if isinstance(part, ToolCall)]
        open_ids = [call.id for call in calls]
        out.append(Turn(turn.role, _signed(parts, calls[0]) if calls else parts))
    if open_ids:
        raise _unpaired(open_ids[0], "is the id of a tool call that nothing answers")
    return out


def _signed(parts: tuple[Part, ...], first: ToolCall) -> tuple[Part, ...]:
    """With a signature on the first call, which is where Gemini's later models look for one."""
    if first.signature is not None:
        return parts
    return tuple(replace(first, signature=UNSIGNED) if part is first else part for part in parts)


def _fit_part(part: Part, dropped: list[str]) -> Iterator[Part]:
    """What stands for a part: itself, nothing, or a result and what it shows."""
    if not isinstance(part, Thought | Opaque) and part.mark is not None:
        dropped.append("cache_control")
    match part:
        case Text():
            if part.text or part.signature is not None:
                yield Text(part.text, signature=part.signature)
        case Thought():
            if part.signature is not None and part.signed_by == NAME:
                yield Thought(part.text, part.signature, part.redacted, NAME)
            else:
                dropped.append("thinking")
        case ToolCall():
            _check_name(part.name)
            yield ToolCall(part.id, part.name, as_object(part.arguments), part.signature)
        case ToolResult():
            yield from _fit_result(part, dropped)
        case Media():
            yield _fit_media(part, dropped)
        case Opaque():
            raise AssertionError("abroad has refused it")


def _fit_result(result: ToolResult, dropped: list[str]) -> Iterator[Part]:
    texts = [part.text for part in result.parts if isinstance(part, Text)]
    yield ToolResult(
        result.call_id, (Text(_response("\n".join(texts), failed=result.failed)),), result.failed
    )
    for part in result.parts:
        if isinstance(part, Media):
            yield from _fit_part(part, dropped)
        elif not isinstance(part, Thought | Opaque) and part.mark is not None:
            dropped.append("cache_control")


def _response(text: str, *, failed: bool) -> str:
    if not is_object(text):
        return msgspec.json.encode({"error" if failed else "result": text}).decode()
    if failed and "error" not in msgspec.json.decode(text, type=dict[str, msgspec.Raw]):
        return f'{{"error":{text}}}'
    return text


def _fit_media(media: Media, dropped: list[str]) -> Media:
    if media.detail not in (None, "auto"):
        dropped.append("detail")
    if media.name is not None:
        dropped.append("filename")
    media_type = media.media_type
    if media_type is None and media.data is not None:
        begun = next((kind for start, kind in _MAGIC.items() if media.data.startswith(start)), None)
        media_type = begun or _FALLBACKS[media.kind]
    elif media_type is None and media.url is not None:
        media_type = _SUFFIXES.get(PurePosixPath(media.url.partition("?")[0]).suffix.lower())
    return Media(media.kind, media.url, media.data, media_type)


# --- The rest ---------------------------------------------------------------------------------------------------


def _fit_tool(tool: Tool, dropped: list[str]) -> Tool:
    _check_name(tool.name)
    if tool.mark is not None:
        dropped.append("cache_control")
    if tool.strict:
        dropped.append("strict")
    parameters = None if tool.parameters is None else lower_schema(tool.parameters, _TARGET).schema
    return Tool(tool.name, tool.description, parameters)


def _fit_choice(choice: ToolChoice, tools: tuple[Tool, ...], dropped: list[str]) -> ToolChoice:
    if choice.parallel is False:
        dropped.append("parallel_tool_calls")
    if choice.mode == "named" and all(tool.name != choice.name for tool in tools):
        raise _unsayable("tool_choice", f"there is no tool of the name {choice.name!r}")
    if choice.mode == "required" and not tools:
        raise _unsayable("tool_choice", "there are no tools")
    return ToolChoice(choice.mode, choice.name) if tools else ToolChoice()


def _fit_sampling(sampling: Sampling, dropped: list[str]) -> Sampling:
    stop = tuple(text for text in sampling.stop if text)
    if len(stop) > STOPS_MAX:
        raise _unsayable("stop", f"it takes {STOPS_MAX} stop sequences at most")
    seed = sampling.seed
    if seed is not None and seed not in _SEEDS:
        dropped.append("seed")
        seed = None
    return replace(sampling, seed=seed, stop=stop)


def _fit_output(output: Output) -> Output:
    schema = output.schema
    if schema is None:
        return Output(output.limit)
    lowered = None if schema.schema is None else lower_schema(schema.schema, _TARGET).schema
    return Output(output.limit, schema=Schema(schema=lowered))


def _fit_reasoning(reasoning: Reasoning) -> Reasoning:
    """In tokens, which all models understand that think; the later ones' levels are unknown to the others."""
    effort, budget = reasoning.effort, reasoning.budget
    if budget is None and effort is not None:
        budget = budget_of(effort)
    if reasoning.enabled is False or effort == NONE or budget == 0:
        return Reasoning(enabled=False)
    if budget is not None:
        return Reasoning(enabled=True, budget=min(max(budget, BUDGET_MIN), BUDGET_MAX), shown=reasoning.shown)
    return (
        Reasoning(enabled=True, shown=reasoning.shown)
        if reasoning.enabled or reasoning.shown
        else Reasoning()
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise _unsayable(
            name, "its functions have names of letters, digits, _, ., : and - alone, a letter first"
        )


def _unsayable(name: str, reason: str) -> Fault:
    return Fault(
        Kind.BAD_REQUEST,
        f"{name} cannot be passed on to this model: {reason}. Change it, or choose another model.",
        param=name,
    )


def _unpaired(call_id: str, reason: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{call_id!r} {reason}.", param=call_id)
