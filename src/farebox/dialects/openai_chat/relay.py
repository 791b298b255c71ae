"""The tap of a relayed chat completion: what each event means, and the declared splices.

How it stays cheap. Almost every event of a stream is content, and is told from the rest by looking for four byte
strings; in JSON text a quote inside a string is escaped, so `"finish_reason":"` can only be the member itself. Only
an event that has one of them, or that comes before the first content, is decoded. The id and the model are learned
from the first event and replaced as bytes from then on; an event that writes them otherwise is rewritten whole.
"""

from __future__ import annotations

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost, Head, Mark, Names
from farebox.dialects.openai_chat.usage import cost_members, read_usage_raw, write_usage
from farebox.dialects.sse import data_of

_COSTS_OF_THE_PROVIDER = (
    "cost",
    "cost_details",
    "is_byok",
    "cost_in_usd_ticks",
)  # OpenRouter's and xAI's words.


_ABSENT = msgspec.Raw()  # msgspec decodes no `Raw | None`: a null stays the text "null".


def _given(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


class _Delta(msgspec.Struct):
    content: str | list[msgspec.Raw] | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: msgspec.Raw = _ABSENT
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    audio: msgspec.Raw = _ABSENT


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None
    delta: _Delta | None = None
    message: _Delta | None = None


class _Groq(msgspec.Struct):
    usage: msgspec.Raw = _ABSENT


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    x_groq: _Groq | None = None


_decoder = msgspec.json.Decoder(_Chunk)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_LIST = msgspec.Raw(b"[]")
_CUT = Fault(
    Kind.PROVIDER_CUT, "The model's provider reported an error in the middle of its answer. Try again."
)


class ChatTap:
    """Watches one relayed reply of a chat completion."""

    def __init__(self, head: Head, names: Names) -> None:
        self.usage: Usage | None = None
        self.fault: Fault | None = None
        self.finished = False
        self.finish_reason: str | None = None
        self.events = 0
        self.delivered_bytes = 0
        self._choices_open = head.choices
        self._wants_usage = head.wants_usage
        self._names = names
        self._frame_bytes = 0  # What an event weighs without its content.
        self._replace: tuple[bytes, bytes, bytes, bytes] | None = None

    def see(self, event: bytes) -> Mark:
        """Classify one whole event."""
        if (
            self.events
            and b'"finish_reason":"' not in event
            and b'"finish_reason": "' not in event
            and b'"usage":{' not in event
            and b'"usage": {' not in event
            and b'"error"' not in event
            and event.startswith(b"data: {")
        ):
            self.events += 1
            self.delivered_bytes += max(len(event) - self._frame_bytes, 0)
            return Mark.CONTENT
        return self._see_slowly(event)

    def _see_slowly(self, event: bytes) -> Mark:
        data = data_of(event).strip()
        if not data:
            return Mark.EMPTY
        if data == b"[DONE]":
            return Mark.DONE
        try:
            chunk = _decoder.decode(data)
        except msgspec.DecodeError:
            self.fault = _CUT
            return Mark.FAULT
        if _given(chunk.error):
            self.fault = _CUT
            return Mark.FAULT
        if self._replace is None:
            self._learn(chunk, data)
        self._take_usage(chunk)
        return self._mark(chunk, event)

    def _mark(self, chunk: _Chunk, event: bytes) -> Mark:
        choices = chunk.choices or []
        content = sum(_content_bytes(choice.delta) for choice in choices)
        if content:
            self.events += 1
            self.delivered_bytes += content
            self._frame_bytes = self._frame_bytes or len(event) - content
        reasons = [choice.finish_reason for choice in choices if choice.finish_reason]
        if reasons:
            self.finish_reason = reasons[-1]
            self._choices_open -= len(reasons)
            self.finished = self._choices_open <= 0
            return Mark.FINISH
        if content:
            return Mark.CONTENT
        return Mark.USAGE if not choices and _given(chunk.usage) else Mark.EMPTY

    def _take_usage(self, chunk: _Chunk) -> None:
        raw = chunk.usage if _given(chunk.usage) or chunk.x_groq is None else chunk.x_groq.usage
        if _given(raw):
            self.usage = read_usage_raw(raw) or self.usage

    def _learn(self, chunk: _Chunk, data: bytes) -> None:
        """Find how this provider writes the two members that are replaced in every event."""
        if chunk.id is None or chunk.model is None:
            return
        found = []
        for name, old, new in (("id", chunk.id, self._names.id), ("model", chunk.model, self._names.model)):
            text, value = msgspec.json.encode(old), msgspec.json.encode(new)
            for gap in (b":", b": "):
                member = b'"%b"%b%b' % (name.encode(), gap, text)
                if member in data:
                    found += [member, b'"%b"%b%b' % (name.encode(), gap, value)]
                    break
        if len(found) == len(("old id", "new id", "old model", "new model")):
            self._replace = (found[0], found[1], found[2], found[3])

    def splice(self, event: bytes, cost: Cost | None) -> bytes:
        """The event as the caller gets it; empty where it is withheld."""
        if cost is None and self._replace is not None:
            old_id, new_id, old_model, new_model = self._replace
            if old_id in event and old_model in event:
                return event.replace(old_id, new_id, 1).replace(old_model, new_model, 1)
        return self._rewrite(event, cost)

    def _rewrite(self, event: bytes, cost: Cost | None) -> bytes:
        data = data_of(event).strip()
        if not data.startswith(b"{"):
            return b""
        members = _members.decode(data)
        usage = _shown_usage(members)
        if usage is not None:
            if not self._wants_usage and bytes(members.get("choices", _NO_LIST)) == b"[]":
                return b""
            members["usage"] = _priced(usage, cost)
        return b"data: %b\n\n" % self._renamed(members)

    def _renamed(self, members: dict[str, msgspec.Raw]) -> bytes:
        if "id" in members or "choices" in members:
            members["id"] = msgspec.Raw(msgspec.json.encode(self._names.id))
            members["model"] = msgspec.Raw(msgspec.json.encode(self._names.model))
        return msgspec.json.encode(members)

    def whole(self, body: bytes) -> bool:
        """Take in a plain reply; False if it is none, or an error in the clothes of one."""
        try:
            chunk = _decoder.decode(body)
        except msgspec.DecodeError:
            return False
        if chunk.choices is None or _given(chunk.error):
            return False
        self._take_usage(chunk)
        self.delivered_bytes = sum(_content_bytes(choice.message) for choice in chunk.choices)
        self.events = 1 if self.delivered_bytes else 0
        self.finish_reason = next(
            (choice.finish_reason for choice in chunk.choices if choice.finish_reason), None
        )
        self.finished = True
        return True

    def splice_whole(self, body: bytes, cost: Cost) -> bytes:
        """The plain reply as the caller gets it."""
        members = _members.decode(body)
        usage = _shown_usage(members)
        if usage is not None:
            members["usage"] = _priced(usage, cost)
        return self._renamed(members)

    def usage_event(self, usage: Usage, cost: Cost) -> bytes:
        """A usage event of our own, for a caller who asked where the provider sent none."""
        names = self._names
        return (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[],"usage":%b}\n\n'
            % (
                msgspec.json.encode(names.id),
                names.created_s,
                msgspec.json.encode(names.model),
                write_usage(usage, cost),
            )
        )


