"""A chunk of a streamed chat completion, or a whole plain one: what is read of it, in every known variation."""

from __future__ import annotations

import msgspec

NULL = msgspec.Raw(b"null")  # Also stands for an absent member: msgspec has no `Raw | None`.


class Function(msgspec.Struct):
    """A call's function, whole or in part."""

    name: str | None = None
    arguments: str | dict[str, object] | None = None  # An object where a local engine took the text apart.


class Call(msgspec.Struct):
    """A tool call, whole or in part. Which one it continues is told by `index`, by `id`, or by neither."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: msgspec.Raw = NULL


class Said(msgspec.Struct):
    """A `delta`, or the `message` of a plain reply."""

    content: str | list[msgspec.Raw] | None = None  # A list is Mistral's way to tell thoughts from words.
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    images: list[msgspec.Raw] | None = None
    annotations: list[msgspec.Raw] | None = None
    audio: msgspec.Raw = NULL


class Choice(msgspec.Struct):
    """One answer. Azure's filter leaves out the message altogether; Perplexity repeats it beside each delta."""

    index: int | None = None
    delta: Said | None = None
    message: Said | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None  # vLLM's: which stop sequence it was.
    error: msgspec.Raw = NULL


class Groq(msgspec.Struct):
    """Where Groq puts usage in a stream."""

    usage: msgspec.Raw = NULL


class Chunk(msgspec.Struct):
    """The envelope. Azure begins with one that has no id and no choices."""

    id: str | None = None
    model: str | None = None
    object: str | None = None
    choices: list[Choice] | None = None
    usage: msgspec.Raw = NULL
    x_groq: Groq | None = None
    error: msgspec.Raw = NULL


_decoder = msgspec.json.Decoder(Chunk)


def find_chunk(data: bytes) -> Chunk | None:
    """Read one; None if it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
