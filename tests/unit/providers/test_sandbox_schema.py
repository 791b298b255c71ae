"""Whatever the schema, the value made for it is valid: judged by a checker that shares nothing with the maker."""

from __future__ import annotations

import contextlib
import json
import math
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.providers.sandbox.pattern import write_match
from farebox.providers.sandbox.schema import SchemaError, smallest_json

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def is_valid(value: Any, schema: Any, root: Any = None) -> bool:
    """JSON Schema 2020-12, as far as these tests go."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        place = root
        for step in schema["$ref"].split("/")[1:]:
            place = place[step]
        if not is_valid(value, place, root):
            return False
    checks = [
        "type" not in schema or any(has_type(value, name) for name in as_list(schema["type"])),
        "const" not in schema or same(value, schema["const"]),
        "enum" not in schema or any(same(value, item) for item in schema["enum"]),
        all(is_valid(value, part, root) for part in schema.get("allOf", [])),
        "anyOf" not in schema or any(is_valid(value, part, root) for part in schema["anyOf"]),
        "oneOf" not in schema or sum(is_valid(value, part, root) for part in schema["oneOf"]) == 1,
        not isinstance(value, str) or is_valid_string(value, schema),
        not isinstance(value, int | float) or isinstance(value, bool) or is_valid_number(value, schema),
        not isinstance(value, list) or is_valid_array(value, schema, root),
        not isinstance(value, dict) or is_valid_object(value, schema, root),
    ]
    return all(checks)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def has_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, TYPES[name])


def same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def is_valid_string(value: str, schema: Any) -> bool:
    fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
    return fits and ("pattern" not in schema or re.search(schema["pattern"], value) is not None)


def is_valid_number(value: float, schema: Any) -> bool:
    exact = Fraction(str(value))
    return (
        schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < value < schema.get("exclusiveMaximum", math.inf)
        and ("multipleOf" not in schema or (exact / Fraction(str(schema["multipleOf"]))).denominator == 1)
    )


def is_valid_array(value: list[Any], schema: Any, root: Any) -> bool:
    first = schema.get("prefixItems", [])
    rest = schema.get("items", True)
    return (
        schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf)
        and all(is_valid(item, first[i] if i < len(first) else rest, root) for i, item in enumerate(value))
        and (not schema.get("uniqueItems") or len({json.dumps(item) for item in value}) == len(value))
    )


def is_valid_object(value: dict[str, Any], schema: Any, root: Any) -> bool:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    return (
        schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", math.inf)
        and set(schema.get("required", [])) <= set(value)
        and all(is_valid(item, known.get(name, others), root) for name, item in value.items())
    )


# Schemas that some value satisfies, so that a failure is always the maker's.

names = st.text("abcdef", min_size=1, max_size=4)
scalars = st.none() | st.booleans() | st.integers(-99, 99) | st.text("xyz", max_size=3)


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    least = draw(st.integers(0, 12))
    schema: dict[str, Any] = {"type": "string"}
    if draw(st.booleans()):
        schema["minLength"] = least
    if draw(st.booleans()):
        schema["maxLength"] = least + draw(st.integers(0, 9))
    elif draw(st.booleans()):
        schema["pattern"] = draw(
            st.sampled_from(
                ["^[a-z]+$", r"^\d{3}-\d{4,}$", "^(foo|bar)*[A-Z]", r"[^a-z]+@\w+\.com", ".*", "x?"]
            )
        )
    elif draw(st.booleans()) and "minLength" not in schema:
        schema["format"] = draw(st.sampled_from(["date", "date-time", "email", "uuid", "uri", "unheard-of"]))
    return schema


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    whole = draw(st.booleans())
    schema: dict[str, Any] = {"type": "integer" if whole else "number"}
    edges = st.integers(-500, 500) if whole else st.floats(-500, 500).map(lambda value: round(value, 3))
    low = draw(edges)
    step = draw(st.none() | st.sampled_from([1, 2, 5, 7] if whole else [0.01, 0.5, 3, 2.5]))
    if step is not None:
        schema["multipleOf"] = step
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        room = 2 * (step or 1) if whole or step else draw(st.sampled_from([0.001, 0.5, 40]))
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + room
    return schema


constants = st.builds(lambda value: {"const": value}, scalars | st.lists(scalars, max_size=2))
enumerations = st.builds(lambda values: {"enum": values}, st.lists(scalars, min_size=1, max_size=3))
simple = st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, True, {"type": ["null", "string"]}])
leaves = strings() | numbers() | constants | enumerations | simple


def arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={"minItems": st.integers(0, 3), "prefixItems": st.lists(inner, max_size=2)},
    )
    unique = st.fixed_dictionaries(
        {
            "type": st.just("array"),
            "items": st.sampled_from(
                [{"type": "integer"}, {"type": "string"}, {"enum": [1, "1", None, 4]}, {}]
            ),
            "minItems": st.integers(0, 4),
            "uniqueItems": st.just(True),
        }
    )
    return plain | unique


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(names, inner, max_size=4))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    schema["required"] = [name for name in properties if draw(st.booleans())]
    if draw(st.booleans()):
        schema["minProperties"] = draw(st.integers(0, len(properties)))
    schema["additionalProperties"] = draw(st.booleans())
    return schema


@st.composite
def unions(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    branches = draw(st.lists(inner, min_size=1, max_size=3))
    kind = draw(st.sampled_from(["anyOf", "allOf", "oneOf"]))
    if kind == "allOf":
        fields = {"type": "object", "properties": {"a": branches[0]}, "required": ["a"]}
        return {"allOf": [fields, {"properties": {"b": branches[-1]}, "required": ["b"]}]}
    if kind == "oneOf":
        tagged = [{"properties": {"tag": {"const": i}, "v": branch}} for i, branch in enumerate(branches)]
        return {"type": "object", "required": ["tag"], "oneOf": tagged}
    return {"anyOf": branches}


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    inner = st.recursive(leaves, lambda deep: arrays(deep) | objects(deep) | unions(deep), max_leaves=8)
    root = draw(objects(inner))
    root["$defs"] = {
        "part": draw(inner),
        "node": {"anyOf": [{"$ref": "#/$defs/node/never"}, {"$ref": "#/$defs/part"}]},
    }
    root["$defs"]["node"]["never"] = {"type": "array", "items": {"$ref": "#/$defs/node"}, "minItems": 1}
    root["properties"]["ref"] = draw(st.sampled_from([{"$ref": "#/$defs/part"}, {"$ref": "#/$defs/node"}]))
    root["required"] = [*root["required"], "ref"]
    return root


keywords = st.sampled_from(
    [
        *("type", "const", "enum", "anyOf", "oneOf", "allOf", "$ref", "$defs", "properties", "required"),
        *("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "additionalProperties"),
        *("minLength", "maxLength", "pattern", "format"),
    ]
)
telling = st.sampled_from(
    ["object", "array", "string", "integer", "number", "#", "#/$defs", "#/anyOf/0", "[a-z]{3}"]
)
nonsense = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | telling
    | st.text(),
    lambda deep: st.lists(deep, max_size=3) | st.dictionaries(keywords, deep, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)  # The machine may be busy; pytest bounds the whole.
@given(st.dictionaries(keywords, nonsense, max_size=6))
def test_a_schema_of_nonsense_has_a_value_or_is_refused(schema: dict[str, Any]) -> None:
    with contextlib.suppress(SchemaError):
        assert json.loads(smallest_json(schema)) == json.loads(smallest_json(schema))


@settings(deadline=None)
@given(schemas())
def test_the_value_made_for_any_schema_is_valid(schema: dict[str, Any]) -> None:
    text = smallest_json(schema)
    assert is_valid(json.loads(text), schema), text
    assert smallest_json(schema) == text


CASES: list[tuple[dict[str, Any], Any]] = [
    (
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]},
        {"a": "sandbox"},
    ),
    ({"type": "object", "required": ["unheard"]}, {"unheard": None}),
    ({"type": "object", "minProperties": 1, "additionalProperties": {"type": "integer"}}, {"sandbox_0": 0}),
    ({"properties": {"a": {"type": "boolean"}}}, {}),
    ({"type": "object", "properties": {"kind": {"const": "cat"}}}, {"kind": "cat"}),
    ({"type": "object", "properties": {"kind": {"const": "cat"}}, "maxProperties": 0}, {}),
    ({"type": "array", "items": {"type": "string"}}, []),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
    (
        {"type": "array", "items": {"type": "integer", "maximum": 1}, "minItems": 3, "uniqueItems": True},
        [0, 1, -1],
    ),
    ({"type": "array", "items": [{"const": 1}, {"const": 2}], "minItems": 3}, [1, 2, None]),
    ({"type": "integer", "minimum": 3.2, "multipleOf": 2}, 4),
    ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, 6),
    ({"type": "integer", "maximum": -7}, -7),
    ({"type": "integer", "multipleOf": 0.4, "minimum": 1}, 2),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "number", "minimum": 0.25, "maximum": 0.25}, 0.25),
    ({"type": "number", "minimum": 0.1, "multipleOf": 0.1}, 0.1),
    ({"type": "string", "maxLength": 4}, "dbox"),
    ({"type": "string", "maxLength": 0}, ""),
    ({"type": "string", "minLength": 9}, "sandbox.."),
    ({"type": "string", "format": "date"}, "2024-01-01"),
    ({"type": "string", "pattern": "^[A-Z]{2}[0-9]+$", "minLength": 6}, "AA0000"),
    ({"type": "string", "enum": ["red", "green"]}, "red"),
    ({"enum": [1, "one"], "type": "string"}, "one"),
    ({"type": ["integer", "null"]}, 0),
    ({"anyOf": [False, {"type": "boolean"}]}, False),
    (
        {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": False}},
        {"b": None},
    ),
    ({"allOf": [{"minimum": 3}, {"minimum": 5, "maximum": 9}, {"type": "integer"}]}, 5),
    ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 2]}]}, 2),
    ({"allOf": [{"type": ["integer", "string"]}, {"type": "number"}]}, 0),
    ({"allOf": [{"anyOf": [{"const": 1}, {"type": "string"}]}, {"anyOf": [{"maxLength": 2}]}]}, 1),
    (
        {"allOf": [{"$ref": "#/$defs/a"}, {"maximum": 4}], "$defs": {"a": {"type": "integer", "minimum": 4}}},
        4,
    ),
    ({"$ref": "#/definitions/a~1b%20c", "definitions": {"a/b c": {"const": "here"}}}, "here"),
    ({"$ref": "#/$defs/a/1", "$defs": {"a": [{"const": 0}, {"const": 1}]}}, 1),
    ({"$ref": "#/$defs/a", "minimum": 4, "$defs": {"a": {"type": "integer"}}}, 4),
    ({}, None),
]


@pytest.mark.parametrize(("schema", "value"), CASES, ids=[json.dumps(schema) for schema, _ in CASES])
def test_the_value_is_the_smallest_that_a_person_would_write(schema: dict[str, Any], value: Any) -> None:
    assert json.loads(smallest_json(schema)) == value


def test_a_recursive_schema_comes_to_its_end() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["next"],
    }
    assert json.loads(smallest_json({"$ref": "#/$defs/node", "$defs": {"node": node}})) == {"next": None}


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def constant(levels: int) -> dict[str, Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return {"const": value}


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "a property that nothing fits": {"properties": {"a": False}, "required": ["a"]},
    "an empty enumeration": {"enum": []},
    "an enumeration of another type": {"type": "string", "enum": [1]},
    "no branch": {"anyOf": []},
    "branches without values": {"oneOf": [False, {"type": "integer", "minimum": 2, "maximum": 1}]},
    "bounds in the wrong order": {"type": "number", "minimum": 2, "maximum": 1},
    "nothing between": {"type": "number", "minimum": 1, "exclusiveMaximum": 1},
    "no multiple between": {"type": "number", "minimum": 1, "maximum": 2, "multipleOf": 5},
    "a string longer than itself": {"type": "string", "minLength": 5, "maxLength": 4},
    "a string without end": {"type": "string", "minLength": 10**12},
    "an array longer than itself": {"type": "array", "minItems": 2, "maxItems": 1},
    "an array without end": {"type": "array", "minItems": 10**12},
    "an object without end": {"type": "object", "minProperties": 10**12},
    "more required than allowed": {"required": ["a", "b"], "maxProperties": 1},
    "types that share nothing": {"allOf": [{"type": "string"}, {"type": "integer"}]},
    "an unheard-of type": {"type": "quaternion"},
    "a reference to itself": {"$ref": "#"},
    "a reference to itself in allOf": {"allOf": [{"$ref": "#/allOf/0"}]},
    "a reference that needs itself": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}},
    },
    "a reference to nowhere": {"$ref": "#/$defs/missing"},
    "a reference to another document": {"$ref": "https://example.com/schema"},
    "a reference to a name": {"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}},
    "a reference beyond the last": {"$ref": "#/allOf/" + "9" * 5000, "$defs": {"allOf": []}, "allOf": [True]},
    "nesting without end": deep(200),
    "a constant nested without end": constant(100_000),
    "more branches than anyone has": {
        "allOf": [
            {"anyOf": [{"type": "integer", "minimum": i, "maximum": i - 1} for i in range(99)]}
            for _ in range(9)
        ]
    },
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_schema_without_a_value_is_refused_in_words(name: str) -> None:
    with pytest.raises(SchemaError, match=r"^\S+ .* \S+$"):
        smallest_json(IMPOSSIBLE[name])


def test_sixty_levels_are_not_too_deep() -> None:
    schema = deep(60)
    assert is_valid(json.loads(smallest_json(schema)), schema)


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "^$", "abc", "a|b", "(a|b)+c", "(?:x|y){2,3}", "()", "{x}", "é+"),
        *(
            "[^a-z0-9]",
            "[\\s\\S]*",
            "[a\\]b]c",
            "[à-ü]{3}",
            "[-a]",
            "[a-]{2}",
            "\\W\\D\\S\\s\\t",
            "\\.\\/\\-",
        ),
        *("(?<year>[0-9]{4})-\\d\\d", "[\\w.-]+@[\\w-]+\\.\\w{2,}", "^\\+?[1-9]\\d{1,14}$"),
        *("a{2}b{1,}?c*?", "^[A-Z][a-z]+(?: [A-Z][a-z]+)*$"),
    ],
)
def test_a_text_written_for_a_pattern_matches_it(pattern: str) -> None:
    for extra in (0, 1, 5):
        text = write_match(pattern, extra)
        assert text is not None
        assert re.search(re.sub(r"\(\?<(\w+)>", r"(?P<\1>", pattern), text), text


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)",
        "(?<!a)b",
        "\\bword",
        "(a)\\1",
        "\\p{L}",
        "*a",
        "(a",
        "[a",
        "a)",
        "[]",
        "a{9999}",
        "\\",
        "(" * 99,
    ],
)
def test_a_pattern_beyond_us_gives_nothing(pattern: str) -> None:
    assert write_match(pattern) is None


def test_a_pattern_that_multiplies_costs_nothing() -> None:
    assert write_match("((((a{999}){999}){999}){999}){999}") is None
    assert write_match("a?" * 100_000) is None
    assert json.loads(smallest_json({"type": "string", "pattern": "(?=impossible)"})) == "sandbox"
