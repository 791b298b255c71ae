"""What a schema says of its values: which types they have, which they may be, and what several schemas say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import msgspec

from farebox.dialects.schema_table import KEYWORDS, TYPES

Json: TypeAlias = dict[str, object]

NULL: Final = "null"
_OF_VALUE: Final[dict[type, str]] = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
}  # fmt: skip


def types_of(schema: Json) -> tuple[tuple[str, ...], bool]:
    """The types of a schema's values, and whether null is one beside them.

    ("null",) where it is the only one, () where any type may come. Where the schema does not say them, its values do,
    else its first word that speaks of one type.
    """
    said = schema.get("type")
    names = {name.lower() for name in (said if isinstance(said, list) else [said]) if isinstance(name, str)}
    null, nullable = NULL in names, schema.get("nullable") is True
    types: tuple[str, ...] = tuple(
        one for one in TYPES if one in names and not (one == "integer" and "number" in names)
    )
    values = values_of(schema)
    if values is not None:
        found = {_OF_VALUE[type(value)] for value in values if value is not None}
        null = None in values and (null or not types)
        if types:
            types = tuple(one for one in types if any(fits(value, one) for value in values)) or types
        else:
            types = tuple(
                one for one in TYPES if one in found and not (one == "integer" and "number" in found)
            )
    elif not types and not null:
        types = next(((row.of[0],) for word in schema if (row := KEYWORDS.get(word)) and row.of), ())
    return ((NULL,), False) if null and not types else (types, null or nullable)


def values_of(schema: Json) -> list[object] | None:
    """The only values a schema allows, if it names them."""
    named = schema.get("enum")
    values = named if isinstance(named, list) and named else None
    if "const" not in schema:
        return values
    only = schema["const"]
    return [only] if values is None or only in values else values


def fits(value: object, kind: str) -> bool:
    """Whether a value is of a type."""
    own = None if value is None else _OF_VALUE[type(value)]
    if own == kind:
        return True
    whole = isinstance(value, float) and value.is_integer()
    return (kind == "number" and own == "integer") or (kind == "integer" and whole)


def distinct(values: Iterable[object]) -> list[object]:
    """The values without repetitions, compared as JSON."""
    return list({msgspec.json.encode(value): value for value in values}.values())


def find_whole(value: object) -> int | None:
    """A count written as 3.0, or as Google's JSON writes 64 bits: "3"."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < _DIGITS_MAX:
        return int(value)
    return None


_DIGITS_MAX: Final = 19  # Of 64 bits.


def merged(parts: Iterable[Json]) -> tuple[Json, list[Json]]:
    """Several schemas that all must hold as one, and what cannot be merged. Earlier words of description count."""
    said: dict[str, list[object]] = {}
    for part in parts:
        for word, value in part.items():
            said.setdefault(word, []).append(value)
    out: Json = {}
    left: list[Json] = []
    for word, values in said.items():
        first = values[0]
        if len(values) == 1 or all(value == first for value in values):
            out[word] = first
        elif word in _MERGES:
            out[word] = _MERGES[word](values)
        else:
            out[word] = first
            if word not in _NOTES:
                left += [{word: value} for value in values[1:] if value != first]
    return out, left


def _numbers(values: list[object]) -> list[int | float]:
    return [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def _largest(values: list[object]) -> object:
    return max(_numbers(values), default=None)


def _smallest(values: list[object]) -> object:
    return min(_numbers(values), default=None)


def _common_types(values: list[object]) -> object:
    """The types in all of them; a number that must be an integer as well is one. Without any, the first's."""
    sets = [
        {name.lower() for name in (value if isinstance(value, list) else [value]) if isinstance(name, str)}
        for value in values
    ]
    wide = [names | {"integer"} if "number" in names else names for names in sets]
    common = set.intersection(*wide)
    if any("number" not in names for names in sets):
        common.discard("number")
    return sorted(common) or values[0]


def _common_values(values: list[object]) -> object:
    lists = [value for value in values if isinstance(value, list)]
    if not lists:
        return values[0]
    sets = [{msgspec.json.encode(one) for one in each} for each in lists]
    return [one for one in distinct(lists[0]) if all(msgspec.json.encode(one) in each for each in sets)]


def _all_properties(values: list[object]) -> object:
    found: dict[str, list[object]] = {}
    for value in values:
        if isinstance(value, dict):
            for name, schema in value.items():
                found.setdefault(name, []).append(schema)
    return {name: _both(schemas) for name, schemas in found.items()}


def _both(schemas: list[object]) -> object:
    return schemas[0] if len(schemas) == 1 else {"allOf": schemas}


def _all_names(values: list[object]) -> object:
    return list(
        dict.fromkeys(
            name for each in values if isinstance(each, list) for name in each if isinstance(name, str)
        )
    )


def _narrowest(values: list[object]) -> object:
    """Of permissions for further properties: none, or the first schema, or all."""
    if False in values:
        return False
    return next((value for value in values if isinstance(value, dict)), values[0])


_LOWER: Final = (
    "minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains",
)  # fmt: skip
_UPPER: Final = (
    "maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains",
)  # fmt: skip
_MERGES: Final[dict[str, Callable[[list[object]], object]]] = {
    **dict.fromkeys(_LOWER, _largest),
    **dict.fromkeys(_UPPER, _smallest),
    "type": _common_types,
    "enum": _common_values,
    "properties": _all_properties,
    "required": _all_names,
    "additionalProperties": _narrowest,
    "items": _both,
    "nullable": any,
    "uniqueItems": any,
}
# What is said about a schema and not of its values: the nearest counts.
_NOTES: Final = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"}
    | {row.name for row in KEYWORDS.values() if "dropped" in row.verdicts}
)
