"""The sandbox's answers on the wire: OpenAI's chat completion, whole or in chunks, and its errors."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import msgspec
from msgspec import UNSET, Struct, UnsetType

from farebox.providers.sandbox.answer import Answer, Choice
from farebox.providers.sandbox.tools import Call

DONE = b"data: [DONE]\n\n"
_WORD = re.compile(r"\s*\S+|\s+\Z")
_ARGUMENTS_PIECE = 8  # Characters.
_ALTERNATIVES = (" the", " a", " it", " sand", " box")


class _Function(Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    arguments: str


class _ToolCall(Struct, frozen=True, kw_only=True):
    index: int | UnsetType = UNSET  # In a stream only.
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    function: _Function


class _Message(Struct, frozen=True):
    """A message, or the part of one that a chunk adds."""

    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: Sequence[_ToolCall] | UnsetType = UNSET


class _Token(Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[_Token] | UnsetType = UNSET


class _Logprobs(Struct, frozen=True):
    content: list[_Token] | None = None
    refusal: list[_Token] | None = None


class _Choice(Struct, frozen=True):
    index: int
    message: _Message | UnsetType = UNSET
    delta: _Message | UnsetType = UNSET
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _PromptDetails(Struct, frozen=True):
    cached_tokens: int = 0
    audio_tokens: int = 0


class _CompletionDetails(Struct, frozen=True):
    reasoning_tokens: int = 0
    audio_tokens: int = 0


class Usage(Struct, frozen=True):
    """OpenAI's usage object; the completion includes the thoughts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _PromptDetails
    completion_tokens_details: _CompletionDetails


class _Body(Struct, frozen=True):
    id: str
    object: str
    created: int
    model: str
    choices: Sequence[_Choice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str = "fp_sandbox"


class _Error(Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str | None


class _ErrorBody(Struct, frozen=True):
    error: _Error


def write_error(message: str, type_: str, param: str | None = None, code: str | None = None) -> bytes:
    """An error body."""
    return msgspec.json.encode(_ErrorBody(_Error(message, type_, param, code)))


def usage_of(answer: Answer) -> Usage:
    """The counts of an answer."""
    completion = answer.visible_tokens + answer.thought_tokens
    total = answer.prompt_tokens + completion
    details = _CompletionDetails(answer.thought_tokens)
    return Usage(answer.prompt_tokens, completion, total, _PromptDetails(), details)


def false_usage(count: int) -> Usage:
    """What a lying provider reports."""
    return Usage(count, count, 2 * count, _PromptDetails(), _CompletionDetails())


def write_plain(answer: Answer, usage: Usage | None) -> bytes:
    """A whole reply."""
    choices = [
        _plain_choice(index, choice, answer.top_logprobs) for index, choice in enumerate(answer.choices)
    ]
    shown = UNSET if usage is None else usage
    return msgspec.json.encode(
        _Body(answer.id, "chat.completion", answer.created_s, answer.model, choices, shown)
    )


class Stream:
    """One answer in chunks: `head`, then what `pieces` gives, each through `chunk`, then `tail`."""

    def __init__(self, answer: Answer, usage: Usage | None) -> None:
        self._answer = answer
        self._usage = usage  # Reported in a chunk of its own, if at all.
        self._usage_so_far: UnsetType | None = UNSET if usage is None else None

    def head(self) -> Iterator[bytes]:
        """A chunk with the role for each choice."""
        for index, choice in enumerate(self._answer.choices):
            content = "" if choice.text is not None else None
            yield self._data([_Choice(index, delta=_Message("assistant", content, None))])

    def pieces(self) -> list[tuple[int, _Message]]:
        """Every delta and the index of its choice; those of several choices take turns, as OpenAI's do."""
        each = [
            [(index, delta) for delta in _deltas(choice)] for index, choice in enumerate(self._answer.choices)
        ]
        if len(each) == 1:
            return each[0]
        return [piece for turn in zip_longest(*each) for piece in turn if piece is not None]

    def chunk(self, index: int, delta: _Message) -> bytes:
        """One piece as an event."""
        return self._data(
            [_Choice(index, delta=delta, logprobs=_logprobs([delta], self._answer.top_logprobs))]
        )

    def tail(self) -> Iterator[bytes]:
        """The finish of each choice, the usage, the end mark."""
        for index, choice in enumerate(self._answer.choices):
            yield self._data([_Choice(index, delta=_Message(), finish_reason=choice.finish)])
        if self._usage is not None:
            yield self._data([], self._usage)
        yield DONE

    def _data(self, choices: list[_Choice], usage: Usage | None = None) -> bytes:
        answer = self._answer
        shown = self._usage_so_far if usage is None else usage
        body = _Body(answer.id, "chat.completion.chunk", answer.created_s, answer.model, choices, shown)
        return b"data: " + msgspec.json.encode(body) + b"\n\n"


def _plain_choice(index: int, choice: Choice, top_logprobs: int | None) -> _Choice:
    calls = [
        _ToolCall(id=call.id, type="function", function=_Function(name=call.name, arguments=call.arguments))
        for call in choice.calls
    ]
    message = _Message(
        role="assistant",
        content=choice.text,
        refusal=choice.refusal,
        reasoning_content=choice.thought or UNSET,
        tool_calls=calls or UNSET,
    )
    logprobs = None if top_logprobs is None else _logprobs(_deltas(choice), top_logprobs)
    return _Choice(index, message=message, logprobs=logprobs, finish_reason=choice.finish)


def _deltas(choice: Choice) -> list[_Message]:
    """One choice word by word: thoughts, then text or refusal, then calls."""
    deltas = [_Message(reasoning_content=word) for word in _WORD.findall(choice.thought)]
    deltas += [_Message(content=word) for word in _WORD.findall(choice.text or "")]
    deltas += [_Message(refusal=word) for word in _WORD.findall(choice.refusal or "")]
    for index, call in enumerate(choice.calls):
        deltas += _call_deltas(index, call)
    return deltas


def _call_deltas(index: int, call: Call) -> Iterator[_Message]:
    named = _Function(name=call.name, arguments="")
    yield _Message(tool_calls=[_ToolCall(index=index, id=call.id, type="function", function=named)])
    for start in range(0, len(call.arguments), _ARGUMENTS_PIECE):
        piece = call.arguments[start : start + _ARGUMENTS_PIECE]
        yield _Message(tool_calls=[_ToolCall(index=index, function=_Function(arguments=piece))])


def _logprobs(deltas: Sequence[_Message], top: int | None) -> _Logprobs | None:
    """Log probabilities of the words, one token a word; None where none were asked for or nothing was said."""
    if top is None:
        return None
    content = [_token(delta.content, top) for delta in deltas if isinstance(delta.content, str)]
    refusal = [_token(delta.refusal, top) for delta in deltas if isinstance(delta.refusal, str)]
    return _Logprobs(content or None, refusal or None) if content or refusal else None


def _token(word: str, top: int) -> _Token:
    """A likely token, as likely as its checksum says, and the less likely ones that it was chosen over."""
    chosen = _Token(word, -(zlib.crc32(word.encode()) % 500) / 1000, list(word.encode()))
    others = [_alternative(rank) for rank in range(1, top)]
    return _Token(chosen.token, chosen.logprob, chosen.bytes, [chosen, *others][:top])


def _alternative(rank: int) -> _Token:
    word = _ALTERNATIVES[(rank - 1) % len(_ALTERNATIVES)] * (1 + (rank - 1) // len(_ALTERNATIVES))
    return _Token(word, -float(rank), list(word.encode()))
