"""What the sandbox answers, as values: both the plain reply and the stream are written from them."""

from __future__ import annotations

from msgspec import Struct, json, structs

from farebox.providers.sandbox import tokens
from farebox.providers.sandbox.request import MalformedError, Request
from farebox.providers.sandbox.schema import SchemaError, smallest_json
from farebox.providers.sandbox.talk import Talk
from farebox.providers.sandbox.text import echo, write_long, write_text, write_thought
from farebox.providers.sandbox.tools import Call, calls_for
from farebox.providers.sandbox.tricks import LONG_MAX

_NO_LIMIT = 2**40  # Tokens; more than any body may ask for.
_REFUSAL = "I'm sorry, but the sandbox was told to refuse this."


class Choice(Struct, frozen=True):
    """One of the answers asked for."""

    finish: str
    text: str | None = None  # None where a refusal or a call stands in its place.
    refusal: str | None = None
    calls: tuple[Call, ...] = ()
    thought: str = ""

    @property
    def visible_tokens(self) -> int:
        """Tokens of what the caller sees."""
        called = sum(tokens.count(call.name) + tokens.count(call.arguments) for call in self.calls)
        return tokens.count(self.text or "") + tokens.count(self.refusal or "") + called


class Answer(Struct, frozen=True):
    """A whole answer and its token counts."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    prompt_tokens: int
    visible_tokens: int
    thought_tokens: int
    created_s: int = 1_700_000_000
    top_logprobs: int | None = None  # None where no log probabilities were asked for.


def answer_to(request: Request, talk: Talk) -> Answer:
    """Answer a request; MalformedError if it asks for a form that nothing has."""
    count = request.n or 1
    tricks = talk.tricks
    calls = () if tricks.empty or tricks.refuse or tricks.long else calls_for(request, talk)
    choices = tuple(_choice(request, talk, index, calls) for index in range(count))
    return Answer(
        id=f"chatcmpl-sandbox{talk.seed:08x}",
        model=request.model,
        choices=choices,
        prompt_tokens=talk.prompt_tokens,
        visible_tokens=sum(choice.visible_tokens for choice in choices),
        thought_tokens=sum(tokens.count(choice.thought) for choice in choices),
        top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
    )


def _choice(request: Request, talk: Talk, index: int, calls: tuple[Call, ...]) -> Choice:
    """One answer within the caller's limit, of which thoughts take their part first."""
    if talk.tricks.empty:
        return Choice("stop", text="")
    budget = request.output_limit or _NO_LIMIT
    effort = request.reasoning_effort
    thought = tokens.fitting(write_thought(effort), budget) if effort and effort != "none" else ""
    budget -= tokens.count(thought)
    if talk.tricks.refuse:
        refusal = tokens.fitting(_REFUSAL, budget)
        return Choice("stop" if refusal == _REFUSAL else "length", refusal=refusal, thought=thought)
    if calls:
        return _calling(calls, index, budget, thought)
    whole = _stopped(_content(request, talk, index), request.stops)
    text = tokens.fitting(whole, budget)
    return Choice("stop" if text == whole else "length", text=text, thought=thought)


def _calling(calls: tuple[Call, ...], index: int, budget: int, thought: str) -> Choice:
    """As many calls as the limit allows; the last one may end in the middle of its arguments, as real ones do."""
    made: list[Call] = []
    for call in calls:
        budget -= tokens.count(call.name)
        if budget <= 0:
            return Choice("length", calls=tuple(made), thought=thought)
        arguments = tokens.fitting(call.arguments, budget)
        budget -= tokens.count(arguments)
        made.append(structs.replace(call, id=f"{call.id}{index:02d}", arguments=arguments))
        if arguments != call.arguments:
            return Choice("length", calls=tuple(made), thought=thought)
    return Choice("tool_calls", calls=tuple(made), thought=thought)


def _content(request: Request, talk: Talk, index: int) -> str:
    """The text before any limit, in the form that was asked for."""
    if talk.tricks.long:
        return write_long(talk.seed + index, min(talk.tricks.long, LONG_MAX // (request.n or 1)))
    form = request.response_format
    if form is None or form.type == "text":
        return write_text(talk, index)
    if form.type == "json_object" or form.json_schema is None:
        return json.encode({"sandbox": True, "you_wrote": echo(talk.words)}).decode()
    try:
        return smallest_json(form.json_schema.schema or {})
    except SchemaError as error:
        message = f"Invalid schema for response_format '{form.json_schema.name}': {error}."
        raise MalformedError(message, "response_format") from None


def _stopped(text: str, stops: tuple[str, ...]) -> str:
    """The text before the first stop sequence."""
    ends = [end for end in map(text.find, stops) if end >= 0]
    return text[: min(ends)] if ends else text
