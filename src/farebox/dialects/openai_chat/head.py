"""The head of a chat completion: what is checked before any money moves, and what may travel to a provider.

Ranges are those of OpenAI's OpenAPI document and of the seeds. Two tables decide what never passes as it came:
`REFUSED` names members that cost money outside tokens or reach state kept at the provider, which all customers of an
operator would share; `OWN` are the gateway's own members, which no provider gets to see.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.dialect import Head
from farebox.dialects.nesting import check_nesting, check_utf8

OWN: frozenset[str] = frozenset(
    {
        "character_id",
        "cache",
        "no_cache",
        "models",
        "route",
        "provider",
        "session_id",
        "usage",
        "debug",
        "preset",
    }
)
DROPPED: tuple[str, ...] = (
    "character_id",
)  # Accepted, and told as dropped, until there is something behind them.

_COSTS = "it costs money outside tokens and has no price here"
_STATE = "it names state kept at a provider, which belongs to no single customer"
REFUSED: dict[str, str] = {
    "web_search_options": _COSTS,
    "search_parameters": _COSTS,
    "search_settings": _COSTS,
    "enable_search": _COSTS,
    "compound_custom": _COSTS,
    "plugins": _COSTS,
    "prediction": _COSTS,
    "previous_response_id": _STATE,
    "conversation": _STATE,
    "container": _STATE,
    "cached_content": _STATE,
    "file_ids": _STATE,
    "vector_store_ids": _STATE,
}
# Deeper members of the same two kinds.
_STATE_INSIDE = ("file_id", "cached_content", "vector_store_id", "container_id")
# But not where names are the caller's own: a tool's parameters, the schema of an answer, the caller's notes.
_FREE_NAMES = frozenset({"parameters", "schema", "metadata"})
# Most bodies have none of these words; one search of the bytes says so before anything is decoded for it.
_SUSPECT = re.compile('"(?:{})"'.format("|".join((*REFUSED, *_STATE_INSIDE))).encode())
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")  # A word may also be written so, and then that search misses it.

_ORDINARY_TIERS = frozenset({None, "auto", "default"})

Count = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]


class _AudioReference(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[msgspec.Raw] | None = None
    tool_calls: list[msgspec.Raw] | None = None
    tool_call_id: str | None = None
    audio: _AudioReference | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Typed(msgspec.Struct):
    type: str


class _Body(msgspec.Struct):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=4)] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    tools: list[_Typed] | None = None
    tool_choice: str | _Typed | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Typed | None = None
    reasoning_effort: str | None = None
    modalities: list[str] | None = None
    service_tier: str | None = None
    store: bool | None = None
    user: str | None = None
    session_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    prompt_cache_key: str | None = None
    models: Annotated[list[str], msgspec.Meta(max_length=3)] | None = None
    cache: bool | None = None
    no_cache: bool | None = None
    character_id: str | int | None = None


_body_decoder = msgspec.json.Decoder(_Body)
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_false = msgspec.Raw(b"false")
_usage_on = msgspec.Raw(b'{"include_usage":true}')


def read_head(body: bytes) -> Head:
    """Check a body; Fault BAD_REQUEST names the member and what it must be."""
    check_utf8(body)
    try:
        wire = _body_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(
            Kind.BAD_REQUEST,
            "The request body is not valid JSON. Send one JSON object in UTF-8.",
            code="invalid_json",
        ) from error
    check_nesting(body)
    has_system = _check_messages(wire.messages)
    _check_money_and_state(wire, body)
    options = wire.stream_options
    return Head(
        model=wire.model,
        stream=wire.stream is True,
        # A provider may know only one of the two.
        output_limit=max(wire.max_completion_tokens or 0, wire.max_tokens or 0) or None,
        choices=wire.n or 1,
        wants_usage=not wire.stream or (options is not None and options.include_usage is True),
        has_system=has_system,
        session=wire.session_id or wire.prompt_cache_key,
        fallback_models=tuple(wire.models or ()),
        dropped=DROPPED if wire.character_id is not None else (),
    )


def write_relayed(body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
    """The caller's members for a provider of this dialect: each value as it was written, declared splices only."""
    members = _members_decoder.decode(body)
    for name in OWN & members.keys():
        del members[name]
    members["model"] = msgspec.Raw(msgspec.json.encode(model))
    if head.stream and not ask_usage:
        members.pop("stream_options", None)
    elif head.stream:
        members["stream_options"] = _usage_on
    if "store" in members:  # Absent it is off already, and some compatible servers refuse to know the word.
        members["store"] = _false
    if "service_tier" in members:
        del members["service_tier"]  # Only "auto" and "default" get here: the provider's ordinary tier.
    return msgspec.json.encode(members)


