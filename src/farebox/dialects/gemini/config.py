"""`generationConfig` and `toolConfig` ↔ what every dialect can say: sampling, output, reasoning, the choice of tools.

What is left of the two goes home as written. It is kept beside the members of the body, under its path
(`generationConfig.mediaResolution`), which is also how a caller is told that it does not travel.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from farebox.core.errors import Fault, Kind
from farebox.dialects.conversation import Members, Output, Reasoning, Sampling, Schema, ToolChoice
from farebox.dialects.gemini.openapi import json_schema
from farebox.dialects.gemini.part import listed
from farebox.dialects.members import FLAG, NUMBER, RAW, TEXT, WHOLE, Fields, written
from farebox.dialects.splice import UNREADABLE

SETTINGS: Final = "generationConfig"
TOOLS: Final = "toolConfig"
_CALLING: Final = "functionCallingConfig"
_JSON: Final = "application/json"
_JSON_TYPES: Final = (b'"application/json"', rb'"application\/json"')
_NULL: Final = b"null"
_OWN_SCHEMA: Final = "responseSchema"  # In Google's words; the others are JSON Schema.
_SCHEMAS: Final = (_OWN_SCHEMA, "responseJsonSchema", "_responseJsonSchema")
_THINKING: Final = "thinkingConfig"
DYNAMIC: Final = -1  # The model decides how long it thinks.
_Mode: TypeAlias = Literal["auto", "none", "required"]
_MODES: Final[dict[str, _Mode]] = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
_LEVELS: Final = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "xhigh"}
# Members without a field of ours that change the answer, each with the value that changes nothing.
BOUND: Final[dict[str, object]] = {
    "cachedContent": None,
    "continuationToken": None,
    f"{SETTINGS}.candidateCount": 1,
    f"{SETTINGS}.responseLogprobs": False,
    f"{SETTINGS}.logprobs": None,
    f"{SETTINGS}.responseModalities": ["TEXT"],
    f"{SETTINGS}.responseMimeType": "text/plain",
    f"{SETTINGS}.responseSchema": None,
    f"{SETTINGS}.responseJsonSchema": None,
    f"{SETTINGS}.responseFormat": None,
    f"{SETTINGS}.speechConfig": None,
    f"{SETTINGS}.imageConfig": None,
    f"{SETTINGS}.routingConfig": None,
    f"{SETTINGS}.modelSelectionConfig": None,
}


def is_bound(name: str, raw: bytes) -> bool:
    """Whether a member that is left changes the answer, so that nobody may leave it out."""
    try:
        value = msgspec.json.decode(raw)
    except UNREADABLE:  # A number that nothing can hold.
        return True
    if name == f"{TOOLS}.{_CALLING}":  # Modes that have no word elsewhere only make the model more careful.
        return isinstance(value, dict) and bool(
            value.get("allowedFunctionNames") or value.get("streamFunctionCallArguments")
        )
    return name in BOUND and value not in (None, BOUND[name])


class Settings(msgspec.Struct, frozen=True):
    """What the two say."""

    sampling: Sampling
    output: Output
    reasoning: Reasoning
    tool_choice: ToolChoice
    rest: Members


def read_settings(fields: Fields) -> Settings:
    """Take both out of a body."""
    config = fields.open(SETTINGS) or Fields(b"{}", SETTINGS)
    tools = fields.open(TOOLS) or Fields(b"{}", TOOLS)
    sampling, reasoning = _read_sampling(config), _read_reasoning(config)
    output = Output(config.take("maxOutputTokens", WHOLE), schema=_read_schema(config))
    choice = _read_choice(tools)
    rest = [(part.at(name), raw) for part in (config, tools) for name, raw in part.left()]
    return Settings(sampling, output, reasoning, choice, tuple(rest))


def write_settings(settings: Settings) -> dict[str, object]:
    """Both again, each if it says anything."""
    config = _write_sampling(settings.sampling) | _write_output(settings.output)
    config |= _write_reasoning(settings.reasoning)
    tools = _write_choice(settings.tool_choice)
    for path, raw in settings.rest:
        place, _, name = path.partition(".")
        (config if place == SETTINGS else tools)[name] = msgspec.Raw(raw)
    wire: dict[str, object] = {TOOLS: tools} if tools else {}
    return wire | ({SETTINGS: config} if config else {})


def _read_sampling(config: Fields) -> Sampling:
    stop = [_text(raw, config.at("stopSequences")) for raw in listed(config, "stopSequences")]
    return Sampling(
        temperature=config.take("temperature", NUMBER),
        top_p=config.take("topP", NUMBER),
        top_k=_read_whole(config, "topK"),
        frequency_penalty=config.take("frequencyPenalty", NUMBER),
        presence_penalty=config.take("presencePenalty", NUMBER),
        seed=config.take("seed", WHOLE),
        stop=tuple(stop),
    )


def _read_whole(config: Fields, name: str) -> int | None:
    """A count that some clients write as 40.0; a broken number stays where it is."""
    whole = config.find(name, WHOLE)
    if whole is not None:
        return whole
    number = config.find(name, NUMBER)
    if number is not None and not float(number).is_integer():
        raise Fault(Kind.BAD_REQUEST, f"{config.at(name)} must be a whole number.", param=config.at(name))
    return None if number is None else int(number)


def _text(raw: msgspec.Raw, path: str) -> str:
    return Fields(b'{"text":%b}' % raw, path).need("text", TEXT)


def _write_sampling(sampling: Sampling) -> dict[str, object]:
    return said(
        temperature=sampling.temperature,
        topP=sampling.top_p,
        topK=sampling.top_k,
        frequencyPenalty=sampling.frequency_penalty,
        presencePenalty=sampling.presence_penalty,
        seed=sampling.seed,
        stopSequences=sampling.stop or None,
    )


def _read_schema(config: Fields) -> Schema | None:
    """The form of a JSON answer; any other form stays among the members that are left."""
    members = dict(config.left())
    found = [name for name in _SCHEMAS if members.get(name, _NULL) != _NULL]
    if members.get("responseMimeType") not in _JSON_TYPES or len(found) > 1:
        return None
    config.take("responseMimeType", RAW)
    for name in found:
        config.take(name, RAW)
        raw = members[name]
        return Schema(schema=json_schema(raw) if name == _OWN_SCHEMA else raw, native=((name, raw),))
    return Schema()


def _write_output(output: Output) -> dict[str, object]:
    wire = said(maxOutputTokens=output.limit)
    schema = output.schema
    if schema is None:
        return wire
    wire["responseMimeType"] = _JSON
    if schema.native:
        return wire | written(schema.native)
    return wire | ({} if schema.schema is None else {_OWN_SCHEMA: msgspec.Raw(schema.schema)})


def _read_reasoning(config: Fields) -> Reasoning:
    raw = config.take(_THINKING, RAW)
    if raw is None:
        return Reasoning()
    thinking = Fields(raw, config.at(_THINKING))
    budget, level = thinking.find("thinkingBudget", WHOLE), thinking.find("thinkingLevel", TEXT)
    shown = thinking.find("includeThoughts", FLAG)
    effort = _LEVELS.get((level or "").upper())
    enabled = False if budget == 0 else True if budget or effort or shown else None
    if budget == DYNAMIC:
        budget = None
    return Reasoning(enabled, effort, budget, shown, native=((_THINKING, bytes(raw)),))


def _write_reasoning(reasoning: Reasoning) -> dict[str, object]:
    if reasoning.native:
        return {**written(reasoning.native)}
    if reasoning.enabled is False:
        return {_THINKING: {"thinkingBudget": 0}}
    if reasoning.enabled is None:
        return {}
    budget = DYNAMIC if reasoning.budget is None else reasoning.budget
    return {_THINKING: {"thinkingBudget": budget, "includeThoughts": reasoning.shown is not False}}


def _read_choice(tools: Fields) -> ToolChoice:
    """A choice that every dialect knows; any other stays whole."""
    raw = dict(tools.left()).get(_CALLING, _NULL)
    if not raw.startswith(b"{"):
        return ToolChoice()
    calling = Fields(raw, tools.at(_CALLING))
    mode = _MODES.get((calling.find("mode", TEXT) or "").upper())
    names = [_text(name, calling.path) for name in listed(calling, "allowedFunctionNames")]
    if mode is None or not calling.exhausted or (names and (mode != "required" or len(names) > 1)):
        return ToolChoice()
    tools.take(_CALLING, RAW)
    return ToolChoice("named", names[0]) if names else ToolChoice(mode)


def _write_choice(choice: ToolChoice) -> dict[str, object]:
    match choice.mode:
        case None:
            return {}
        case "auto" | "none":
            calling: dict[str, object] = {"mode": choice.mode.upper()}
        case "required":
            calling = {"mode": "ANY"}
        case "named":
            calling = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    return {_CALLING: calling}


def said(**members: object) -> dict[str, object]:
    """The members that say something."""
    return {name: value for name, value in members.items() if value is not None}
