"""The tap of a relayed chat completion: what each event means, and the declared splices.

How it stays cheap. Almost every event of a stream is the one before with other words in it. So an event that was
decoded becomes a form: its bytes before the words and its bytes behind them. The next event that fits the form is
known to be content, valid and harmless, without being decoded; its id and model are replaced with the bytes before the
words. Anything else is decoded, laid out member by member, and spliced where the members stand.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost, Head, Mark, Names
from farebox.dialects.openai_chat.failure import write_failure
from farebox.dialects.openai_chat.reader import FAILURES
from farebox.dialects.openai_chat.usage import cost_members, read_usage_raw, write_usage
from farebox.dialects.splice import UNREADABLE, Layout, lay_out
from farebox.dialects.sse import data_of

_ABSENT = msgspec.Raw()  # msgspec decodes no `Raw | None`: a null stays the text "null".
_NULL = b"null"
_NAMES = ("id", "model")
_STRING_REST = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*')
_PADDING = b'"obfuscation":"'  # OpenAI's: letters that hide how long the words are. It stands last.


def _given(raw: msgspec.Raw | bytes) -> bool:
    return bytes(raw) not in (b"", _NULL)


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: object = None  # A text, but for servers that took it apart.


class _Call(msgspec.Struct):
    function: _Function | None = None
    custom: msgspec.Raw = _ABSENT


class _Delta(msgspec.Struct):
    content: str | list[msgspec.Raw] | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    images: list[msgspec.Raw] | None = None
    audio: msgspec.Raw = _ABSENT


class _Choice(msgspec.Struct):
    index: int | None = None
    finish_reason: str | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    error: msgspec.Raw = _ABSENT


class _Groq(msgspec.Struct):
    usage: msgspec.Raw = _ABSENT


class _Chunk(msgspec.Struct):
    id: msgspec.Raw = _ABSENT
    model: msgspec.Raw = _ABSENT
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    x_groq: _Groq | None = None


# Members that grow delta by delta. A quote inside a JSON string is escaped, so this can only be a member.
_GROWING = re.compile(rb'"(?:content|reasoning_content|reasoning|arguments)": ?"')
_decoder = msgspec.json.Decoder(_Chunk)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_PLAIN_NAMES = (b'"id":', b'"model":', b'"usage":')


class _Form(NamedTuple):
    """What an event is but for its words."""

    before: bytes
    new_before: bytes  # With our id and model.
    behind: bytes
    padding_end: bytes  # What follows the padding; empty where there is none.

    def grown(self, event: bytes) -> int:
        """By how many bytes of words an event of this form grows the answer; 0: it is of another."""
        if not event.startswith(self.before):
            return 0
        end = len(event) - len(self.behind)
        if self.padding_end:
            end = event.find(self.behind, len(self.before))
            padding = event[end + len(self.behind) : -len(self.padding_end)]
            fits = event.endswith(self.padding_end) and (padding.isalnum() or not padding)
        else:
            fits = event.endswith(self.behind)
        if not fits or end < 0:
            return 0
        words = event[len(self.before) : end]
        if b"\\" not in words and b'"' not in words:
            return len(words)
        try:
            return len(_text.decode(b'"%b"' % words).encode())
        except UNREADABLE:
            return 0


_NO_FORM = _Form(b"\0", b"\0", b"\0", b"")  # Which no event has.


class ChatTap:
    """Watches one relayed reply of a chat completion."""

    def __init__(self, head: Head, names: Names) -> None:
        self.usage: Usage | None = None
        self.fault: Fault | None = None
        self.finished = False
        self.finish_reason: str | None = None
        self.events = 0
        self.delivered_bytes = 0
        self._choices = head.choices
        self._choices_finished: set[int] = set()
        self._wants_usage = head.wants_usage
        self._told_raw = b""  # The usage read last, and what it said.
        self._told: Usage | None = None
        self._usage_shown = False
        self._names = names
        self._names_written = {"id": msgspec.json.encode(names.id), "model": msgspec.json.encode(names.model)}
        self._form = _NO_FORM
        self._written = b"", b"", b""  # The id, model and usage of a plain reply.
        self._seen = b""  # The event decoded last, and its layout.
        self._layout: Layout | None = None

    def see(self, event: bytes) -> Mark:
        """Classify one whole event."""
        size = self._form.grown(event)
        if size:
            self.events += 1
            self.delivered_bytes += size
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
            self._seen, self._layout = event, _lay_out(event, data)
        except UNREADABLE:
            if self.finished:
                return Mark.DONE  # It would only have been usage.
            self.fault = _broken()
            return Mark.FAULT
        choices = chunk.choices or []
        self._take_usage(chunk)
        if _given(chunk.error) or any(_failed(choice) for choice in choices):
            self.fault = _broken()
            return Mark.FAULT
        return self._mark(chunk, choices, event)

    def _mark(self, chunk: _Chunk, choices: list[_Choice], event: bytes) -> Mark:
        content = sum(_content_bytes(choice.delta) for choice in choices)
        if content:
            self.events += 1
            self.delivered_bytes += content
        finished = [choice for choice in choices if choice.finish_reason]
        if finished:
            self.finish_reason = finished[-1].finish_reason
            # By index: some providers say it once more beside the usage.
            self._choices_finished |= {choice.index or 0 for choice in finished}
            self.finished = len(self._choices_finished) >= self._choices
            return Mark.FINISH
        if content:
            if not _given(chunk.usage):
                self._learn(event)
            return Mark.CONTENT
        return Mark.USAGE if not choices and _given(chunk.usage) else Mark.EMPTY

    def _take_usage(self, chunk: _Chunk) -> None:
        raw = chunk.usage if _given(chunk.usage) or chunk.x_groq is None else chunk.x_groq.usage
        if _given(raw):
            self._told_raw, self._told = bytes(raw), read_usage_raw(raw)
            self.usage = self._told or self.usage

    def splice(self, event: bytes, cost: Cost | None) -> bytes:
        """The event as the caller gets it; empty where it is withheld."""
        form = self._form
        if cost is None and event is not self._seen and event.startswith(form.before):
            return form.new_before + event[len(form.before) :]
        layout = self._layout
        if layout is None or event is not self._seen:
            data = data_of(event).strip()
            if not data.startswith(b"{"):
                return b""
            layout = _lay_out(event, data)
        return self._spliced(layout, cost)

    def _spliced(self, layout: Layout, cost: Cost | None) -> bytes:
        news: dict[str, bytes] = {}
        if "id" in layout.members or "choices" in layout.members:
            news.update(self._names_written)
        if _given(layout.value("usage")):
            if self._wants_usage:
                news["usage"] = self._shown(layout.value("usage"), cost)
                self._usage_shown = self._usage_shown or cost is not None
            elif layout.value("choices").translate(None, b" \t\r\n") in (b"", b"[]"):
                return b""
            else:
                news["usage"] = _NULL
        return layout.replaced(news)

    def _learn(self, event: bytes) -> None:
        """Make the form of an event with words in it, if its id and model stand before them."""
        layout, words = self._layout, _find_words(event)
        if layout is None or words is None or layout.text is not event:
            return
        start, end = words
        if layout.ends_before(_NAMES, start):
            new = layout.replaced(self._names_written)
            behind, _, padding = event[end:].partition(_PADDING)
            if padding:
                behind, padding = behind + _PADDING, padding[padding.find(b'"') :]
            self._form = _Form(event[:start], new[: len(new) - (len(event) - start)], behind, padding)

    def whole(self, body: bytes) -> bool:
        """Take in a plain reply; False if it is none, or an error in the clothes of one."""
        try:
            body.decode()  # What the decoder passes over, it does not look at.
            chunk = _decoder.decode(body)
        except UNREADABLE:
            return False
        self._written = bytes(chunk.id), bytes(chunk.model), bytes(chunk.usage)
        choices = chunk.choices
        if not choices or _given(chunk.error) or any(_failed(choice) for choice in choices):
            return False
        self._take_usage(chunk)
        self.delivered_bytes = sum(_content_bytes(choice.message) for choice in choices)
        self.events = 1 if self.delivered_bytes else 0
        self.finish_reason = next((choice.finish_reason for choice in choices if choice.finish_reason), None)
        self.finished = bool(self.events) or self.finish_reason is not None
        return self.finished

    def splice_whole(self, body: bytes, cost: Cost) -> bytes:
        """The plain reply as the caller gets it."""
        news = self._names_written | {"usage": self._shown(self._written[-1], cost)}
        spliced = self._spliced_plainly(body, tuple(news.values()))
        if spliced is None:
            spliced = lay_out(body, 0, len(body)).replaced(news)
        return spliced.strip()

    def _spliced_plainly(self, body: bytes, news: tuple[bytes, ...]) -> bytes | None:
        """The same for the plainest reply: each name stands in it once, so there it is the member; None for others.

        In JSON text a quote inside a string is escaped, so a bare `"id":` is a member of some object, and if there is
        but one, it is the one that was decoded.
        """
        places = []
        for name, old, new in zip(_PLAIN_NAMES, self._written, news, strict=True):
            at = body.find(name) + len(name)
            if at < len(name) or body.find(name, at) >= 0 or not old or not body.startswith(old, at):
                return None
            places.append((at, at + len(old), new))
        (start1, end1, new1), (start2, end2, new2), (start3, end3, new3) = sorted(places)
        return b"".join((body[:start1], new1, body[end1:start2], new2, body[end2:start3], new3, body[end3:]))

    def usage_event(self, usage: Usage, cost: Cost) -> bytes:
        """A usage event of our own, for a caller who asked where the provider sent none; else empty."""
        if self._usage_shown:
            return b""
        names = self._names_written
        return (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[],"usage":%b}\n\n'
            % (names["id"], self._names.created_s, names["model"], write_usage(usage, cost))
        )

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left."""
        return write_failure(fault, self._names)

    def _shown(self, raw: bytes, cost: Cost | None) -> bytes:
        """A usage object with our charge in it, and nothing of what the provider charges us.

        It is the provider's own but where that is not what was charged for: absurd counts are shown to nobody.
        """
        told = self._told if raw == self._told_raw else read_usage_raw(raw)
        if told is None or (cost is not None and told != self.usage):
            return write_usage(self.usage or Usage(), cost)
        if b"cost" in raw or b'"is_byok"' in raw:
            members = _members.decode(raw)
            raw = msgspec.json.encode(
                {name: value for name, value in members.items() if "cost" not in name and name != "is_byok"}
            )
        if cost is None:
            return raw
        return raw.rstrip()[:-1].rstrip() + cost_members(cost).encode() + b"}"


