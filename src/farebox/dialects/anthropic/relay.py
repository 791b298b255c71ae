"""The tap of a relayed message: what each event means, and the declared splices.

How it stays cheap. Almost every event of a stream is the one before with other words in it, and of those nothing is
replaced. So an event that was decoded becomes a form, its bytes up to the words; the next event that begins so, and
ends in brackets and the blanks that Anthropic pads with, is known to be content without being decoded. The id and the
model stand in `message_start` alone, the charge goes into `message_delta`. `message_stop` is written anew.
"""

from __future__ import annotations

import re

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.anthropic.chunk import (
    ANNOUNCED,
    NULL,
    Block,
    Chunk,
    Delta,
    decode_block,
    decode_chunk,
    decode_message,
    find_data,
)
from farebox.dialects.anthropic.failure import write_failure
from farebox.dialects.anthropic.usage import Counts, cost_members, write_usage
from farebox.dialects.dialect import Cost, Mark, Names
from farebox.dialects.splice import UNREADABLE, Layout, lay_out

_ENDS = re.compile(rb"\} *\}\r?\n\r?\n")  # What follows the words of a delta.
_WORDS = re.compile(rb'"(?:text|thinking|partial_json)": ?"')
_NO_FORM = b"\0"  # With which no event begins.
_WITH_WORDS = frozenset({"text", "thinking"})  # Any other block is content by being there.
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


