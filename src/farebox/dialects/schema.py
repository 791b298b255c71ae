"""Lowering of JSON Schema: a caller's schema → the words that a provider's language knows.

Providers refuse schemas for a single keyword that they do not know. `lower_schema` keeps what a target knows, rewrites
what can be said in other words, and moves the rest as a sentence into the description, where the model still reads it;
`schema_table` has the row of every keyword. So the result is as wide as the caller's schema or wider, never narrower,
but where a target itself demands it: Anthropic and OpenAI's strict mode take no further properties, and OpenAI wants
every property there, null standing for one that is left out.

How it works: the schema is walked once from its root. What `$ref` and `allOf` bring along is gathered into one flat
schema first; then its types are settled, since no target takes a schema without; then its words are sorted by the
table. References are expanded as the walk goes, so their expansion is bounded: INLINED_MAX schemas in all, each at
most REPEATS_MAX times inside itself, and DEPTH_MAX levels. Beyond, a bare type stands with a sentence. The root of a
tool's parameters or of an answer must be an object for every provider; that is not this file's to mend.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import ceil, floor
from typing import Final
from urllib.parse import unquote

import msgspec

from farebox.dialects.schema_table import FLAGS, FORMATS, KEYWORDS, LIMITS, Words, words_of
from farebox.dialects.schema_types import (
    NULL,
    Json,
    distinct,
    find_whole,
    fits,
    merged,
    types_of,
    values_of,
)

DEPTH_MAX: Final = (
    50  # Levels of schemas; a body of 100 levels of JSON holds no more, but references can add some.
)
REPEATS_MAX: Final = 2  # A tree shows its leaves and one more level; models infer the rest.
INLINED_MAX: Final = 2_000  # Beyond what any provider takes, and a few milliseconds of work.
SENTENCE_MAX: Final = 500  # Characters of a value that is moved.
WORDS_MAX: Final = 200  # Values that are looked at for it: more do not fit.
_CUT: Final = "Continues as the schema it stands in."
_NOTHING_VALID: Final = "No value is valid here."
_NULL: Final[Json] = {"type": NULL}
_VALUES: Final = frozenset({"enum", "const"})
_HEAVY: Final = (LIMITS - {"type"}) | _VALUES
_EXCLUSIVE: Final = frozenset({"exclusiveMinimum", "exclusiveMaximum"})
# Where an empty list or object is a value like any other; elsewhere it asks for nothing.
_MAY_BE_EMPTY: Final = frozenset({"default", "example", "const", "enum", "not"})
_DEFINITIONS: Final = ("#/$defs/", "#/definitions/")


class Lowered(msgspec.Struct, frozen=True):
    """A schema in a target's words, and the keywords that became words of a description."""

    schema: bytes
    moved: tuple[str, ...]


class _Target(msgspec.Struct, frozen=True):
    words: dict[str, Words]
    formats: dict[str, frozenset[str]]
    anything: Json  # A schema for any value; none of them takes an empty one.
    closed: bool = True  # Wants `additionalProperties: false`.
    nullable: bool = False  # Says null by `nullable`, not as a type.
    all_required: bool = False
    keeps_refs: bool = False
    texts_only: bool = False  # In `enum`.


def _target(name: str, anything: Json, **facts: bool) -> _Target:
    return _Target(words_of(name), FORMATS[name], anything, **facts)


_PLAIN: Final[list[Json]] = [{"type": name} for name in ("string", "number", "boolean")]
_LIST: Final[Json] = {"type": "array", "items": {"type": "string"}}
_ANY_OPEN: Final[Json] = {"anyOf": [*_PLAIN, {"type": "object"}, _LIST], "nullable": True}
_ANY_CLOSED: Final[Json] = {
    "anyOf": [*_PLAIN, _NULL],
    "description": "Any JSON value; a list or an object as JSON text.",
}
_TARGETS: Final = {
    "gemini": _target("gemini", _ANY_OPEN, closed=False, nullable=True, texts_only=True),
    "anthropic": _target("anthropic", _ANY_CLOSED),
    "openai_strict": _target("openai_strict", _ANY_CLOSED, all_required=True, keeps_refs=True),
}


