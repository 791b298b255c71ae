"""The head of a generateContent call: what is checked before any money moves, and what may travel to a provider.

The model and the form of the answer stand in the path. Shapes and ranges are those of Google's reference
(GenerateContentRequest, Content, GenerationConfig); like Google's parser, it takes one object where a list is meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypeVar

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.body import COSTS, STATE, invalid, no_json, refused
from farebox.dialects.dialect import ASKED, Asked, Head
from farebox.dialects.gemini.rules import (
    FUNCTIONS,
    ORDINARY_TIERS,
    REFUSED,
    REFUSED_SETTINGS,
    STRIPPED,
    is_public,
)
from farebox.dialects.gemini.spelling import respelled
from farebox.dialects.nesting import check_nesting, check_utf8
from farebox.dialects.own import OWN, UNSERVED, OwnMembers
from farebox.dialects.seal import holds_seals

T = TypeVar("T")
MODEL_MAX = 256  # Characters.
_ABSENT = msgspec.Raw()
_NULL = b"null"
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
Object = dict[str, msgspec.Raw]


class _Blob(msgspec.Struct, rename="camel"):
    data: str
    mime_type: str | None = None


class _File(msgspec.Struct, rename="camel"):
    file_uri: str
    mime_type: str | None = None


class _Call(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    id: str | None = None
    args: Object | None = None


class _ResultPart(msgspec.Struct, rename="camel"):
    inline_data: _Blob | None = None
    file_data: _File | None = None


class _Result(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    id: str | None = None
    response: Object | None = None
    parts: list[_ResultPart] | _ResultPart | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: _Blob | None = None
    file_data: _File | None = None
    function_call: _Call | None = None
    function_response: _Result | None = None

    @property
    def says(self) -> bool:
        """Whether it holds anything that is looked at here."""
        return any(
            value is not None
            for value in (
                self.text,
                self.function_call,
                self.inline_data,
                self.function_response,
                self.file_data,
                self.thought_signature,
            )
        )


class _Content(msgspec.Struct):
    parts: Annotated[list[_Part], msgspec.Meta(min_length=1)] | _Part
    role: Literal["user", "model", "function", ""] | None = None


class _System(msgspec.Struct):
    parts: list[_Part] | _Part | None = None
    role: str | None = None


class _Function(msgspec.Struct, rename="camel"):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    description: str | None = None
    parameters: Object | None = None
    parameters_json_schema: msgspec.Raw = _ABSENT


class _Calling(msgspec.Struct, rename="camel"):
    mode: str | None = None
    allowed_function_names: list[str] | str | None = None


class _ToolConfig(msgspec.Struct, rename="camel"):
    function_calling_config: _Calling | None = None


class _Thinking(msgspec.Struct, rename="camel"):
    thinking_budget: Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)] | None = None
    thinking_level: str | None = None
    include_thoughts: bool | None = None


class _Config(msgspec.Struct, rename="camel"):
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_k: Annotated[float, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    candidate_count: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None
    max_output_tokens: Count | None = None
    stop_sequences: str | Annotated[list[str], msgspec.Meta(max_length=5)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    response_mime_type: str | None = None
    response_schema: Object | None = None
    response_json_schema: msgspec.Raw = _ABSENT
    response_modalities: list[str] | str | None = None
    response_logprobs: bool | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    thinking_config: _Thinking | None = None
    speech_config: msgspec.Raw = _ABSENT
    image_config: msgspec.Raw = _ABSENT
    routing_config: msgspec.Raw = _ABSENT
    model_selection_config: msgspec.Raw = _ABSENT


class _Body(OwnMembers, kw_only=True, rename="camel"):
    contents: Annotated[list[_Content], msgspec.Meta(min_length=1)] | _Content
    system_instruction: _System | None = None
    tools: list[Object] | Object | None = None
    tool_config: _ToolConfig | None = None
    generation_config: _Config | None = None
    safety_settings: list[Object] | Object | None = None
    cached_content: msgspec.Raw = _ABSENT
    continuation_token: msgspec.Raw = _ABSENT
    service_tier: str | None = None
    store: bool | None = None


_SETTINGS = _Config()
_SETTINGS_NAMES = ("generationConfig", "generation_config")
_LIMIT_NAMES = ("maxOutputTokens", "max_output_tokens")
_body_decoder = msgspec.json.Decoder(_Body)
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)
_functions_decoder: msgspec.json.Decoder[list[_Function] | _Function] = msgspec.json.Decoder(
    list[_Function] | _Function
)
_loose_decoder = msgspec.json.Decoder(dict[str, object])
_members_decoder = msgspec.json.Decoder(Object)
_false = msgspec.Raw(b"false")


def read_head(body: bytes, asked: Asked = ASKED) -> Head:
    """Check a body; Fault BAD_REQUEST names the member and what it must be."""
    assert asked.model is not None
    if not 0 < len(asked.model) <= MODEL_MAX:
        raise Fault(
            Kind.BAD_REQUEST, f"model is not right: its name has 1 to {MODEL_MAX} letters.", param="model"
        )
    check_utf8(body)
    try:
        _raw_decoder.decode(body)
        check_nesting(body)
        spelled = respelled(body)
        wire = _body_decoder.decode(spelled)
    except msgspec.ValidationError as error:
        raise invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise no_json() from error
    settings = wire.generation_config or _SETTINGS
    _check_settings(settings)
    _check_contents(wire, spelled)
    _check_money_and_state(wire, settings)
    return Head(
        model=asked.model,
        stream=asked.stream is True,
        output_limit=settings.max_output_tokens,
        choices=settings.candidate_count or 1,
        has_system=_has_system(wire.system_instruction),
        session=wire.session_id,
        fallback_models=tuple(wire.models or ()),
        dropped=UNSERVED if wire.character_id is not None else (),
        array=asked.array,
        cache=wire.cache is True,
        sealed=holds_seals(body),
    )


def write_relayed(body: bytes, model: str, head: Head, *, ask_usage: bool = True) -> bytes:
    """The caller's members for a provider of this dialect: each value as it was written, declared splices only."""
    del model, ask_usage  # The path says the model and the form, and usage comes unasked.
    members = _members_decoder.decode(body)
    for name in OWN & members.keys():
        del members[name]
    for name in STRIPPED:
        members.pop(name, None)
    if "store" in members:
        members["store"] = _false
    if head.limited:
        _limit(members, head.output_limit or 0)
    return msgspec.json.encode(members)


