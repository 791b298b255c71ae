"""The tap of a relayed Responses reply: what each event means, and the declared splices.

Nothing is spliced in an event of an item: what the provider calls its items is nobody's secret, and says nothing once
the provider keeps nothing. An event that carries the response object gets our id, model and cost, and says of `store`
and `previous_response_id` what the caller asked for: to the provider we said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.core.usage import Usage
from farebox.dialects.dialect import Cost, Head, Mark, Names
from farebox.dialects.openai_responses.event import (
    ADDED,
    ENDS,
    FAULTS,
    ITEM_DONE,
    NULL,
    Item,
    StreamEvent,
    Whole,
    data_in,
    find_event,
    find_item,
    find_whole,
)
from farebox.dialects.openai_responses.response import Outline, read_echo, write_failure
from farebox.dialects.openai_responses.usage import read_usage, show_usage, write_usage
from farebox.dialects.splice import UNREADABLE, Layout, lay_out

_NULL = b"null"
_DELTA = ".delta"
_TRUE = msgspec.Raw(b"true")
_WHOLE = frozenset({"completed", "incomplete", None})
# What is kept here and never at a provider.
_KEPT_HERE = ("store", "previous_response_id")
_TOLD_BY_DELTAS = frozenset({"message", "reasoning", "function_call", "custom_tool_call"})


class ResponsesTap:
    """Watches one relayed reply."""

    def __init__(self, head: Head, names: Names) -> None:
        self.usage: Usage | None = None
        self.fault: Fault | None = None
        self.finished = False
        self.finish_reason: str | None = None
        self.events = 0
        self.delivered_bytes = 0
        self._head = head
        self._names = {"id": msgspec.json.encode(names.id), "model": msgspec.json.encode(names.model)}
        self._outline = Outline(head, names)
        self._kept: dict[str, bytes] | None = None
        self._sequence = -1  # The last number that was seen.
        self._seen = b""  # The event seen last, and the response object in it.
        self._response = NULL
        self._end = b""  # The event that finished the reply.

    def see(self, event: bytes) -> Mark:
        """Classify one whole event."""
        data = data_in(event)
        found = find_event(data)
        if found is None:
            return self._see_strange(data.strip())
        self._seen, self._response = event, found.response
        if (
            found.sequence_number is not None and found.type not in FAULTS
        ):  # Those stay here; ours takes their place.
            self._sequence = found.sequence_number
        delta = found.delta
        if delta is None:
            return self._see_whole(event, found)
        if not delta or not found.type.endswith(_DELTA):
            return Mark.EMPTY
        self.events += 1
        self.delivered_bytes += len(delta.encode()) if isinstance(delta, str) else 1
        return Mark.CONTENT

    def _see_strange(self, data: bytes) -> Mark:
        if not data:
            return Mark.EMPTY
        if data == b"[DONE]" or self.finished:
            return Mark.DONE
        return self._fault()

    def _see_whole(self, event: bytes, found: StreamEvent) -> Mark:
        """An event that is no delta."""
        kind = found.type
        if kind in FAULTS or (found.error != NULL and not self.finished):
            return self._fault()
        if kind in ENDS:
            return self._finish(event, find_whole(found.response))
        if kind in (ADDED, ITEM_DONE):
            size = _announced_bytes(found, kind)
            if size:
                self.events += 1
                self.delivered_bytes += size
                return Mark.CONTENT
        return Mark.EMPTY

    def _finish(self, event: bytes, whole: Whole | None) -> Mark:
        if self.finished:
            return Mark.EMPTY
        if whole is None or whole.error != NULL or whole.status not in _WHOLE:
            return self._fault()
        self._take(whole)
        self.finished, self._end = True, event
        return Mark.FINISH

    def _take(self, whole: Whole) -> None:
        self.usage = (read_usage(whole.usage) if whole.usage != NULL else None) or self.usage
        details = whole.incomplete_details
        self.finish_reason = (details and details.reason) or whole.status or "completed"

    def _fault(self) -> Mark:
        self.fault = Fault(
            Kind.PROVIDER_CUT,
            "The model's provider reported an error in the middle of its answer. Try again.",
        )
        return Mark.FAULT

    def splice(self, event: bytes, cost: Cost | None) -> bytes:
        """The event as the caller gets it; what follows the end is withheld."""
        if event is not self._seen:
            found = find_event(data_in(event))
            self._seen, self._response = event, NULL if found is None else found.response
        if cost is not None and event is not self._end:
            return b""
        if self._response == NULL:
            return event
        return self._spliced(event, bytes(self._response), cost)

    def _spliced(self, event: bytes, response: bytes, cost: Cost | None) -> bytes:
        at = event.find(response)
        lines = event.count(b"\ndata:") + event.startswith(b"data:")
        if lines != 1 or event.find(response, at + 1) >= 0:
            # It runs across several lines of data, or stands there twice: then it is written anew, once.
            wire = msgspec.json.decode(data_in(event), type=dict[str, msgspec.Raw])
            response = msgspec.json.format(response, indent=-1)
            kind = bytes(wire.get("type", _TRUE))
            last = {name: raw for name, raw in wire.items() if name not in ("type", "response")}
            rest = b"".join(b',"%b":%b' % (name.encode(), bytes(raw)) for name, raw in last.items())
            event = b'event: %b\ndata: {"type":%b,"response":%b%b}\n\n' % (kind[1:-1], kind, response, rest)
            at = event.find(response)
        try:
            layout = lay_out(event, at, at + len(response))
        except UNREADABLE:
            return event
        return layout.replaced(self._news(layout, cost))

    def _news(self, layout: Layout, cost: Cost | None) -> Mapping[str, bytes]:
        members = layout.members
        news = self._names | {name: raw for name, raw in self._kept_here().items() if name in members}
        usage = layout.value("usage")
        if usage not in (b"", _NULL):
            news["usage"] = self._shown(usage, cost)
        elif cost is not None:
            news["usage"] = write_usage(self.usage or Usage(), cost)
        return news

    def _kept_here(self) -> dict[str, bytes]:
        if self._kept is None:
            echo = {"store": _TRUE, "previous_response_id": NULL} | read_echo(self._head)
            self._kept = {name: bytes(echo[name]) for name in _KEPT_HERE}
        return self._kept

    def _shown(self, raw: bytes, cost: Cost | None) -> bytes:
        """The provider's own usage but where that is not what was charged for: absurd counts are shown to nobody."""
        told = read_usage(raw)
        if told is None or (cost is not None and told != self.usage):
            return write_usage(self.usage or Usage(), cost)
        return show_usage(raw, cost)

    def whole(self, body: bytes) -> bool:
        """Take in a plain reply; False if it is none, or an error in the clothes of one."""
        try:
            body.decode()  # What the decoder passes over, it does not look at.
        except UnicodeDecodeError:
            return False
        whole = find_whole(body)
        if whole is None or whole.output is None or whole.error != NULL or whole.status not in _WHOLE:
            return False
        self._take(whole)
        self.delivered_bytes = sum(_item_bytes(raw) for raw in whole.output)
        self.events = 1 if self.delivered_bytes else 0
        self.finished = True
        return True

    def splice_whole(self, body: bytes, cost: Cost) -> bytes:
        """The plain reply as the caller gets it."""
        layout = lay_out(body, 0, len(body))
        return layout.replaced(self._news(layout, cost)).strip()

    def usage_event(self, usage: Usage, cost: Cost) -> bytes:
        """Nothing: the last event says it."""
        del usage, cost
        return b""

    def fail(self, fault: Fault) -> bytes:
        """An error inside a stream whose head has left."""
        return write_failure(fault, self._outline, self._sequence + 1, [])


def _announced_bytes(found: StreamEvent, kind: str) -> int:
    """What an item delivers that no delta tells: the name of a call, or all of it."""
    item = find_item(found.item)
    if item is None:
        return 0
    if kind == ADDED:
        return len((item.name or "").encode())
    if item.type in _TOLD_BY_DELTAS:
        return len(item.encrypted_content or "") and 1
    return len(bytes(found.item))


def _item_bytes(raw: msgspec.Raw) -> int:
    """How many bytes of an answer an item carries; names of members are not content."""
    item = find_item(raw)
    if item is None or item.type not in _TOLD_BY_DELTAS:
        return len(bytes(raw))
    size = sum(len(text.encode()) for text in _texts(item))
    if item.type == "custom_tool_call":
        return len(bytes(raw))
    return size or (1 if item.encrypted_content else 0)


def _texts(item: Item) -> list[str]:
    texts = [item.name or "", item.arguments if isinstance(item.arguments, str) else ""]
    for piece in (*(item.content or ()), *(item.summary or ())):
        texts += (piece.text or "", piece.refusal or "")
    return texts