def _content_bytes(delta: _Delta | None) -> int:
    """How many bytes of an answer a delta or message carries; quotes and brackets are not content."""
    if delta is None:
        return 0
    texts = [delta.refusal, delta.reasoning_content, delta.reasoning]
    raws = [raw for raw in (delta.function_call, delta.audio) if _given(raw)]
    for part in (delta.content, delta.tool_calls, delta.reasoning_details):
        if isinstance(part, str):
            texts.append(part)
        elif part:
            raws += part
    return sum(len(text.encode()) for text in texts if text) + sum(len(bytes(raw)) for raw in raws)


def _shown_usage(members: dict[str, msgspec.Raw]) -> msgspec.Raw | None:
    raw = members.get("usage", _ABSENT)
    return raw if _given(raw) else None


def _priced(usage: msgspec.Raw, cost: Cost | None) -> msgspec.Raw:
    """A shown usage object with our charge in it, and nothing of what the provider charges us."""
    raw = bytes(usage)
    if any(f'"{name}"'.encode() in raw for name in _COSTS_OF_THE_PROVIDER):
        members = _members.decode(raw)
        for name in _COSTS_OF_THE_PROVIDER:
            members.pop(name, None)
        raw = msgspec.json.encode(members)
    if cost is None:
        return msgspec.Raw(raw)
    inside = raw.rstrip()[:-1].rstrip()
    members_text = cost_members(cost)
    return msgspec.Raw(inside + (members_text[1:] if inside == b"{" else members_text).encode() + b"}")
