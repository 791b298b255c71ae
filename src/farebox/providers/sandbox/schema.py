"""The smallest valid value for a JSON schema: what the sandbox answers when an answer must have a form.

Smallest means: the properties that are required and no others (constants too: they tell branches of a union apart), the
fewest items, the number nearest to zero, the first branch that ends. Only strings are more than they must be: a free
one says "sandbox", so that a person sees where it came from. Not looked at: `not`, `if`, `contains`, `dependent…`.

A `$ref` never re-enters itself: the smallest value of a recursive schema has no need to, so such a branch is dead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from itertools import islice, product
from typing import TypeAlias, cast
from urllib.parse import unquote

import msgspec

from farebox.providers.sandbox.pattern import write_match

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Schema: TypeAlias = Mapping[str, object]

_STEPS_MAX = 10_000  # Schemas visited for one value; OpenAI allows 5,000 properties.
_DEPTH_MAX = 64
_PAIRS_MAX = 256  # Branches of two unions that both must hold.
_LENGTH_MAX = 100_000  # Characters of one string.
_EXTRA_MAX = 64  # Turns of a pattern's loops that are tried one by one.
_INT_MAX = 2**63 - 1
_WORD = "sandbox"
_FORMATS: Mapping[str, str] = {
    "date": "2024-01-01",
    "date-time": "2024-01-01T00:00:00Z",
    "duration": "PT1S",
    "email": "sandbox@example.com",
    "hostname": "example.com",
    "idn-email": "sandbox@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "iri": "https://example.com/",
    "json-pointer": "/sandbox",
    "regex": "sandbox",
    "time": "00:00:00Z",
    "uri": "https://example.com/",
    "uri-reference": "/sandbox",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
# The keywords that betray the type of a schema that does not say it.
_BETRAYING: Mapping[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_LOWEST_WINS = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_HIGHEST_WINS = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})


class SchemaError(ValueError):
    """No value can be made for this schema; the message says why."""


def smallest_json(schema: Schema) -> str:
    """The smallest value that is valid for `schema`, as JSON; SchemaError if there is none, or none that we find."""
    try:
        return msgspec.json.encode(_Maker(schema).value(schema)).decode()
    except RecursionError:
        raise SchemaError("a constant of the schema is nested too deeply") from None
    except OverflowError:
        raise SchemaError("a number of the schema is too large") from None


class _Maker:
    """Makes one value for one root schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._steps = 0
        self._depth = 0
        self._open: list[str] = []  # The references that we are inside of.
        self._turn = 0  # Which of several values that must differ.

    def value(self, schema: object) -> Json:
        """A value for a schema in any of its forms."""
        self._steps += 1
        if self._steps > _STEPS_MAX:
            raise SchemaError("the schema asks for too much")
        if schema is False:
            raise SchemaError("no value is valid for the schema false")
        if not isinstance(schema, Mapping):
            return None
        if self._depth >= _DEPTH_MAX:
            raise SchemaError("the schema is nested too deeply")
        self._depth += 1
        try:
            return self._resolved(schema)
        finally:
            self._depth -= 1

    def _resolved(self, schema: Schema) -> Json:
        """Take apart what refers to other schemas, one keyword at a time, until only plain keywords are left."""
        if isinstance(reference := schema.get("$ref"), str):
            if reference in self._open:
                raise SchemaError(f"{reference} needs itself without end")
            self._open.append(reference)
            try:
                return self.value(_merged(self._target(reference), _without(schema, "$ref")))
            finally:
                self._open.pop()
        if isinstance(parts := schema.get("allOf"), list):
            whole: object = _without(schema, "allOf")
            for part in parts:
                whole = _merged(whole, self._pulled(part))
            return self.value(whole)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(branches := schema.get(keyword), list):
                return self._first([_merged(_without(schema, keyword), branch) for branch in branches])
        return self._plain(schema)

    def _pulled(self, part: object) -> object:
        """A part of `allOf` with its reference followed, so that it can be merged."""
        seen: set[str] = set()
        while isinstance(part, Mapping) and isinstance(reference := part.get("$ref"), str):
            if reference in seen:
                raise SchemaError(f"{reference} needs itself without end")
            seen.add(reference)
            part = _merged(self._target(reference), _without(part, "$ref"))
        return part

    def _target(self, reference: str) -> object:
        """Follow a JSON pointer (RFC 6901) inside the root; nothing is ever fetched."""
        if reference != "#" and not reference.startswith("#/"):
            raise SchemaError(f"the reference {reference!r} is no pointer into the schema")
        place: object = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, Mapping) and name in place:
                place = place[name]
            elif isinstance(place, list) and name.isdecimal() and int(name[:9]) < len(place):
                place = place[int(name)]
            else:
                raise SchemaError(f"the reference {reference!r} leads nowhere")
        return place

    def _first(self, branches: list[object]) -> Json:
        """The value of the first branch that has one."""
        reason = SchemaError("a union without branches has no value")
        for branch in branches:
            try:
                return self.value(branch)
            except SchemaError as error:
                reason = error
        raise reason

    def _plain(self, schema: Schema) -> Json:
        if "const" in schema:
            return cast("Json", schema["const"])  # Whatever came out of a JSON document is one.
        if isinstance(allowed := schema.get("enum"), list):
            fitting = [item for item in allowed if _has_type(item, schema.get("type"))]
            if not fitting:
                raise SchemaError("an enumeration without members has no value")
            return cast("Json", fitting[self._turn % len(fitting)])
        types = schema.get("type")
        if isinstance(types, list):
            return self._first([{**schema, "type": name} for name in types])
        return self._typed(schema, types if isinstance(types, str) else _betrayed_type(schema))

    def _typed(self, schema: Schema, name: str) -> Json:
        match name:
            case "object":
                return self._object(schema)
            case "array":
                return self._array(schema)
            case "string":
                return _string(schema, self._turn)
            case "integer" | "number":
                return _number(schema, self._turn, whole=name == "integer")
            case "boolean":
                return bool(self._turn % 2)
            case "null":
                return None
        raise SchemaError(f"{name!r} is not a type")

    def _object(self, schema: Schema) -> Json:
        properties = _mapping(schema.get("properties"))
        required = _names(schema.get("required"))
        constant = [
            name for name, item in properties.items() if isinstance(item, Mapping) and "const" in item
        ]
        made = {name: self._property(schema, name) for name in [*required, *constant]}
        least, most = _whole(schema, "minProperties", 0), _whole(schema, "maxProperties", _STEPS_MAX)
        spare = [name for name in properties if name not in made]
        while len(made) < least:
            self._steps += 1
            name = spare.pop(0) if spare else f"{_WORD}_{len(made)}"
            made[name] = self._property(schema, name)
        if len(made) > most:
            for name in set(constant) - set(required):
                del made[name]
        if len(made) > most:
            raise SchemaError("more properties are required than allowed")
        return made

    def _property(self, schema: Schema, name: str) -> Json:
        properties = _mapping(schema.get("properties"))
        return self.value(
            properties[name] if name in properties else schema.get("additionalProperties", True)
        )

    def _array(self, schema: Schema) -> Json:
        least, most = _whole(schema, "minItems", 0), _whole(schema, "maxItems", _STEPS_MAX)
        if least > min(most, _STEPS_MAX):
            raise SchemaError("more items are required than allowed")
        return [self._item(schema, index) for index in range(least)]

    def _item(self, schema: Schema, index: int) -> Json:
        items, first = schema.get("items", True), schema.get("prefixItems")
        if isinstance(items, list):  # As prefixItems were written before 2020-12.
            first, items = items, schema.get("additionalItems", True)
        if isinstance(first, list) and index < len(first):
            items = first[index]
        outer = self._turn
        if schema.get("uniqueItems") is True:
            self._turn = index
            if items is True or items == {}:
                items = {"type": "integer"}
        try:
            return self.value(items)
        finally:
            self._turn = outer