class MessageTap:
    """Watches one relayed reply of a message."""

    def __init__(self, names: Names) -> None:
        self.usage: Usage | None = None
        self.fault: Fault | None = None
        self.finished = False
        self.finish_reason: str | None = None
        self.events = 0
        self.delivered_bytes = 0
        self._counts = Counts()
        self._told: Usage | None = None  # What the provider's counts say, whatever was charged.
        self._names = names
        self._form = _NO_FORM
        self._blocks: set[int] = set()  # Those that have started.
        self._shown: bytes | None = None  # The event decoded last, if anything in it is to be replaced.

    def see(self, event: bytes) -> Mark:
        """Classify one whole event."""
        form = self._form
        if event.startswith(form):
            end = event.rfind(b'"')
            if _ENDS.fullmatch(event, end + 1) is not None:
                words = event[len(form) : end]
                plain = b"\\" not in words and b'"' not in words and words.isascii()
                size = len(words) if plain else _size(words)
                if size:
                    self.events += 1
                    self.delivered_bytes += size
                    return Mark.CONTENT
        return self._see_slowly(event)

    def _see_slowly(self, event: bytes) -> Mark:
        data = find_data(event).strip()
        if not data:
            return Mark.EMPTY
        if data == b"[DONE]":
            return Mark.DONE
        try:
            data.decode()  # What the decoder passes over, it does not look at.
            chunk = decode_chunk(data)
            if chunk.type == "content_block_start":
                self._blocks.add(chunk.index)
                return self._content(_block_size(decode_block(chunk.content_block)))
        except UNREADABLE:
            if self.finished:
                return Mark.DONE  # It would only have been the end mark.
            return self._broken()
        if chunk.error != NULL or chunk.type == "error":
            return self._broken()
        if chunk.type == "content_block_delta":
            return self._see_delta(event, chunk)
        return self._see_rest(event, chunk)

    def _see_delta(self, event: bytes, chunk: Chunk) -> Mark:
        delta = chunk.delta or Delta()
        if chunk.index not in self._blocks and delta.type not in ANNOUNCED:
            return self._broken()
        text = delta.text or delta.thinking or delta.partial_json or ""
        if text:
            found = _WORDS.search(event)
            self._form = event[: found.end()] if found is not None else _NO_FORM
        return self._content(len(text.encode()))

    def _see_rest(self, event: bytes, chunk: Chunk) -> Mark:
        if chunk.type == "message_stop":
            return Mark.DONE
        usage = chunk.message.usage if chunk.message is not None else chunk.usage
        if usage != NULL:
            self._told = self._counts.take(usage)
            self.usage = self._told or self.usage
        if chunk.type in ("message_start", "message_delta"):
            self._shown = event
        if chunk.type != "message_delta":
            return Mark.EMPTY
        reason = chunk.delta.stop_reason if chunk.delta is not None else None
        if not reason:
            return Mark.USAGE
        self.finish_reason, self.finished = reason, True
        return Mark.FINISH

    def _content(self, size: int) -> Mark:
        if not size:
            return Mark.EMPTY
        self.events += 1
        self.delivered_bytes += size
        return Mark.CONTENT

    def _broken(self) -> Mark:
        self.fault = Fault(
            Kind.PROVIDER_CUT,
            "The model's provider reported an error in the middle of its answer. Try again.",
        )
        return Mark.FAULT

    def splice(self, event: bytes, cost: Cost | None) -> bytes:
        """The event as the caller gets it."""
        if event is not self._shown and b"message_start" not in event and b"message_delta" not in event:
            return event
        data = find_data(event).strip()
        if not data.startswith(b"{"):
            return event
        layout = _lay_out(event, data)
        kind = layout.value("type")
        if kind == b'"message_start"':
            message = layout.value("message")
            if message.startswith(b"{"):
                return layout.replaced({"message": self._named(message)})
        elif kind == b'"message_delta"' and (cost is not None or _given(layout.value("usage"))):
            return layout.replaced({"usage": self._priced(layout.value("usage"), cost)})
        return event

    def _named(self, message: bytes) -> bytes:
        """A message, or the start of one, with our id and model."""
        layout = lay_out(message, 0, len(message))
        news = {"id": msgspec.json.encode(self._names.id), "model": msgspec.json.encode(self._names.model)}
        usage = layout.value("usage")
        if b"cost" in usage or b'"is_byok"' in usage:
            news["usage"] = _without_cost(usage)
        return layout.replaced(news)

    def _priced(self, raw: bytes, cost: Cost | None) -> bytes:
        """A usage object with our charge in it, and nothing of what the provider charges us.

        It is the provider's own but where that is not what was charged for: absurd counts are shown to nobody.
        """
        if self._told is None or not raw.startswith(b"{") or (cost is not None and self._told != self.usage):
            return write_usage(self.usage or Usage(), cost)
        raw = _without_cost(raw)
        if cost is None:
            return raw
        members = cost_members(cost).encode()
        return raw.rstrip()[:-1].rstrip() + (members if len(raw.strip(b"{} \t\r\n")) else members[1:]) + b"}"

    def whole(self, body: bytes) -> bool:
        """Take in a plain reply; False if it is none, or an error in the clothes of one."""
        try:
            body.decode()  # What the decoder passes over, it does not look at.
            message = decode_message(body)
            blocks = [decode_block(raw) for raw in message.content or ()]
        except UNREADABLE:
            return False
        if message.content is None or message.error != NULL or message.type == "error":
            return False
        if message.usage != NULL:
            self._told = self.usage = self._counts.take(message.usage)
        self.delivered_bytes = sum(map(_block_size, blocks))
        self.events = 1 if self.delivered_bytes else 0
        self.finish_reason = message.stop_reason
        self.finished = bool(self.events) or self.finish_reason is not None
        return self.finished

    def splice_whole(self, body: bytes, cost: Cost) -> bytes:
        """The plain reply as the caller gets it."""
        layout = lay_out(body, 0, len(body))
        news = {
            "id": msgspec.json.encode(self._names.id),
            "model": msgspec.json.encode(self._names.model),
            "usage": self._priced(layout.value("usage"), cost),
        }
        return layout.replaced(news).strip()

    def usage_event(self, usage: Usage, cost: Cost) -> bytes:
        """Nothing: `message_delta`, without which no stream is whole, has shown it."""
        del usage, cost
        return b""

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left."""
        return write_failure(fault, self._names.id)


def _given(raw: bytes) -> bool:
    return raw not in (b"", b"null")


def _without_cost(usage: bytes) -> bytes:
    if b"cost" not in usage and b'"is_byok"' not in usage:
        return usage
    members = _members.decode(usage)
    return msgspec.json.encode(
        {name: value for name, value in members.items() if "cost" not in name and name != "is_byok"}
    )


def _lay_out(event: bytes, data: bytes) -> Layout:
    at = event.find(data)
    if at < 0:  # Several lines of data, which the object's text runs across: one line says the same.
        name, data = event.partition(b"\n")[0], msgspec.json.format(data, indent=-1)
        event = b"%b\ndata: %b\n\n" % (name, data)
        at = event.find(data)
    return lay_out(event, at, at + len(data))


def _size(words: bytes) -> int:
    """How many bytes of an answer the inside of a JSON string says; 0 where it is none."""
    try:
        return len(_text.decode(b'"%b"' % words).encode())
    except UNREADABLE:
        return 0


def _block_size(block: Block) -> int:
    """How many bytes of an answer a block carries as it comes; names of members are not content."""
    texts = (block.text, block.thinking, block.data, block.name)
    size = sum(len(text.encode()) for text in texts if text)
    given = bytes(block.input)
    return size + (len(given) if given not in (b"null", b"{}") else 0) + (block.type not in _WITH_WORDS)
