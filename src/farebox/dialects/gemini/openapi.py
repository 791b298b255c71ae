"""Google's `Schema`, a dialect of OpenAPI 3.0, as JSON Schema: for the providers of other languages.

At home a schema goes as it was written; nothing here is lost, only said in other words: types in small letters, null as
a type instead of `nullable`, bounds as numbers (ProtoJSON writes an int64 as text), names in their first spelling.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from farebox.dialects.gemini.spelling import snake
from farebox.dialects.splice import UNREADABLE

_Object: TypeAlias = dict[str, object]
_BOUNDS: Final = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
_SPELLINGS: Final = {
    snake(name): name for name in (*_BOUNDS, "anyOf", "propertyOrdering", "additionalProperties")
}
# Google's own notes, which say nothing about what is valid.
_NOTES: Final = frozenset({"nullable", "propertyOrdering"})
_NOTHING: Final = "type_unspecified"
_null: Final = {"type": "null"}


def json_schema(raw: bytes) -> bytes:
    """The same schema in the words of JSON Schema; as it is where it holds a number that nothing can hold."""
    try:
        return msgspec.json.encode(_schema(msgspec.json.decode(raw)))
    except UNREADABLE:
        return raw


def _schema(value: object) -> object:
    if not isinstance(value, dict):
        return value
    out: _Object = {}
    for key, inner in value.items():
        name = _SPELLINGS.get(str(key), str(key))
        if name in _NOTES:
            continue
        said = _member(name, inner)
        if said is not None:
            out[name] = said
    return _nullable(out) if value.get("nullable") is True else out


def _member(name: str, value: object) -> object:
    """One member's value; None where it says nothing."""
    match name:
        case "type" if isinstance(value, str):
            kind = value.lower()
            return None if kind == _NOTHING else kind
        case "items" | "additionalProperties":
            return _schema(value)
        case "anyOf" | "prefixItems" if isinstance(value, list):
            return [_schema(one) for one in value]
        case "properties" if isinstance(value, dict):
            return {key: _schema(one) for key, one in value.items()}
        case _ if name in _BOUNDS and isinstance(value, str) and value.isdecimal():
            return int(value)
    return value


def _nullable(out: _Object) -> _Object:
    kind, branches, values = out.get("type"), out.get("anyOf"), out.get("enum")
    if isinstance(kind, str):
        out["type"] = [kind, "null"]
    if isinstance(branches, list):
        out["anyOf"] = [*branches, _null]
    if isinstance(values, list):
        out["enum"] = [*values, None]
    return out
