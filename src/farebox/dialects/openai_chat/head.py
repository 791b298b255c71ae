"""The head of a chat completion: what is checked before any money moves, and what may travel to a provider.

Ranges are those of OpenAI's OpenAPI document and of the seeds. `REFUSED` names members that cost money outside tokens
or reach state kept at the provider, which all customers of an operator would share.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.body import COSTS, STATE, Suspects, decode_body, refused
from farebox.dialects.dialect import ASKED, Asked, Head, Rule
from farebox.dialects.nesting import check_nesting
from farebox.dialects.own import OWN, UNSERVED, OwnMembers
from farebox.dialects.seal import holds_seals

REFUSED: dict[str, str] = {
    "web_search_options": COSTS,
    "search_parameters": COSTS,
    "search_settings": COSTS,
    "enable_search": COSTS,
    "compound_custom": COSTS,
    "plugins": COSTS,
    "prediction": COSTS,
    "previous_response_id": STATE,
    "conversation": STATE,
    "container": STATE,
    "cached_content": STATE,
    "file_ids": STATE,
    "vector_store_ids": STATE,
}
RULES = (
    *(Rule(name, "refused", why) for name, why in REFUSED.items()),
    Rule("tools of other types than `function` and `custom`", "refused", COSTS),
    Rule("`modalities` beyond `text`", "refused", "audio output has no price here"),
    Rule("`service_tier` beyond `auto` and `default`", "refused", "other tiers have no price here"),
    Rule("`service_tier`", "stripped", "only the ordinary tier gets here"),
    Rule("`messages[].audio`", "refused", STATE),
    Rule("file_id, cached_content, vector_store_id, container_id anywhere inside", "refused", STATE),
    Rule(
        "`store`",
        "stripped",
        "`false` goes out: customers share the operator's account, so nothing is kept there",
    ),
)
# Deeper members of the same two kinds.
_STATE_INSIDE = ("file_id", "cached_content", "vector_store_id", "container_id")
# But not where names are the caller's own: a tool's parameters, the schema of an answer, the caller's notes.
_FREE_NAMES = frozenset({"parameters", "schema", "metadata"})

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


class _Body(OwnMembers, kw_only=True):
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
    prompt_cache_key: str | None = None


_suspects = Suspects(REFUSED, _STATE_INSIDE, _FREE_NAMES)
_body_decoder = msgspec.json.Decoder(_Body)
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_false = msgspec.Raw(b"false")
_usage_on = msgspec.Raw(b'{"include_usage":true}')


def read_head(body: bytes, asked: Asked = ASKED) -> Head:
    """Check a body; Fault BAD_REQUEST names the member and what it must be."""
    assert asked.model is None
    wire = decode_body(body, _body_decoder)
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
        dropped=UNSERVED if wire.character_id is not None else (),
        cache=wire.cache is True,
        sealed=holds_seals(body),
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
    if head.limited:
        # The word that every compatible server knows; a provider that wants the newer one has a quirk in its row.
        members["max_tokens"] = msgspec.Raw(b"%d" % (head.output_limit or 0))
        members.pop("max_completion_tokens", None)
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
            raise refused(f"messages[{at}].audio", STATE)
    return has_system


def _check_money_and_state(wire: _Body, body: bytes) -> None:
    _suspects.check(body)
    if wire.service_tier not in _ORDINARY_TIERS:
        raise refused("service_tier", f"the tier {wire.service_tier!r} has no price here")
    for modality in wire.modalities or ():
        if modality != "text":
            raise refused("modalities", f"{modality} output has no price here")
    for at, tool in enumerate(wire.tools or ()):
        if tool.type not in ("function", "custom"):
            raise refused(f"tools[{at}].type", f"the hosted tool {tool.type!r} has no price here")
