"""What the sandbox takes from a conversation: the user's last words, their tricks, and a seed for its own."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from msgspec import Struct

from farebox.providers.sandbox import tokens
from farebox.providers.sandbox.request import Message, Request, media_of, text_of
from farebox.providers.sandbox.tricks import Tricks, read_tricks


class Result(Struct, frozen=True):
    """What a tool answered."""

    tool: str
    text: str


class Talk(Struct, frozen=True):
    """A conversation as the sandbox sees it."""

    words: str  # The last user message, without its magic prompts.
    tricks: Tricks
    seed: int
    media: tuple[str, ...]  # Types of the media in the last user message.
    results: tuple[Result, ...]  # Tools' answers since the user last spoke.
    prompt_tokens: int


def read_talk(request: Request) -> Talk:
    """Take from a request what its answer depends on; MalformedError where a magic prompt is malformed."""
    messages = request.messages
    texts = [text_of(message) for message in messages]
    last = _last_user(messages)
    tricks, words = read_tricks(texts[last]) if last >= 0 else (Tricks(), "")
    return Talk(
        words=words,
        tricks=tricks,
        seed=_seed(request, texts),
        media=tuple(media_of(messages[last : last + 1])) if last >= 0 else (),
        results=_results(messages, texts, last + 1),
        prompt_tokens=_prompt_tokens(request, texts),
    )


def _last_user(messages: Sequence[Message]) -> int:
    """The index of the last user message, -1 without one."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return index
    return -1


def _seed(request: Request, texts: Sequence[str]) -> int:
    """A number from model, words and seed alone, so that a question has one answer, streamed or plain.

    Roles and the form of the content are left out: another dialect says them differently and means the same.
    """
    said = "\0".join([request.model, str(request.seed or ""), *texts])
    return zlib.crc32(said.encode(errors="replace"))


def _results(messages: Sequence[Message], texts: Sequence[str], start: int) -> tuple[Result, ...]:
    names = {call.id: call.function.name for message in messages for call in message.tool_calls or ()}
    return tuple(
        Result(names[messages[index].tool_call_id or ""], texts[index])
        for index in range(start, len(messages))
        if messages[index].role == "tool"
    )


def _prompt_tokens(request: Request, texts: Sequence[str]) -> int:
    total = tokens.PER_MESSAGE * len(texts) + sum(map(tokens.count, texts))
    total += tokens.PER_IMAGE * len(media_of(request.messages))
    for message in request.messages:
        for call in message.tool_calls or ():
            total += tokens.count(call.function.name) + tokens.count(call.function.arguments)
    for tool in request.tools or ():
        total += tokens.count_data(tool.function)
    return total
