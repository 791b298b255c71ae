"""The items of `input` as they pass: what must be right about them, and what is taken out on the way to a provider.

A conversation whose calls and results do not match is refused here as OpenAI would refuse it, for where caller and
provider both speak this language nobody else looks at it. Ids of items are left out, because nothing is kept at the
provider; and so are thoughts that are nothing but an id.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.body import COSTS, STATE, refused
from farebox.dialects.openai_responses.rules import (
    ANSWERS,
    ENCRYPTED,
    ITEMS,
    WITHOUT_ID,
)

MESSAGE, REASONING = "message", "reasoning"
_ROLES = frozenset({"user", "assistant", "system", "developer"})
_SYSTEM = frozenset({"system", "developer"})
# The kinds of content that belong to one side alone.
_MODELS_CONTENT = frozenset({"output_text", "refusal"})
_CALLERS_CONTENT = frozenset({"input_text", "input_image", "input_file", "input_audio"})
_CALLS = frozenset(ANSWERS.values())
# What every item of a kind must say.
_NEEDED = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "custom_tool_call": ("call_id", "name"),
    "custom_tool_call_output": ("call_id", "output"),
    "shell_call": ("call_id",),
    "shell_call_output": ("call_id",),
    "apply_patch_call": ("call_id",),
    "apply_patch_call_output": ("call_id",),
    REASONING: ("summary",),
}
_NULL = b"null"
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")


class _Part(msgspec.Struct):
    type: str


class Item(msgspec.Struct):
    """One item, as far as it is checked."""

    type: str | None = None
    role: str | None = None
    content: str | list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[msgspec.Raw] | None = None
    summary: list[msgspec.Raw] | None = None
    encrypted_content: str | None = None


class Found(NamedTuple):
    """What the items tell the gateway."""

    has_system: bool
    hollow: bool  # There are thoughts that only a provider which kept them could read.


class _Passed(msgspec.Struct):
    type: str | None = None
    encrypted_content: str | None = None


_passed = msgspec.json.Decoder(_Passed)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode


def check_items(items: str | list[Item]) -> Found:
    """Fault BAD_REQUEST names the item that cannot be right, or that is not ours to pass on."""
    if isinstance(items, str):
        return Found(has_system=False, hollow=False)
    has_system = hollow = False
    pending: dict[tuple[str, str], int] = {}  # Calls that wait for their result.
    called: set[tuple[str, str]] = set()
    for at, item in enumerate(items):
        kind = item.type or (MESSAGE if item.role is not None else "item_reference")
        if kind == MESSAGE:
            has_system = _check_message(item, at) or has_system
        elif kind == REASONING:
            hollow = hollow or not item.encrypted_content
        _check_kind(item, kind, at)
        call = (ANSWERS.get(kind, kind), item.call_id or "")
        if kind in _CALLS:
            called.add(call)
            pending[call] = at
        elif kind in ANSWERS:
            if call not in called:
                raise _unpaired(at, f"no {call[0]} before it has this call_id")
            pending.pop(call, None)
    for at in pending.values():
        raise _unpaired(at, "no output answers this call")
    if hollow and all(item.type == REASONING and not item.encrypted_content for item in items):
        raise Fault(Kind.BAD_REQUEST, "input holds nothing that could be passed on.", param="input")
    return Found(has_system, hollow)


def clean_input(raw: msgspec.Raw) -> msgspec.Raw:
    """The items as they may go to a provider: as written, where nothing must be taken out."""
    text = bytes(raw)
    if not text.startswith(b"[") or not _is_suspect(text):
        return raw
    items = [_cleaned(item) for item in _items.decode(raw)]
    return msgspec.Raw(_encode([item for item in items if item is not None]))


def include_of(include: bytes, reasoning: bytes, store: bytes) -> bytes:
    """The `include` that goes out, as JSON; empty for none.

    A caller who lets us keep the conversation does not send the thoughts back, so they are asked for as a text. Only
    where the caller speaks of reasoning: many servers of this language do not know the word.
    """
    if store == b"false" or reasoning in (b"", _NULL):
        return include
    names = msgspec.json.decode(include, type=list[str] | None) if include else None
    return include if names and ENCRYPTED in names else _encode([*(names or ()), ENCRYPTED])


def _is_suspect(text: bytes) -> bool:
    return b'"id"' in text or b'"reasoning"' in text or _ESCAPED_LETTER.search(text) is not None


def _cleaned(raw: msgspec.Raw) -> msgspec.Raw | None:
    if not _is_suspect(bytes(raw)):
        return raw
    item = _passed.decode(raw)
    if item.type == REASONING and not item.encrypted_content:
        return None
    if (item.type or MESSAGE) not in WITHOUT_ID:
        return raw
    members = _members.decode(raw)
    if members.pop("id", None) is None:
        return raw
    return msgspec.Raw(_encode(members))


def _check_kind(item: Item, kind: str, at: int) -> None:
    if kind == "item_reference":
        raise refused(f"input[{at}].type", f"item_reference: {STATE}")
    if kind not in ITEMS:
        raise refused(f"input[{at}].type", f"{kind} belongs to a hosted tool: {COSTS}")
    for member in _NEEDED.get(kind, ()):
        if getattr(item, member) is None:
            raise _missing(f"input[{at}].{member}")


def _check_message(item: Item, at: int) -> bool:
    """Whether it is a system or developer message."""
    path = f"input[{at}]"
    if item.role is None or item.content is None:
        raise _missing(f"{path}.role" if item.role is None else f"{path}.content")
    if item.role not in _ROLES:
        roles = ", ".join(sorted(_ROLES))
        raise Fault(
            Kind.BAD_REQUEST, f"{path}.role is not right: it is one of {roles}.", param=f"{path}.role"
        )
    if isinstance(item.content, list):
        wrong = _CALLERS_CONTENT if item.role == "assistant" else _MODELS_CONTENT
        if not item.content and item.role != "assistant":
            raise _missing(f"{path}.content")
        for place, part in enumerate(item.content):
            if part.type in wrong:
                param = f"{path}.content[{place}].type"
                raise Fault(
                    Kind.BAD_REQUEST,
                    f"{param} is not right: a message of role {item.role} holds no {part.type}.",
                    param=param,
                )
    return item.role in _SYSTEM


def _missing(path: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{path} is missing.", param=path, code="missing_required_parameter")


def _unpaired(at: int, reason: str) -> Fault:
    path = f"input[{at}].call_id"
    return Fault(Kind.BAD_REQUEST, f"{path} is not right: {reason}.", param=path)