def _without(schema: Schema, keyword: str) -> Schema:
    return {name: value for name, value in schema.items() if name != keyword}


def _merged(one: object, other: object) -> object:
    """One schema that asks for what both ask for; the other's word stands where the two cannot be joined."""
    if one is False or other is False:
        return False
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return other if isinstance(other, Mapping) else one
    joined = dict(one)
    for name, value in other.items():
        joined[name] = _joined(name, joined[name], value) if name in joined else value
    return joined


def _joined(name: str, one: object, other: object) -> object:
    """What two schemas say by the same keyword, in one."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        if name in _LOWEST_WINS:
            return min(one, other)
        return max(one, other) if name in _HIGHEST_WINS else other
    if name == "properties" and isinstance(one, Mapping) and isinstance(other, Mapping):
        return {
            **one,
            **{key: _merged(one[key], item) if key in one else item for key, item in other.items()},
        }
    if name == "required" and isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if name == "type":
        return _shared_types(one, other)
    if name == "enum" and isinstance(one, list) and isinstance(other, list):
        return [item for item in one if item in other]
    if name == "allOf" and isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if name in ("anyOf", "oneOf") and isinstance(one, list) and isinstance(other, list):
        return [_merged(*pair) for pair in islice(product(one, other), _PAIRS_MAX)]
    if name in ("items", "additionalProperties"):
        return _merged(one, other)
    return other


def _shared_types(one: object, other: object) -> object:
    """The types that both allow; an integer is a number."""
    ones = one if isinstance(one, list) else [one]
    others = other if isinstance(other, list) else [other]
    shared = [name for name in ones if name in others or (name == "integer" and "number" in others)]
    shared += [name for name in others if name == "integer" and "number" in ones and name not in shared]
    return shared[0] if len(shared) == 1 else shared


def _betrayed_type(schema: Schema) -> str:
    for name, keywords in _BETRAYING.items():
        if any(keyword in schema for keyword in keywords):
            return name
    return "null"


_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _has_type(value: object, types: object) -> bool:
    """Whether a member of an enumeration fits the type beside it."""
    if types is None:
        return True
    names = types if isinstance(types, list) else [types]
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _PYTHON_TYPES.get(str(name), ())) for name in names)


def _mapping(value: object) -> Schema:
    return value if isinstance(value, Mapping) else {}


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _whole(schema: Schema, name: str, default: int) -> int:
    value = schema.get(name)
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else default


def _string(schema: Schema, turn: int) -> str:
    least, most = _whole(schema, "minLength", 0), _whole(schema, "maxLength", _LENGTH_MAX)
    if least > min(most, _LENGTH_MAX):
        raise SchemaError("a longer string is required than allowed")
    if isinstance(pattern := schema.get("pattern"), str):
        for extra in (turn, *range(1, min(least, _EXTRA_MAX) + 1), least):
            text = write_match(pattern, extra)
            if text is None:
                break
            if least <= len(text) <= most:
                return text
    sample = _FORMATS.get(str(schema.get("format")))
    if sample is not None and least <= len(sample) <= most:
        return sample
    word = f"{_WORD}{turn}" if turn else _WORD
    return (word[-most:] if most else "") if most < len(word) else word.ljust(least, ".")


def _number(schema: Schema, turn: int, *, whole: bool) -> int | float:
    low, over = _bound(schema, "minimum", "exclusiveMinimum", 1)
    minus_high, under = _bound(schema, "maximum", "exclusiveMaximum", -1)
    high = None if minus_high is None else -minus_high
    step = _fraction(schema.get("multipleOf"))
    grid = abs(step) if step else Fraction(1)
    if whole:
        grid = Fraction(
            grid.numerator
        )  # The smallest whole number that is a multiple of a/b in lowest terms.
    least = None if low is None else math.floor(low / grid) + 1 if over else math.ceil(low / grid)
    most = None if high is None else math.ceil(high / grid) - 1 if under else math.floor(high / grid)
    index = _nearest(least, most, turn)
    if index is not None:
        return _plain_number(index * grid)
    if whole or step or low is None or high is None or low > high or (low == high and (over or under)):
        raise SchemaError("no number lies within the limits")
    return _plain_number(low + (high - low) * Fraction(turn + 1, turn + 2))  # No whole number lies between.


def _bound(schema: Schema, name: str, exclusive_name: str, sign: int) -> tuple[Fraction | None, bool]:
    """The higher of two lower bounds, and whether it is itself excluded; sign -1 mirrors upper bounds into lower."""
    inclusive, exclusive = _fraction(schema.get(name)), schema.get(exclusive_name)
    if exclusive is True:  # As draft 4 wrote it.
        return None if inclusive is None else sign * inclusive, True
    limit = _fraction(exclusive)
    if limit is None or (inclusive is not None and sign * inclusive > sign * limit):
        return None if inclusive is None else sign * inclusive, False
    return sign * limit, True


def _nearest(least: int | None, most: int | None, turn: int) -> int | None:
    """The whole number nearest to zero within the bounds; a later turn takes the next one up, then those below."""
    start = 0
    if least is not None:
        start = max(start, least)
    if most is not None:
        start = min(start, most)
    room = turn if most is None else min(turn, most - start)
    found = start + turn if room == turn else start - (turn - room)
    return found if least is None or found >= least else None


def _fraction(value: object) -> Fraction | None:
    """A number exactly as it was written."""
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(str(value))
    return Fraction(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _plain_number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 and abs(value) <= _INT_MAX else float(value)
