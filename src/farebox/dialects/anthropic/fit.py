"""A conversation from elsewhere, as Anthropic's providers take it.

What has no word here is listed in `dropped`; sounds, films and documents of other types change the answer, so they are
refused by name, and so are a tool result without its call and a call that nothing answers. These rules repair the rest:

* all the system's words go to the top, in their order; JSON without a schema is asked for by a sentence behind them;
* turns of one side that follow each other are one, tool results first; empty words and turns are left out;
* a conversation that does not begin with the user's turn gets one that says START;
* an answer that was begun (the last turn is the assistant's) loses the white space at its end;
* an id that Anthropic does not take becomes its hash, and one that was used before gets a number;
* arguments that are no JSON object go into the member `_raw` of one; no arguments are an empty object;
* schemas of answers and of strict tools are lowered; beyond STRICT_MOST, tools are not strict;
* where tools were called that the prompt does not define, they are named, and may not be called again;
* of more than MARKS_MOST cache marks the last ones stand, and none inside a tool's result;
* a temperature above 1 becomes 1; beside a temperature, `top_p` is left out, for newer models refuse both.

Thinking is left out where its limit is too small, a tool must be called, the answer was begun, or the thoughts before
the last calls are missing; otherwise it wins over `temperature`, `top_k` and `top_p`, which are refused beside it.
"""

from __future__ import annotations

from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.dialects.anthropic.block import NAME
from farebox.dialects.anthropic.parts import Fitting, fit_turns, thought_of_last_calls
from farebox.dialects.anthropic.prompt import fitting_budget
from farebox.dialects.anthropic.tools import fit_tool_choice, fit_tools
from farebox.dialects.conversation import (
    Output,
    Part,
    Prompt,
    Reasoning,
    Sampling,
    Schema,
    Text,
    Thought,
    ToolCall,
    Turn,
    abroad,
)
from farebox.dialects.effort import BUDGET_MIN, BUDGETS, NONE, budget_of
from farebox.dialects.schema import lower_schema

_SAY_JSON = Turn("system", (Text("Answer with one JSON object and nothing else."),))
_TOP_P_MIN = 0.95  # The least that Anthropic takes beside thinking.
_UNSAID = ("frequency_penalty", "presence_penalty", "seed")
_REASONING = "reasoning"


def fit_prompt(prompt: Prompt) -> Prompt:
    """The prompt as Messages can say it: the rest is in `dropped`, or a Fault BAD_REQUEST names it."""
    if prompt.origin == NAME:
        return _at_home(prompt)
    prompt = abroad(prompt, NAME)
    fitting = Fitting(prompt)
    dropped = fitting.dropped
    tools = fit_tools(prompt, fitting)
    turns = fit_turns(prompt.turns, fitting)
    choice = fit_tool_choice(prompt, tools)
    output = _fit_output(prompt.output, turns, dropped)
    if prompt.output.schema is not None and output.schema is None:
        at = sum(turn.role == "system" for turn in turns)
        turns = (*turns[:at], _SAY_JSON, *turns[at:])
    dropped += [name for name in _UNSAID if getattr(prompt.sampling, name) is not None]
    forced = choice.mode in ("required", "named")
    reasoning = _fit_reasoning(prompt, turns, dropped, forced=forced)
    return replace(
        prompt,
        turns=turns,
        tools=tools,
        tool_choice=choice,
        sampling=_fit_sampling(prompt.sampling, dropped, thinking=reasoning.budget is not None),
        output=output,
        reasoning=reasoning,
        dropped=tuple(dict.fromkeys(dropped)),
    )


def _at_home(prompt: Prompt) -> Prompt:
    """Nothing changes but what another provider signed, and thinking where that was needed for it."""
    dropped = list(prompt.dropped)
    turns = tuple(fitted for turn in prompt.turns if (fitted := _own_turn(turn, dropped)) is not None)
    if len(dropped) == len(prompt.dropped):
        return replace(prompt, turns=turns)
    reasoning = prompt.reasoning
    if reasoning.enabled and not thought_of_last_calls(turns):
        dropped.append(_REASONING)
        native = tuple((name, raw) for name, raw in reasoning.native if name != "thinking")
        reasoning = replace(reasoning, enabled=None, budget=None, native=native)
    return replace(prompt, turns=turns, reasoning=reasoning, dropped=tuple(dict.fromkeys(dropped)))


def _own_turn(turn: Turn, dropped: list[str]) -> Turn | None:
    parts: list[Part] = []
    for part in turn.parts:
        if isinstance(part, Thought) and not (part.signature and part.signed_by == NAME):
            dropped.append("thinking")
        elif isinstance(part, ToolCall) and part.signature is not None:
            parts.append(replace(part, signature=None))
        else:
            parts.append(part)
    if turn.parts and not parts:
        return None
    return replace(turn, parts=tuple(parts))


def _fit_output(output: Output, turns: tuple[Turn, ...], dropped: list[str]) -> Output:
    schema = output.schema
    if schema is None:
        return Output(output.limit)
    if schema.description is not None:
        dropped.append("response_format.description")
    if schema.schema is None:
        return Output(output.limit)
    if turns[-1].role == "assistant":
        # Refused by Anthropic: an answer is of the schema from its first letter, or not at all.
        raise Fault(
            Kind.BAD_REQUEST,
            "messages cannot end with the assistant's words where the answer is to follow a JSON schema.",
            param="messages",
        )
    lowered = lower_schema(schema.schema, NAME).schema
    return Output(output.limit, schema=Schema(schema=lowered))


def _fit_reasoning(prompt: Prompt, turns: tuple[Turn, ...], dropped: list[str], *, forced: bool) -> Reasoning:
    wanted = _wanted_budget(prompt.reasoning)
    if not wanted:
        return Reasoning() if wanted is None else Reasoning(enabled=False)
    budget = fitting_budget(wanted, prompt.output.limit)
    if budget is None or forced or turns[-1].role == "assistant" or not thought_of_last_calls(turns):
        dropped.append(_REASONING)
        return Reasoning()
    return Reasoning(enabled=True, budget=budget)


def _wanted_budget(reasoning: Reasoning) -> int | None:
    """How many tokens are asked for thinking: 0 for none, None where nobody asks."""
    effort, budget = reasoning.effort, reasoning.budget
    if reasoning.enabled is False or (budget is None and effort == NONE) or budget == 0:
        return 0
    if budget is not None:
        return max(budget, BUDGET_MIN)
    if effort is not None:
        return budget_of(effort)
    return BUDGETS["medium"] if reasoning.enabled else None


def _fit_sampling(sampling: Sampling, dropped: list[str], *, thinking: bool) -> Sampling:
    temperature, top_p, top_k = sampling.temperature, sampling.top_p, sampling.top_k
    if temperature is not None and temperature > 1:
        dropped.append("temperature")
        temperature = 1
    if thinking and temperature not in (None, 1):
        dropped.append("temperature")
        temperature = None
    if top_p is not None and (temperature is not None or (thinking and top_p < _TOP_P_MIN)):
        dropped.append("top_p")
        top_p = None
    if thinking and top_k is not None:
        dropped.append("top_k")
        top_k = None
    return Sampling(temperature, top_p, top_k, stop=_fit_stop(sampling.stop))


def _fit_stop(stop: tuple[str, ...]) -> tuple[str, ...]:
    for sequence in stop:
        if not sequence or sequence.isspace():
            raise Fault(
                Kind.BAD_REQUEST,
                "stop cannot be passed on to this model: its provider takes no stop sequence of white space alone. "
                "Leave it out, or choose another model.",
                param="stop",
            )
    return stop