def _check_messages(messages: list[_Message]) -> bool:
    """Whether a system or developer message is among them."""
    has_system = False
    for at, message in enumerate(messages):
        has_system = has_system or message.role in ("system", "developer")
        if message.content is None and message.role != "assistant":
            raise Fault(
                Kind.BAD_REQUEST,
                f"messages[{at}].content is missing: a message of role {message.role!r} needs content.",
                param=f"messages[{at}].content",
            )
        if message.role == "tool" and not message.tool_call_id:
            raise Fault(
                Kind.BAD_REQUEST,
                f"messages[{at}].tool_call_id is missing: say which tool call this answers.",
                param=f"messages[{at}].tool_call_id",
            )
        if message.audio is not None:
            raise _refused(f"messages[{at}].audio", _STATE)
    return has_system


def _check_money_and_state(wire: _Body, body: bytes) -> None:
    if _SUSPECT.search(body) is not None or (b"\\u00" in body and _ESCAPED_LETTER.search(body) is not None):
        _check_suspects(body)
    if wire.service_tier not in _ORDINARY_TIERS:
        raise _refused("service_tier", f"the tier {wire.service_tier!r} has no price here")
    for modality in wire.modalities or ():
        if modality != "text":
            raise _refused("modalities", f"{modality} output has no price here")
    for at, tool in enumerate(wire.tools or ()):
        if tool.type not in ("function", "custom"):
            raise _refused(f"tools[{at}].type", f"the hosted tool {tool.type!r} has no price here")


def _check_suspects(body: bytes) -> None:
    """Look where a suspect word really stands: inside a text it is harmless."""
    try:
        whole = msgspec.json.decode(body)
    except msgspec.ValidationError as error:  # Valid JSON, but with a number that Python cannot hold.
        raise _invalid(error) from error
    for name, reason in REFUSED.items():
        if whole.get(name) is not None:
            raise _refused(name, reason)
    for name in _STATE_INSIDE:
        if _has_member(whole, name):
            raise _refused(name, _STATE)


def _has_member(value: object, name: str) -> bool:
    """Whether an object anywhere inside has that member; the body's depth is bounded by now."""
    if isinstance(value, dict):
        return name in value or any(
            _has_member(inner, name) for key, inner in value.items() if key not in _FREE_NAMES
        )
    return isinstance(value, list) and any(_has_member(inner, name) for inner in value)


def _refused(member: str, reason: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{member} is not available: {reason}. Leave it out.", param=member)


def _invalid(error: msgspec.ValidationError) -> Fault:
    """Put msgspec's message (`Expected …, got … - at `$.a[0].b``) into a caller's words."""
    text, _, path = str(error).partition(" - at `$")
    param = path.rstrip("`").removeprefix(".").replace("[...]", "[]") or None
    if text.startswith("Object missing required field"):
        member = text.split("`")[1]
        param = f"{param}.{member}" if param else member
        return Fault(Kind.BAD_REQUEST, f"{param} is missing.", param=param, code="missing_required_parameter")
    return Fault(Kind.BAD_REQUEST, f"{param or 'The request body'} is not right: {text}.", param=param)