def lower_schema(schema: bytes, target: str) -> Lowered:
    """A JSON Schema, JSON text of any kind, as a target of `schema_table.TARGETS` takes it. Never fails."""
    try:
        lowering = _Lowering(msgspec.json.decode(schema, type=object), _TARGETS[target])
        lowered = lowering.root()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # No JSON, or nested deeper than anything that passes the way in: it says nothing.
        lowering = _Lowering({}, _TARGETS[target])
        lowered = lowering.root()
    return Lowered(msgspec.json.encode(lowered), tuple(lowering.moved))


class _Place(msgspec.Struct, frozen=True):
    """Where the walk is: how deep, and inside which references."""

    depth: int = 0
    within: tuple[str, ...] = ()

    def below(self) -> _Place:
        """One level deeper."""
        return _Place(self.depth + 1, self.within)


class _Lowering:
    """One schema on its way down."""

    def __init__(self, root: object, target: _Target) -> None:
        self.moved: dict[str, None] = {}  # A set that keeps its order.
        self._root = root
        self._target = target
        self._left = INLINED_MAX  # Schemas that may still come out of references.
        self._words = 0  # Values that may still go into a sentence.
        self._definitions: dict[str, object] = {}  # Those still referred to, as they were written.
        self._finish: dict[str, Callable[[Json, Json, _Place, list[str]], None]] = {
            "object": self._finish_object,
            "array": self._finish_array,
            "number": self._finish_number,
            "integer": self._finish_number,
        }

    def root(self) -> Json:
        """The whole schema, with the definitions that are still referred to."""
        out = self._node(self._root, _Place())
        definitions: Json = {}
        while len(definitions) < len(self._definitions):  # Lowering one may bring up others.
            for name, schema in list(self._definitions.items()):
                if name not in definitions:
                    definitions[name] = self._node(schema, _Place(1, (f"#/$defs/{name}",)))
        if definitions:
            out["$defs"] = definitions
        return out

    def _node(self, schema: object, place: _Place) -> Json:
        """One schema at any place."""
        if not isinstance(schema, dict):
            return self._anything(_NOTHING_VALID if schema is False else "")
        spent = False
        if place.within:
            self._left -= 1
            spent = self._left < 0  # What stands in the caller's own text is never cut for it.
        if spent or place.depth > DEPTH_MAX:
            return self._cut(schema)
        notes: list[str] = []
        if "$ref" in schema or "allOf" in schema:
            kept = self._find_kept(schema, place)
            if kept is not None:
                return kept
            schema, place, whole = self._gathered(schema, place, notes)
            if not whole:
                return self._cut(schema)
        branches = self._branches(schema, notes)
        if branches is None:
            return self._of_types(schema, place, notes)
        out = self._union(schema, branches, place, notes)
        return self._with_null(out) if schema.get("nullable") is True else out

    def _of_types(self, schema: Json, place: _Place, notes: list[str]) -> Json:
        """A schema whose types are its own: one, several, null alone, or any."""
        types, null = types_of(schema)
        if len(types) > 1:
            limits = {name: schema[name] for name in schema if name in LIMITS or name in _VALUES}
            out = self._union(schema, [{**limits, "type": one} for one in types], place, notes)
        elif not types:
            out = self._described(self._anything(""), schema, notes)
        elif types[0] == NULL:
            out = self._described(dict(_NULL), schema, notes)
        else:
            out = self._typed(schema, types[0], place, notes)
        return self._with_null(out) if null else out

    def _typed(self, schema: Json, kind: str, place: _Place, notes: list[str]) -> Json:
        """A schema of one type."""
        out: Json = {"type": kind}
        words = self._target.words[kind]
        kept, moved = words.kept, words.moved
        for keyword, value in schema.items():
            shape = kept.get(keyword)
            if shape is not None:
                if type(value) in shape:
                    out[keyword] = value
                elif (whole := find_whole(value)) is not None and int in shape:
                    out[keyword] = whole
            elif keyword in moved:
                self._move(keyword, value, notes)
        if "enum" in schema or "const" in schema:
            self._finish_values(schema, kind, out, notes)
        if "format" in schema and kind in KEYWORDS["format"].of:
            self._finish_format(schema["format"], kind, out, notes)
        finish = self._finish.get(kind)
        if finish is not None:
            finish(schema, out, place, notes)
        return _told(out, notes)

    def _described(self, out: Json, schema: Json, notes: list[str]) -> Json:
        """A schema without a type of its own, with the words that may be said of anything."""
        words = self._target.words[""]
        inner = out.get("description")
        for keyword, value in schema.items():
            if keyword in words.moved:
                self._move(keyword, value, notes)
            elif keyword in words.kept and type(value) in words.kept[keyword]:
                out[keyword] = value
        if inner and inner != out["description"]:
            out["description"] = f"{out['description']}\n{inner}"
        return _told(out, notes)

    def _branches(self, schema: Json, notes: list[str]) -> list[object] | None:
        """What the schema may be one of, if that can be said; else it is moved."""
        found: list[object] | None = None
        for word in ("anyOf", "oneOf"):
            members = schema.get(word)
            if not isinstance(members, list) or not members:
                continue
            if found is not None or any(
                type(schema[name]) in (dict, list) for name in schema if name in _HEAVY
            ):
                self._move(word, members, notes)
            else:
                limits = {name: schema[name] for name in schema if name in LIMITS}
                found = [{"allOf": [one, limits]} for one in members] if limits else members
        return found

    def _union(self, schema: Json, members: list[object], place: _Place, notes: list[str]) -> Json:
        below = place.below()
        branches = [self._node(member, below) for member in members]
        said = [branch for branch in branches if branch.get("type") != NULL]
        notes += [
            str(one["description"]) for one in branches if one.get("type") == NULL and "description" in one
        ]
        if not said:
            return self._described(dict(_NULL), schema, notes)
        out: Json = said[0] if len(said) == 1 else {"anyOf": said}
        if len(said) < len(branches):
            out = self._with_null(out)
        return self._described(out, schema, notes)

    def _with_null(self, out: Json) -> Json:
        """The schema, taking null as well."""
        if self._target.nullable:
            out["nullable"] = True
            return out
        kind, branches = out.get("type"), out.get("anyOf")
        if isinstance(branches, list):
            if not any(branch.get("type") == NULL for branch in branches):
                out["anyOf"] = [*branches, _NULL]
        elif "$ref" in out:
            return {"anyOf": [out, _NULL]}
        elif isinstance(kind, str) and kind != NULL:
            out["type"] = [kind, NULL]
            if isinstance(values := out.get("enum"), list):
                out["enum"] = [*values, None]
        return out

    def _finish_values(self, schema: Json, kind: str, out: Json, notes: list[str]) -> None:
        values = values_of(schema) or []
        chosen = distinct(value for value in values if fits(value, kind))
        sayable = chosen and kind not in ("array", "object")
        if sayable and (not self._target.texts_only or all(isinstance(one, str) and one for one in chosen)):
            out["enum"] = chosen
        elif "enum" in schema:
            self._move("enum", schema["enum"], notes)
        else:
            self._move("const", schema["const"], notes)

    def _finish_format(self, value: object, kind: str, out: Json, notes: list[str]) -> None:
        if isinstance(value, str) and value in self._target.formats.get(kind, ()):
            out["format"] = value
        elif isinstance(value, str):
            self._move("format", value, notes)

    def _finish_number(self, schema: Json, out: Json, _: _Place, notes: list[str]) -> None:
        """Limits that are not allowed themselves, in the form of a number or of draft 4, where a flag says so."""
        for word, limit, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
            value = schema.get(word)
            flagged = value is True and type(schema.get(limit)) in (int, float)
            bound = schema[limit] if flagged else value
            if not isinstance(bound, int | float) or isinstance(bound, bool):
                continue
            words = self._target.words[str(out["type"])]
            if word in words.kept:
                out[word] = bound
                if flagged:
                    del out[limit]
            elif word in words.moved:
                if flagged:
                    self._move(word, bound, notes)
            elif out["type"] == "integer":
                next_one = floor(bound) + 1 if step > 0 else ceil(bound) - 1
                present = out.get(limit)
                if isinstance(present, int | float):
                    next_one = max(next_one, ceil(present)) if step > 0 else min(next_one, floor(present))
                out[limit] = next_one
            else:
                self._move(word, bound, notes)

    def _finish_array(self, schema: Json, out: Json, place: _Place, notes: list[str]) -> None:
        items, prefix = schema.get("items"), schema.get("prefixItems")
        if isinstance(items, list):
            items, prefix = schema.get("additionalItems"), items
        if isinstance(prefix, list) and prefix:
            self._move("prefixItems", prefix, notes)
            members = distinct([*prefix, *([items] if isinstance(items, dict) and items else [])])
            items = members[0] if len(members) == 1 else {"anyOf": members}
        out["items"] = self._node(items, place.below()) if isinstance(items, dict) else self._anything("")
        least = schema.get("minItems")
        if "minItems" not in self._target.words["array"].kept and type(least) is int:
            out["minItems"] = min(max(least, 0), 1)
            if least > 1:
                self._move("minItems", least, notes)

    def _finish_object(self, schema: Json, out: Json, place: _Place, notes: list[str]) -> None:
        target, below = self._target, place.below()
        written, asked = schema.get("properties"), schema.get("required")
        properties: dict[str, Json] = {}
        if isinstance(written, dict):
            properties = {name: self._node(one, below) for name, one in written.items()}
        names = _names(asked)
        required = [name for name in names if name in properties]
        if len(required) < len(names):
            self._move("required", [name for name in names if name not in properties], notes)
        if target.all_required:
            for name in properties.keys() - set(required):
                properties[name] = self._with_null(properties[name])
            required = list(properties)
        if properties or target.all_required:
            out["properties"] = properties
        if required or target.all_required:
            out["required"] = required
        if isinstance(further := schema.get("additionalProperties"), dict):
            self._move("additionalProperties", further, notes)
        if target.closed:
            out["additionalProperties"] = False
        if order := [name for name in _names(out.pop("propertyOrdering", None)) if name in properties]:
            out["propertyOrdering"] = order

    def _anything(self, note: str) -> Json:
        """A schema for any value, in as many words as the target needs."""
        out = dict(self._target.anything)
        return {**out, "description": note} if note else out

    def _cut(self, schema: Json) -> Json:
        """What stands where the walk ends: a type, and a sentence that it goes on."""
        types, _ = types_of(schema)
        if len(types) != 1 or types[0] == NULL:
            return self._anything(_CUT)
        return self._typed({}, types[0], _Place(DEPTH_MAX), [_CUT])

    def _find_kept(self, schema: Json, place: _Place) -> Json | None:
        """A reference that may stay one: to a definition, with nothing beside it, or inside itself."""
        if not self._target.keeps_refs or place.depth == 0:
            return None
        ref = schema.get("$ref")
        if not isinstance(ref, str) or (len(schema) > 1 and ref not in place.within):
            return None
        if ref == "#":
            return {"$ref": ref}
        name = self._definition(ref)
        return None if name is None else {"$ref": _DEFINITIONS[0] + name}

    def _definition(self, ref: str) -> str | None:
        """The name of a definition at the root, noted as referred to."""
        current, older = _DEFINITIONS
        name = ref.removeprefix(current if ref.startswith(current) else older)
        found = self._resolved(ref)
        taken = not ref.startswith(current) and self._resolved(current + name) is not None
        if name == ref or any(sign in name for sign in "/~%") or not isinstance(found, dict) or taken:
            return None
        self._definitions.setdefault(name, found)
        return name

    def _resolved(self, ref: object) -> object:
        """What a reference points at in this schema (RFC 6901), by objects alone; None where it leads elsewhere."""
        if not isinstance(ref, str) or ref[:1] != "#" or ref[1:2] not in ("", "/"):
            return None
        found = self._root
        for step in ref.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict):
                return None
            found = found.get(name)
        return found

    def _gathered(self, schema: Json, place: _Place, notes: list[str]) -> tuple[Json, _Place, bool]:
        """A schema with all that it refers to and that must hold beside it; False where that goes on for ever."""
        parts: list[Json] = []
        brought: dict[str, None] = {}
        waiting: list[object] = [schema]
        while waiting:
            part = waiting.pop()
            if not isinstance(part, dict):
                notes += [_NOTHING_VALID] if part is False else []
                continue
            parts.append({name: value for name, value in part.items() if name not in ("$ref", "allOf")})
            others = part.get("allOf")
            if isinstance(others, list):
                waiting += reversed(others)
            if "$ref" not in part:
                continue
            ref = part["$ref"]
            found = self._resolved(ref)
            if not isinstance(ref, str) or not isinstance(found, dict | bool):
                self._move("$ref", ref, notes)
                continue
            if ref in brought:
                continue  # What holds already holds no more for being said again.
            self._left -= _weight(found)
            if isinstance(found, dict) and (place.within.count(ref) >= REPEATS_MAX or self._left < 0):
                return found, place, False
            brought[ref] = None
            waiting.append(found)
        flat, left = merged(parts)
        for one in left:
            self._move("allOf", one, notes)
        return flat, _Place(place.depth, (*place.within, *brought)), True

    def _move(self, keyword: str, value: object, notes: list[str]) -> None:
        """Say a keyword in words, unless it asks for nothing."""
        if value is None or (value is False and keyword in FLAGS):
            return
        if (value in ([], {}) and keyword not in _MAY_BE_EMPTY) or (
            isinstance(value, bool) and keyword in _EXCLUSIVE
        ):
            return
        self.moved[keyword] = None
        self._words = WORDS_MAX
        text = value if isinstance(value, str) else msgspec.json.encode(self._plain(value, _Place())).decode()
        if len(text) > SENTENCE_MAX:
            text = text[:SENTENCE_MAX] + "…"
        notes.append(KEYWORDS[keyword].says.replace("{}", text))

    def _plain(self, value: object, place: _Place) -> object:
        """A value with its references put in, so that it can be read where there are no definitions."""
        self._words -= 1
        if self._words < 0:
            return "…"
        if isinstance(value, list):
            return [self._plain(one, place) for one in value[:WORDS_MAX]]
        if not isinstance(value, dict):
            return value
        ref = value.get("$ref")
        fresh = self._left > 0 and place.within.count(str(ref)) < REPEATS_MAX
        found = self._resolved(ref) if fresh else None
        if isinstance(found, dict):
            self._left -= _weight(found)
            place = _Place(place.depth, (*place.within, str(ref)))
            value = {**found, **{name: one for name, one in value.items() if name != "$ref"}}
        return {name: self._plain(one, place) for name, one in islice(value.items(), WORDS_MAX)}


def _told(out: Json, notes: list[str]) -> Json:
    if notes:
        base = out.get("description")
        said = " ".join(dict.fromkeys(notes))
        out["description"] = f"{base}\n{said}" if base else said
    return out


def _names(value: object) -> list[str]:
    """The texts in a list, each once."""
    return (
        list(dict.fromkeys(one for one in value if isinstance(one, str))) if isinstance(value, list) else []
    )


def _weight(found: object) -> int:
    """What it costs to bring a schema in from elsewhere, in schemas: it is copied, with the names of its properties."""
    if not isinstance(found, dict):
        return 1
    properties = found.get("properties")
    return 1 + (len(found) + (len(properties) if isinstance(properties, dict) else 0)) // 100
