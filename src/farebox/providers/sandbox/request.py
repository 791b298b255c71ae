"""What the sandbox reads: a chat request in OpenAI's dialect, checked as strictly as a provider would.

Members that change nothing here (temperature, user, metadata …) are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

CHOICES_MAX = 128  # OpenAI's limit for `n`.
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_Limit = Annotated[int, Meta(ge=1)]


class MalformedError(Exception):
    """The request would be refused by any provider; the message is OpenAI's kind of sentence."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class Part(Struct, frozen=True):
    """One part of a message's content; what a medium holds is not looked at."""

    type: Literal["text", "refusal", "image_url", "input_audio", "video_url", "file"]
    text: str | None = None
    refusal: str | None = None


class CalledFunction(Struct, frozen=True):
    """The name and the JSON text of an earlier tool call."""

    name: str
    arguments: str = ""


class ToolCall(Struct, frozen=True):
    """A tool call that the assistant made earlier."""

    id: str
    function: CalledFunction


class Message(Struct, frozen=True):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Function(Struct, frozen=True):
    """A tool's name and the schema of its arguments."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    description: str | None = None
    parameters: dict[str, object] | None = None


class Tool(Struct, frozen=True):
    """A tool that may be called."""

    type: Literal["function"]
    function: Function


class _NamedFunction(Struct, frozen=True):
    name: str


class NamedTool(Struct, frozen=True):
    """A tool choice that names the tool."""

    type: Literal["function"]
    function: _NamedFunction


class JsonSchema(Struct, frozen=True):
    """The schema of a structured answer."""

    name: str
    schema: dict[str, object] | None = None


class ResponseFormat(Struct, frozen=True):
    """The form the answer must have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Struct, frozen=True):
    """Whether the stream ends with its usage."""

    include_usage: bool | None = None


class Request(Struct, frozen=True):
    """The members of a chat request that change the answer."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    n: Annotated[int, Meta(ge=1, le=CHOICES_MAX)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def output_limit(self) -> int | None:
        """Tokens that each choice may have, thoughts included."""
        limits = [limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None]
        return min(limits, default=None)

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop sequences; an empty one stops nothing."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        return tuple(stop for stop in stops if stop)


_decoder = msgspec.json.Decoder(Request)


def read_request(body: bytes) -> Request:
    """Decode and check a body; MalformedError says what is wrong and where."""
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _misfit(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedError("We could not parse the JSON body of your request.") from None
    _check_messages(request.messages)
    _check_tool_choice(request)
    form = request.response_format
    if (
        form is not None
        and form.type == "json_schema"
        and (form.json_schema is None or not form.json_schema.schema)
    ):
        raise MalformedError(
            "Missing required parameter: 'response_format.json_schema.schema'.", "response_format"
        )
    if request.top_logprobs and not request.logprobs:
        raise MalformedError("'top_logprobs' is only allowed when 'logprobs' is true.", "top_logprobs")
    return request


def text_of(message: Message) -> str:
    """The words of a message, its parts on lines of their own."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text or part.refusal or "" for part in message.content or () if part.type in _WORDS)


def media_of(messages: Sequence[Message]) -> list[str]:
    """The types of the parts that are not words, in order."""
    return [
        part.type
        for message in messages
        if isinstance(message.content, list)
        for part in message.content
        if part.type not in _WORDS
    ]


_WORDS = frozenset({"text", "refusal"})


def _misfit(message: str) -> MalformedError:
    """Turn msgspec's sentence into a message and the name of the parameter."""
    place = _PLACE.search(message)
    if place is None:
        return MalformedError(f"Invalid request: {message}.")
    where = place[1]
    what = message[: place.start()]
    return MalformedError(f"Invalid value for '{where}': {what}." if where else f"{what}.", where or None)


def _check_messages(messages: Sequence[Message]) -> None:
    """What OpenAI refuses and a careless translation produces: silent users, results of calls never made."""
    called: set[str] = set()
    for index, message in enumerate(messages):
        if message.tool_calls:
            called.update(call.id for call in message.tool_calls)
        if message.role == "user" and message.content is None:
            raise MalformedError(
                f"Invalid value for 'messages[{index}].content': expected a string, got null.",
                f"messages[{index}].content",
            )
        if message.role == "tool" and message.tool_call_id not in called:
            raise MalformedError(
                "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
                f"messages[{index}].tool_call_id",
            )


def _check_tool_choice(request: Request) -> None:
    """A choice of tools needs tools."""
    choice = request.tool_choice
    if choice is None:
        return
    names = {tool.function.name for tool in request.tools or ()}
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        raise MalformedError(
            f"Tool choice '{choice.function.name}' not found in 'tools' parameter.", "tool_choice"
        )
    if choice == "required" and not names:
        raise MalformedError("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
