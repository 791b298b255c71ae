"""The life of a streamed response, event by event: what may follow what, and that every sum is the sum of its parts.

created → in_progress → for each item: added → for each part: added → deltas → done → done → item done → the end.
Items may grow side by side; nothing grows before it was announced, and nothing after it was done.
"""

from __future__ import annotations

from typing import Any

from tests.grid.lines import need, same

_ENDS = {"response.completed", "response.incomplete", "response.failed"}


class _Item:
    """One item of the output while it grows."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = item
        self.open: set[int] = set()  # Indexes of parts that were announced and are not done.
        self.texts: dict[int, str] = {}
        self.told: dict[int, str] = {}
        self.done = False


class LifeCycle:
    """Takes the events of one stream in order."""

    def __init__(self) -> None:
        self.response: dict[str, Any] | None = None  # As the last event tells it.
        self.error: dict[str, Any] | None = None
        self.words = ""
        self._count = 0
        self._items: dict[int, _Item] = {}

    def take(self, event: dict[str, Any]) -> None:
        """Take one event; AssertionError if it may not come now."""
        assert self.response is None, f"{event['type']} comes after the end"
        kind = event["type"]
        same(f"number of {kind}", event["sequence_number"], self._count)
        self._count += 1
        if self._count <= 2:
            assert kind == ("response.created", "response.in_progress")[self._count - 1]
            assert event["response"]["status"] == "in_progress"
            assert event["response"]["output"] == []
        elif kind in _ENDS:
            self._end(event)
        elif kind == "error":
            need(event, "code", "message", "param")
            self.error = event
        else:
            assert self.error is None, "only response.failed follows an error"
            self._grow(event, kind)

    def _end(self, event: dict[str, Any]) -> None:
        self.response = event["response"]
        assert (event["type"] == "response.failed") == (self.error is not None)
        assert self.response["status"] == event["type"].removeprefix("response.")
        if self.error is None:
            assert all(item.done for item in self._items.values()), "an item was never done"
            done = [self._items[index].item for index in sorted(self._items)]
            assert self.response["output"] == done, "the output is not what the items were"

    def _grow(self, event: dict[str, Any], kind: str) -> None:
        index = event["output_index"]
        if kind == "response.output_item.added":
            assert index == len(self._items), "items are announced in their order"
            need(event["item"], "id", "type")
            self._items[index] = _Item(event["item"])
            return
        item = self._items[index]
        assert not item.done, f"{kind} comes after its item was done"
        if kind == "response.output_item.done":
            assert not item.open, "a part of this item was never done"
            assert event["item"]["id"] == item.item["id"]
            assert event["item"]["type"] == item.item["type"]
            item.item, item.done = event["item"], True
            _check_sum(item)
            return
        assert event["item_id"] == item.item["id"]
        self._grow_part(item, event, kind.removeprefix("response."))

    def _grow_part(self, item: _Item, event: dict[str, Any], kind: str) -> None:
        at = event.get("content_index", event.get("summary_index", 0))
        noun, _, verb = kind.rpartition(".")
        if noun in ("content_part", "reasoning_summary_part"):
            if verb == "added":
                assert at == len(item.texts), "parts are announced in their order"
                item.open.add(at)
                item.texts[at] = ""
            else:
                item.open.remove(at)
                assert event["part"]["text"] == item.told[at]
            return
        whole = {"function_call_arguments": "arguments"}.get(noun, "text")
        if noun == "function_call_arguments":
            item.texts.setdefault(at, "")
        else:
            assert at in item.open, f"{kind} comes outside of its part"
        if verb == "delta":
            assert at not in item.told, f"{kind} comes after its sum"
            item.texts[at] += event["delta"]
            self.words += event["delta"] if noun == "output_text" else ""
        else:
            assert event[whole] == item.texts[at], f"{kind} is not the sum of its deltas"
            item.told[at] = event[whole]


def _check_sum(item: _Item) -> None:
    """The finished item says what grew."""
    wire = item.item
    assert item.told.keys() == item.texts.keys(), "a text was never summed up"
    if wire["type"] == "function_call":
        assert wire["arguments"] == item.told[0]
    elif wire["type"] == "message":
        assert [part["text"] for part in wire["content"]] == [item.told[at] for at in sorted(item.told)]
    elif wire["type"] == "reasoning":
        assert [part["text"] for part in wire["summary"]] == [item.told[at] for at in sorted(item.told)]