def _limit(members: Object, tokens: int) -> None:
    """Write a limit into the settings, by whichever of Google's two spellings they have."""
    name = next((name for name in _SETTINGS_NAMES if _given(members.get(name, _ABSENT))), _SETTINGS_NAMES[0])
    settings = _members_decoder.decode(members[name]) if _given(members.get(name, _ABSENT)) else {}
    for limit in _LIMIT_NAMES:
        settings.pop(limit, None)
    settings[_LIMIT_NAMES[0]] = msgspec.Raw(b"%d" % tokens)
    members[name] = msgspec.Raw(msgspec.json.encode(settings))


def _listed(value: list[T] | T | None) -> list[T]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _given(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", _NULL)


def _has_system(system: _System | None) -> bool:
    return system is not None and any(part.text for part in _listed(system.parts))


def _check_settings(settings: _Config) -> None:
    """Google refuses a schema without the media type of JSON, and two schemas."""
    schemas = [settings.response_schema is not None, _given(settings.response_json_schema)]
    if all(schemas):
        raise _wrong(
            "generationConfig.responseJsonSchema", "there is a responseSchema as well; send one of them"
        )
    if any(schemas) and settings.response_mime_type not in ("application/json", "text/x.enum"):
        raise _wrong("generationConfig.responseMimeType", "an answer by a schema needs application/json")


def _check_contents(wire: _Body, spelled: bytes) -> None:
    called: set[str] = set()
    empty = False
    for at, content in enumerate(_listed(wire.contents)):
        for inside, part in enumerate(_listed(content.parts)):
            empty = empty or not part.says
            if part.function_call is not None:
                called |= {part.function_call.name, part.function_call.id or part.function_call.name}
            result = part.function_response
            if result is not None and result.name not in called and result.id not in called:
                path = f"contents[{at}].parts[{inside}].functionResponse"
                raise _wrong(path, f"no functionCall of the name {result.name!r} comes before it")
    if empty:
        _check_emptiness(spelled)


def _check_emptiness(spelled: bytes) -> None:
    """A part that holds nothing known: it may hold what only Google knows, or nothing at all, which Google refuses."""
    try:
        contents = _loose_decoder.decode(spelled)["contents"]
    except msgspec.ValidationError as error:  # Valid JSON, but with a number that Python cannot hold.
        raise invalid(error) from error
    for at, content in enumerate(contents if isinstance(contents, list) else [contents]):
        parts = content["parts"]
        for inside, part in enumerate(parts if isinstance(parts, list) else [parts]):
            if all(value is None or name == "thought" for name, value in part.items()):
                raise _wrong(f"contents[{at}].parts[{inside}]", "it is empty; say something or leave it out")


def _check_money_and_state(wire: _Body, settings: _Config) -> None:
    states = (wire.cached_content, wire.continuation_token)
    for (name, reason), raw in zip(REFUSED.items(), states, strict=True):
        if _given(raw):
            raise refused(name, reason)
    if wire.service_tier not in ORDINARY_TIERS:
        raise refused("serviceTier", f"the tier {wire.service_tier!r} has no price here")
    _check_costs(settings)
    for at, tool in enumerate(_listed(wire.tools)):
        _check_tool(tool, f"tools[{at}]")
    for at, content in enumerate(_listed(wire.contents)):
        _check_files(_listed(content.parts), f"contents[{at}].parts")
    if wire.system_instruction is not None:
        _check_files(_listed(wire.system_instruction.parts), "systemInstruction.parts")


def _check_costs(settings: _Config) -> None:
    costs = (
        settings.speech_config,
        settings.image_config,
        settings.routing_config,
        settings.model_selection_config,
    )
    for (name, reason), raw in zip(REFUSED_SETTINGS.items(), costs, strict=True):
        if _given(raw):
            raise refused(f"generationConfig.{name}", reason)
    for modality in _listed(settings.response_modalities):
        if modality.upper() not in ("TEXT", "MODALITY_UNSPECIFIED"):
            raise refused("generationConfig.responseModalities", f"{modality} output has no price here")


def _check_tool(tool: Object, path: str) -> None:
    for name, raw in tool.items():
        if not _given(raw):
            continue
        if name != FUNCTIONS:
            raise refused(f"{path}.{name}", COSTS)
        try:
            functions = _functions_decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise invalid(error, f"{path}.{FUNCTIONS}") from error
        for at, function in enumerate(_listed(functions)):
            if function.parameters is not None and _given(function.parameters_json_schema):
                member = f"{path}.{FUNCTIONS}[{at}].parametersJsonSchema"
                raise _wrong(member, "there are parameters as well; send one of them")


def _check_files(parts: Iterable[_Part], path: str) -> None:
    for at, part in enumerate(parts):
        files = [("fileData", part.file_data)]
        if part.function_response is not None:
            inner = _listed(part.function_response.parts)
            files += [
                (f"functionResponse.parts[{place}].fileData", one.file_data)
                for place, one in enumerate(inner)
            ]
        for name, file in files:
            if file is not None and not is_public(file.file_uri):
                raise refused(f"{path}[{at}].{name}.fileUri", STATE)


def _wrong(path: str, reason: str) -> Fault:
    return Fault(Kind.BAD_REQUEST, f"{path} is not right: {reason}.", param=path)