def _find_words(event: bytes) -> tuple[int, int] | None:
    """Where the only growing text of an event stands; None if there is none, or more than one."""
    starts = [match.end() for match in _GROWING.finditer(event)]
    if len(starts) != 1:
        return None
    rest = _STRING_REST.match(event, starts[0])
    assert rest is not None
    return rest.span()


def _lay_out(event: bytes, data: bytes) -> Layout:
    at = event.find(data)
    if at < 0:  # Several lines of data, which the object's text runs across: one line says the same.
        data = msgspec.json.format(data, indent=-1)
        return lay_out(b"data: %b\n\n" % data, len(b"data: "), len(b"data: ") + len(data))
    return lay_out(event, at, at + len(data))


def _broken() -> Fault:
    """A new one each time: an exception that is raised again keeps every traceback it ever had."""
    return Fault(
        Kind.PROVIDER_CUT, "The model's provider reported an error in the middle of its answer. Try again."
    )


def _failed(choice: _Choice) -> bool:
    return _given(choice.error) or choice.finish_reason in FAILURES


def _only_words(delta: _Delta) -> bool:
    """Whether content is all there is: so it is with most answers, and nothing else needs a look."""
    return (
        delta.tool_calls is None
        and delta.refusal is None
        and delta.reasoning_content is None
        and delta.reasoning is None
        and delta.reasoning_details is None
        and delta.function_call is None
        and delta.images is None
        and not _given(delta.audio)
    )


def _content_bytes(delta: _Delta | None) -> int:
    """How many bytes of an answer a delta or message carries; quotes, brackets and names of members are not content."""
    if delta is None:
        return 0
    if isinstance(delta.content, str) and _only_words(delta):
        return len(delta.content.encode())
    texts = [delta.refusal, delta.reasoning_content, delta.reasoning]
    raws = [delta.audio] if _given(delta.audio) else []
    details = None if any(texts) else delta.reasoning_details  # They repeat the text beside them.
    for part in (delta.content, details, delta.images):
        if isinstance(part, str):
            texts.append(part)
        elif part:
            raws += part
    size = sum(len(text.encode()) for text in texts if text) + sum(len(bytes(raw)) for raw in raws)
    functions = [call.function for call in delta.tool_calls or ()]
    for function in (*functions, delta.function_call):
        if function is not None:
            arguments = function.arguments or ""
            size += len((function.name or "").encode())
            size += len(arguments.encode() if isinstance(arguments, str) else msgspec.json.encode(arguments))
    return size + sum(len(bytes(call.custom)) for call in delta.tool_calls or () if _given(call.custom))
