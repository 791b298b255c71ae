"""Which words of JSON Schema each provider's language knows, and what becomes of those it does not.

One row a keyword, one verdict a target; `dialects.schema` works from these rows and the docs print them. Sources:

gemini         Google's reference of `Schema` (a subset of OpenAPI 3.0), and the refusals that clients of it report:
               formats, enums of anything but texts, `required` without its property
anthropic      what Anthropic's own Python client keeps for structured output (`transform_schema`), and puts into the
               description otherwise
openai_strict  OpenAI's guide to structured outputs, "Supported schemas" (known from memory), and what its own Python
               client makes of a schema

Words of JSON Schema up to 2020-12 and of OpenAPI are here; any other is dropped, for it is defined nowhere.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

Verdict: TypeAlias = Literal["kept", "rewritten", "moved", "dropped"]
TARGETS: Final = ("gemini", "anthropic", "openai_strict")
TYPES: Final = (
    "string",
    "number",
    "integer",
    "boolean",
    "array",
    "object",
)  # And "null", which stands apart.


class Keyword(msgspec.Struct, frozen=True):
    """One word of JSON Schema."""

    name: str
    verdicts: tuple[Verdict, Verdict, Verdict]  # In the order of TARGETS.
    of: tuple[str, ...] = ()  # The types it says something of; none: every type.
    says: str = ""  # Its sentence in a description, `{}` standing for its value.
    how: str = ""  # What becomes of it where it is neither kept nor moved.
    shape: tuple[type, ...] = ()  # Of a value that may be passed on as it is.


_STRING: Final = ("string",)
_NUMBERS: Final = ("number", "integer")
_ARRAY: Final = ("array",)
_OBJECT: Final = ("object",)
_INT: Final[tuple[type, ...]] = (int,)
_NUMBER: Final[tuple[type, ...]] = (int, float)
_TEXT: Final[tuple[type, ...]] = (str,)

_KKK: Final = ("kept", "kept", "kept")
_RRR: Final = ("rewritten", "rewritten", "rewritten")
_MMM: Final = ("moved", "moved", "moved")
_DDD: Final = ("dropped", "dropped", "dropped")
_KMM: Final = ("kept", "moved", "moved")
_KMK: Final = ("kept", "moved", "kept")
_NAMES_NOTHING: Final = "names the schema, and nothing here asks for its name"

_ROWS: Final = (
    Keyword(
        "type",
        _RRR,
        how="one word in small letters, guessed from the other words where it is missing; several become `anyOf`; "
        "null becomes `nullable` for gemini and stays beside the other type elsewhere",
    ),
    Keyword("title", _KKK, shape=_TEXT),
    Keyword("description", _KKK, shape=_TEXT),
    Keyword("nullable", ("kept", "rewritten", "rewritten"), how="null joins the types"),
    Keyword(
        "enum",
        _RRR,
        says="One of: {}.",
        how="values of another type than the schema's are left out; moved where they are lists or objects, and for "
        "gemini where they are anything but texts with at least one letter",
    ),
    Keyword("const", _RRR, says="Always: {}.", how="becomes an `enum` of one"),
    Keyword("default", _MMM, says="Default: {}."),
    Keyword("examples", _MMM, says="Examples: {}."),
    Keyword("example", _MMM, says="Example: {}."),
    Keyword("deprecated", _MMM, says="Deprecated: {}."),
    Keyword("readOnly", _MMM, says="Read only: {}."),
    Keyword("writeOnly", _MMM, says="Write only: {}."),
    Keyword(
        "$ref",
        _RRR,
        says="As the schema {}.",
        how="replaced by what it refers to, twice at most inside itself and then by a bare type; for openai_strict a "
        "reference to a definition stays; moved where it leads out of the schema",
    ),
    Keyword("$defs", ("dropped", "dropped", "rewritten"), how="stands where it is referred to"),
    Keyword("definitions", ("dropped", "dropped", "rewritten"), how="as `$defs`, and becomes it"),
    Keyword("$dynamicRef", _MMM, says="As the schema {}."),
    Keyword("$recursiveRef", _MMM, says="As the schema {}."),
    Keyword("$schema", _DDD, how="names the edition of JSON Schema"),
    Keyword("$id", _DDD, how=_NAMES_NOTHING),
    Keyword("$anchor", _DDD, how=_NAMES_NOTHING),
    Keyword("$dynamicAnchor", _DDD, how=_NAMES_NOTHING),
    Keyword("$recursiveAnchor", _DDD, how=_NAMES_NOTHING),
    Keyword("$vocabulary", _DDD, how="names the edition of JSON Schema"),
    Keyword("$comment", _DDD, how="is written for those who keep the schema"),
    Keyword("discriminator", _DDD, how="a hint for parsers; `anyOf` says which schemas there are"),
    Keyword("xml", _DDD, how="says nothing of JSON"),
    Keyword("externalDocs", _DDD, how="an address that no model can read"),
    Keyword(
        "allOf",
        _RRR,
        says="Also: {}.",
        how="merged into its schema, the narrower of two limits counting; moved where two words cannot be merged",
    ),
    Keyword(
        "anyOf",
        _KKK,
        says="Also any of: {}.",
        how="null becomes the whole schema's; moved where it stands beside properties, items or values",
    ),
    Keyword("oneOf", _RRR, says="Also exactly one of: {}.", how="becomes `anyOf`"),
    Keyword("not", _MMM, says="Never: {}."),
    Keyword("if", _MMM, says="If it is like {}:"),
    Keyword("then", _MMM, says="then also {}."),
    Keyword("else", _MMM, says="else also {}."),
    Keyword("minLength", _KMM, _STRING, "At least {} characters.", shape=_INT),
    Keyword("maxLength", _KMM, _STRING, "At most {} characters.", shape=_INT),
    Keyword("pattern", _KMK, _STRING, "Matches the regular expression {}", shape=_TEXT),
    Keyword(
        "format",
        _RRR,
        ("string", "number", "integer"),
        "Format: {}.",
        how="kept where the language knows it, see below; else moved",
    ),
    Keyword("contentEncoding", _MMM, _STRING, "Encoded as {}."),
    Keyword("contentMediaType", _MMM, _STRING, "Media type: {}."),
    Keyword("contentSchema", _MMM, _STRING, "Holds JSON like {}."),
    Keyword("minimum", _KMK, _NUMBERS, "At least {}.", shape=_NUMBER),
    Keyword("maximum", _KMK, _NUMBERS, "At most {}.", shape=_NUMBER),
    Keyword(
        "exclusiveMinimum",
        ("rewritten", "moved", "kept"),
        _NUMBERS,
        "More than {}.",
        how="of an integer the next `minimum`; of other numbers moved",
        shape=_NUMBER,
    ),
    Keyword(
        "exclusiveMaximum",
        ("rewritten", "moved", "kept"),
        _NUMBERS,
        "Less than {}.",
        how="of an integer the next `maximum`; of other numbers moved",
        shape=_NUMBER,
    ),
    Keyword("multipleOf", ("moved", "moved", "kept"), _NUMBERS, "A multiple of {}.", shape=_NUMBER),
    Keyword("items", _KKK, _ARRAY, how="anything, where it is missing"),
    Keyword(
        "prefixItems",
        _RRR,
        _ARRAY,
        "Items by position: {}.",
        how="`items` allows each of them, and what may follow if that has a schema; the order is moved. So with a list "
        "in `items`",
    ),
    Keyword("additionalItems", _RRR, _ARRAY, how="joins `items` where those are a list"),
    Keyword("unevaluatedItems", _MMM, _ARRAY, "Further items: {}."),
    Keyword("contains", _MMM, _ARRAY, "Contains {}."),
    Keyword("minContains", _MMM, _ARRAY, "Contains it at least {} times."),
    Keyword("maxContains", _MMM, _ARRAY, "Contains it at most {} times."),
    Keyword(
        "minItems",
        ("kept", "rewritten", "kept"),
        _ARRAY,
        "At least {} items.",
        how="1 for anything above, which is moved",
        shape=_INT,
    ),
    Keyword("maxItems", _KMK, _ARRAY, "At most {} items.", shape=_INT),
    Keyword("uniqueItems", _MMM, _ARRAY, "No two items alike: {}."),
    Keyword("properties", _KKK, _OBJECT),
    Keyword(
        "required",
        ("kept", "kept", "rewritten"),
        _OBJECT,
        "Also required: {}.",
        how="every property; those that were not take null as well. Moved, for all, where there is no such property",
    ),
    Keyword(
        "propertyOrdering",
        ("kept", "dropped", "dropped"),
        _OBJECT,
        how="the order of `properties` says it",
        shape=(list,),
    ),
    Keyword("minProperties", _KMM, _OBJECT, "At least {} properties.", shape=_INT),
    Keyword("maxProperties", _KMM, _OBJECT, "At most {} properties.", shape=_INT),
    Keyword(
        "additionalProperties",
        _RRR,
        _OBJECT,
        "Further properties: {}.",
        how="left out for gemini, and `false` elsewhere, for nothing else is taken; a schema is moved",
    ),
    Keyword("unevaluatedProperties", _MMM, _OBJECT, "Further properties: {}."),
    Keyword("patternProperties", _MMM, _OBJECT, "Further properties by regular expression: {}."),
    Keyword("propertyNames", _MMM, _OBJECT, "Names of properties: {}."),
    Keyword("dependentRequired", _MMM, _OBJECT, "A property asks for others: {}."),
    Keyword("dependentSchemas", _MMM, _OBJECT, "A property asks for more: {}."),
    Keyword("dependencies", _MMM, _OBJECT, "A property asks for others: {}."),
)
KEYWORDS: Final[dict[str, Keyword]] = {row.name: row for row in _ROWS}
# Says something only where it is true.
FLAGS: Final = frozenset({"uniqueItems", "deprecated", "readOnly", "writeOnly"})
# Says something of values, so that it goes along into each branch of a union.
LIMITS: Final = frozenset({"type", *(row.name for row in _ROWS if row.of)})

_TEXT_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
# Target → type → the formats it knows.
FORMATS: Final[dict[str, dict[str, frozenset[str]]]] = {
    "gemini": {
        "string": frozenset({"date-time"}),
        "number": frozenset({"float", "double"}),
        "integer": frozenset({"int32", "int64"}),
    },
    "anthropic": {"string": _TEXT_FORMATS | {"uri"}},
    "openai_strict": {"string": _TEXT_FORMATS},
}


class Words(msgspec.Struct, frozen=True):
    """What one target knows of one type; of no type for "": what may be said of anything."""

    kept: dict[str, tuple[type, ...]]  # Keyword → the shapes of its value.
    moved: frozenset[str]


def words_of(target: str) -> dict[str, Words]:
    """The rows of one target by type, for looking up in a loop."""
    at = TARGETS.index(target)
    return {
        kind: Words(
            kept={row.name: row.shape for row in _rows_for(kind) if row.verdicts[at] == "kept" and row.shape},
            moved=frozenset(row.name for row in _rows_for(kind) if row.verdicts[at] == "moved"),
        )
        for kind in ("", *TYPES)
    }


def _rows_for(kind: str) -> list[Keyword]:
    return [row for row in _ROWS if not row.of or kind in row.of]
