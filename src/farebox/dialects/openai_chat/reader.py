"""A chat completion's reply → events.

The reader takes everything the compatible providers do to the documented form, and each oddity has a recording or a
fixture: usage beside choices, under `x_groq`, or never; tool calls told apart by index, by id, or by neither; whole
calls in one delta; thoughts under four names; errors inside a stream. A plain reply is one delta that came whole.
Chat completions keep words, thoughts and calls in one message without an order between them; read one after another,
they are parts in the order they came.

The reply is `Finished` once its finish and its usage are known, else at `[DONE]` or the end of the body; a body that
ends without a finish is `Failed`. (OpenAI's own clients take that for a whole answer.)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.conversation import (
    Began,
    Event,
    Failed,
    Finished,
    Media,
    Members,
    Opaque,
    Part,
    PartBegan,
    PartEnded,
    PartGrew,
    Reason,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from farebox.dialects.openai_chat.chunk import NULL, Call, Choice, Chunk, Said, find_chunk
from farebox.dialects.openai_chat.message import find_signature, read_part
from farebox.dialects.openai_chat.thought import DETAILS, NAME, SUMMARY, read_detail
from farebox.dialects.openai_chat.usage import read_usage_raw
from farebox.dialects.seal import unseal_id
from farebox.dialects.splice import UNREADABLE
from farebox.dialects.sse import Splitter, data_of

_CUT = "The model's provider ended its answer before it was whole. Try again."
_ERROR = "The model's provider reported an error in the middle of its answer. Try again."
_GARBLED = "The model's provider sent an answer that cannot be read. Try again."
_SEVERAL = "The model's provider sent several answers where one was asked for."

# Every known word for an end. An unknown one is an end like any other; it stays in `native_reason`.
_REASONS: dict[str, Reason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral's: the context is full.
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",  # z.ai's.
    "refusal": "refusal",
}
# Not ends but failures: OpenRouter's and vLLM's, z.ai's, DeepSeek's.
FAILURES = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})

# What an open part is: compared by identity, for each delta asks.
_TEXT, _REFUSAL, _THOUGHT = Text(""), Text("", refusal=True), Thought("")


class _Calling:
    """A tool call as it comes in; it begins once its name is known."""

    def __init__(self, place: int | None, call_id: str) -> None:
        self.place = place  # The provider's index of it.
        self.id = call_id
        self.index = -1  # Among the parts.
        self.early: list[str] = []  # Arguments that came before the name.
        self.signature: str | None = None
        self.extra: Members = ()


class ChatReader:
    """One provider's reply, streamed or plain, read into events."""

    def __init__(self, *, stream: bool) -> None:
        self._splitter = Splitter() if stream else None
        self._plain = not stream  # As it turns out to be: a few servers answer a stream in one piece.
        self._body: list[bytes] = []
        self._out: list[Event] = []
        self._id: str | None = None
        self._parts = 0
        self._open: Part | None = None  # The text or thought that is growing.
        self._open_index = -1
        self._calls: list[_Calling] = []
        self._refused = False
        self._finish: str | None = None
        self._stop_sequence: str | None = None
        self._usage: Usage | None = None
        self._over = False

    def feed(self, data: bytes) -> Sequence[Event]:
        """Events that `data` completes; none before the end of a plain reply."""
        if self._splitter is None:
            self._body.append(data)
            return ()
        try:
            for event in self._splitter.feed(data):
                self._read(data_of(event))
        except (Fault, *UNREADABLE):  # What a first look passed over may still be no text.
            self._fail(_GARBLED)
        return self._taken()

    def end(self) -> Sequence[Event]:
        """The last events; Failed if the reply is not whole."""
        if self._splitter is None:
            self._read_whole(b"".join(self._body))
        elif not self._over:
            self._read_rest(self._splitter.flush())
        if not self._over:
            self._finish_or_fail()
        return self._taken()

    def _taken(self) -> Sequence[Event]:
        out, self._out = self._out, []
        return out

    def _read(self, data: bytes) -> None:
        if self._over or not data:
            return
        chunk = find_chunk(data)
        if chunk is not None:
            self._take(chunk)
        elif data.strip() == b"[DONE]":
            self._finish_or_fail()
        elif data.strip():
            self._fail(_GARBLED)

    def _read_rest(self, rest: bytes) -> None:
        """What follows the last blank line: an event without its own, half an event, or a plain reply after all."""
        data = data_of(rest).strip()
        if data == b"[DONE]":
            return
        chunk = find_chunk(data or rest)
        if chunk is not None:
            self._plain = not data
            self._take(chunk)

    def _read_whole(self, body: bytes) -> None:
        chunk = None if self._over else find_chunk(body)
        if chunk is None or (not chunk.choices and chunk.error == NULL):
            self._fail(_GARBLED)
            return
        self._finish = "stop"  # Unless it says otherwise: the body, at least, is whole.
        self._take(chunk)

    def _take(self, chunk: Chunk) -> None:
        raw_usage = chunk.usage if chunk.usage != NULL or chunk.x_groq is None else chunk.x_groq.usage
        usage = read_usage_raw(raw_usage) if raw_usage != NULL else None
        if usage is not None:
            self._usage = usage
        if chunk.error != NULL or chunk.object == "error":
            self._fail(_ERROR)
            return
        for choice in chunk.choices or ():
            if self._id is None:
                self._id = chunk.id or ""
                self._out.append(Began(self._id, chunk.model or ""))
            self._choose(choice)
        if usage is not None and self._finish is not None and not self._over:
            self._finish_or_fail()

    def _choose(self, choice: Choice) -> None:
        if self._over:
            return
        if choice.index:
            self._fail(_SEVERAL)
            return
        # Perplexity sends both in every chunk: the step, and all so far.
        said = choice.message or choice.delta if self._plain else choice.delta or choice.message
        if said is not None:
            try:
                self._hear(said)
            except (Fault, *UNREADABLE):  # A part in a shape nobody documents.
                self._fail(_GARBLED)
        if isinstance(choice.stop_reason, str):
            self._stop_sequence = choice.stop_reason
        if choice.error != NULL or choice.finish_reason in FAILURES:
            self._fail(_ERROR)
        elif choice.finish_reason:
            self._finish = choice.finish_reason

    def _hear(self, said: Said) -> None:
        if said.reasoning_details:
            self._hear_details(said)
        elif thought := said.reasoning_content or said.reasoning:
            self._grow(self._open if isinstance(self._open, Thought) else _THOUGHT, thought)
        if said.content:
            if isinstance(said.content, str):
                self._grow(_TEXT, said.content)
            else:
                self._hear_list(said.content)
        if said.refusal:
            self._grow(_REFUSAL, said.refusal)
        for call in said.tool_calls or ():
            self._hear_call(call)
        if said.function_call is not None:
            self._hear_call(Call(index=0, function=said.function_call))
        if said.images or said.annotations or said.audio != NULL:
            self._hear_rest(said)

    def _hear_details(self, said: Said) -> None:
        """OpenRouter's details repeat the text beside them, and only they can be signed."""
        beside = said.reasoning_content or said.reasoning
        details = [read_detail(raw, DETAILS) for raw in said.reasoning_details or ()]
        if beside and not any(isinstance(detail, Thought) and detail.text for detail in details):
            self._grow(_THOUGHT, beside)
        for detail in details:
            if isinstance(detail, Opaque):
                self._add(detail)
            elif detail.redacted:
                self._add(replace(detail, member=None))
            else:
                self._hear_detail(detail, told=beside is None)

    def _hear_detail(self, detail: Thought, *, told: bool) -> None:
        # A thought that grew by plain deltas comes once more, whole, for its signature's sake.
        text = "" if told and self._open is _THOUGHT else detail.text
        if not (
            self._open is _THOUGHT or (isinstance(self._open, Thought) and _at(self._open) == _at(detail))
        ):
            member = detail.member if detail.member == SUMMARY else None
            self._begin(replace(detail, text="", signature=None, signed_by=None, member=member))
        self._grow(self._open, text)
        if detail.signature is not None:
            self._end_open(detail.signature, detail.signed_by)

    def _hear_list(self, content: list[msgspec.Raw]) -> None:
        for raw in content:
            part = read_part(raw, "content")
            match part:
                case Text():
                    self._grow(_REFUSAL if part.refusal else _TEXT, part.text)
                case Thought():
                    self._grow(self._open if isinstance(self._open, Thought) else _THOUGHT, part.text)
                case Media() | Opaque() | ToolCall() | ToolResult():
                    self._add(part)

    def _hear_rest(self, said: Said) -> None:
        for raw in said.images or ():
            image = read_part(raw, "images")
            self._add(replace(image, place="images") if isinstance(image, Opaque) else image)
        for raw in said.annotations or ():
            self._add(Opaque(NAME, "annotations", "annotations", bytes(raw)))
        if said.audio != NULL:
            self._add(Opaque(NAME, "audio", "audio", bytes(said.audio)))

    def _hear_call(self, call: Call) -> None:
        calling = self._calling(call)
        function = call.function
        if call.extra_content != NULL:
            signature = find_signature(call.extra_content)
            if signature is None:
                calling.extra = (("extra_content", bytes(call.extra_content)),)
            calling.signature = signature or calling.signature
        if function is None:
            return
        if function.name and calling.index < 0:
            self._begin_call(calling, function.name)
        arguments = function.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if not arguments:
            return
        if calling.index < 0:
            calling.early.append(arguments)
        else:
            self._out.append(PartGrew(calling.index, arguments))

    def _calling(self, call: Call) -> _Calling:
        """The call that a delta continues, or a new one."""
        known = self._find_calling(call, starts=bool(call.function and call.function.name))
        if known is None:
            known = _Calling(call.index, call.id or f"call_{self._id}_{len(self._calls)}")
            self._calls.append(known)
        return known

    def _find_calling(self, call: Call, *, starts: bool) -> _Calling | None:
        for known in reversed(self._calls):
            if call.index is None:
                if call.id and known.id == call.id:
                    return known
            elif known.place == call.index:
                # Another id at the same place: a server that gives every call the index 0. But some also make up an
                # id for each delta (vLLM once did), so only a delta that names its function starts anew.
                anew = starts and call.id and known.id != call.id and known.index >= 0
                return None if anew else known
        return self._calls[-1] if call.index is None and self._calls and not starts else None

    def _begin_call(self, calling: _Calling, name: str) -> None:
        self._end_open()
        calling.index = self._parts
        self._parts += 1
        call_id, signature = unseal_id(calling.id)
        calling.signature = calling.signature or signature
        self._out.append(PartBegan(calling.index, ToolCall(call_id, name, "", extra=calling.extra)))
        self._out += [PartGrew(calling.index, text) for text in calling.early]

    def _grow(self, part: Part | None, text: str) -> None:
        if not text:
            return
        if self._open is not part and part is not None:
            self._begin(part)
        self._out.append(PartGrew(self._open_index, text))

    def _begin(self, part: Part) -> None:
        self._end_open()
        self._open, self._open_index = part, self._parts
        self._parts += 1
        self._refused = self._refused or part is _REFUSAL
        self._out.append(PartBegan(self._open_index, part))

    def _add(self, part: Part) -> None:
        """A part that comes whole."""
        self._begin(part)
        self._end_open()

    def _end_open(self, signature: str | None = None, signed_by: str | None = None) -> None:
        if self._open is not None:
            self._open = None
            self._out.append(PartEnded(self._open_index, signature, signed_by))

    def _finish_or_fail(self) -> None:
        if self._finish is None:
            self._fail(_CUT)
            return
        self._end_open()
        for calling in self._calls:
            if calling.index < 0:
                self._begin_call(calling, "")
            self._out.append(PartEnded(calling.index, calling.signature))
        self._out.append(Finished(self._reason(self._finish), self._usage, self._finish, self._stop_sequence))
        self._over = True

    def _reason(self, native: str) -> Reason:
        reason = _REASONS.get(native, "stop")
        if reason != "stop":
            return reason
        # OpenAI says "stop" after a refusal and after a call it was told to make; several servers after any call.
        return "refusal" if self._refused else "tool_calls" if self._calls else "stop"

    def _fail(self, message: str) -> None:
        if not self._over:
            # Before the first part another route may still answer.
            kind = Kind.PROVIDER_CUT if self._parts else Kind.PROVIDER_ERROR
            self._out.append(Failed(Fault(kind, message), self._usage))
            self._over = True


def _at(thought: Thought) -> bytes | None:
    """Which of OpenRouter's details this is."""
    return dict(thought.extra).get("index")
