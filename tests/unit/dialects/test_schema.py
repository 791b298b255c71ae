"""Lowering of JSON Schema: what a target knows is kept, the rest is said in words, and no schema breaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farebox.dialects.schema import DEPTH_MAX, INLINED_MAX, SENTENCE_MAX, Lowered, lower_schema
from farebox.dialects.schema_table import FORMATS, KEYWORDS, TARGETS, TYPES

over_targets = pytest.mark.parametrize("target", TARGETS)

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.sampled_from(["", "a", "b"])
)
TYPE_WORDS = st.sampled_from([*TYPES, "null", "STRING", "OBJECT", "nonsense"])
REFS = st.sampled_from(
    ["#", "#/$defs/a", "#/$defs/b", "#/definitions/c", "#/$defs/none", "http://x.example", 7]
)


def schemas_over(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects of keywords, well-formed more often than not."""
    several = st.lists(inner, max_size=3)
    named = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    values: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPE_WORDS | st.lists(TYPE_WORDS, max_size=3),
        "enum": st.lists(SCALARS | st.just([1]), max_size=4),
        "properties": named,
        "required": st.lists(st.sampled_from("abcd"), max_size=4),
        "propertyOrdering": st.lists(st.sampled_from("abcd"), max_size=4),
        "anyOf": several,
        "oneOf": several,
        "allOf": several,
        "prefixItems": several,
        "items": inner | several,
        "$ref": REFS,
        "$defs": named,
        "definitions": named,
        "format": st.sampled_from(["date-time", "uri", "int32", "float", "own"]),
        "nullable": st.booleans(),
    }
    usual = st.fixed_dictionaries(
        {}, optional={word: values.get(word, SCALARS | inner) for word in (*KEYWORDS, "x-own")}
    )
    few = st.lists(st.sampled_from([*KEYWORDS, "x-own"]), max_size=5, unique=True).flatmap(
        lambda words: st.fixed_dictionaries({word: values.get(word, SCALARS | inner) for word in words})
    )
    return few | few | few | usual


SCHEMAS: st.SearchStrategy[Any] = st.recursive(SCALARS | st.just({}), schemas_over, max_leaves=12)


def lower(schema: object, target: str) -> Lowered:
    return lower_schema(json.dumps(schema).encode(), target)


def lowered(schema: object, target: str) -> Any:
    return json.loads(lower(schema, target).schema)


def nodes(schema: Any) -> Iterator[Any]:
    """Every schema in a lowered schema."""
    yield schema
    for inner in (*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()):
        yield from nodes(inner)
    for inner in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from nodes(inner)


def sayable(target: str) -> set[str]:
    """The words of a target, by the table, and those that others are rewritten to."""
    at = TARGETS.index(target)
    kept = {row.name for row in KEYWORDS.values() if row.verdicts[at] == "kept"}
    kept |= {"type", "enum", "format", "minItems", "required"}
    return (
        kept
        | ({"$ref", "$defs"} if target == "openai_strict" else set())
        | ({"additionalProperties"} if target != "gemini" else set())
    )


def assert_sayable(schema: Any, target: str) -> None:
    words, at_home = sayable(target), target == "gemini"
    for node in nodes(schema):
        assert set(node) <= words, node
        kind = node.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        assert kind is not None or "anyOf" in node or "$ref" in node
        assert kind is None or set(kinds) <= {*TYPES, "null"}
        assert not (at_home and isinstance(kind, list))
        assert ("items" in node) == ("array" in kinds)
        assert "anyOf" not in node or (len(node["anyOf"]) > 1 and kind is None)
        assert not (at_home and not all(isinstance(value, str) and value for value in node.get("enum", ())))
        assert not any(isinstance(value, list | dict) for value in node.get("enum", ()))
        assert node.get("format") is None or node["format"] in FORMATS[target][kinds[0]]
        properties = node.get("properties", {})
        assert set(node.get("required", ())) <= set(properties)
        if "object" in kinds and not at_home:
            assert node["additionalProperties"] is False
        if "object" in kinds and target == "openai_strict":
            assert node["required"] == list(properties)


@over_targets
@given(schema=SCHEMAS)
def test_only_words_that_the_target_knows_are_left(target: str, schema: object) -> None:
    assert_sayable(lowered(schema, target), target)


@over_targets
@given(schema=SCHEMAS)
@example(schema={"properties": {"a": {"type": "null"}}})
def test_lowering_a_lowered_schema_changes_nothing(target: str, schema: object) -> None:
    once = lowered(schema, target)
    assert lowered(once, target) == once


@over_targets
@given(schema=SCHEMAS)
def test_what_is_moved_is_in_a_description(target: str, schema: object) -> None:
    result = lower(schema, target)
    words = " ".join(node.get("description", "") for node in nodes(json.loads(result.schema)) if node)
    for keyword in result.moved:
        said = KEYWORDS[keyword].says.split("{}")[0]
        assert said in words
        assert KEYWORDS[keyword].verdicts[TARGETS.index(target)] in ("moved", "rewritten", "kept")


@over_targets
@given(text=st.binary(max_size=40) | SCHEMAS.map(lambda value: json.dumps(value).encode()))
def test_no_text_breaks_it(target: str, text: bytes) -> None:
    assert_sayable(json.loads(lower_schema(text, target).schema), target)


def pairs(depth: int = 2) -> st.SearchStrategy[tuple[Any, Any]]:
    """Schemas with a value that they accept."""
    words = st.text("abc", min_size=1, max_size=5)
    leaves = st.one_of(
        words.map(
            lambda word: ({"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[abc]+$"}, word)
        ),
        words.map(lambda word: ({"enum": [word, None, 3, ""]}, word)),
        words.map(lambda word: ({"const": word, "default": word}, word)),
        st.sampled_from([({"enum": [1, "a", None]}, None), ({"const": None}, None), ({"const": True}, True)]),
        st.integers(1, 9).map(
            lambda n: ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}, n)
        ),
        st.floats(1, 9).map(lambda n: ({"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 9}, n)),
        st.booleans().map(lambda flag: ({"type": ["boolean", "string"]}, flag)),
        st.just(({"type": ["string", "null"], "title": "T"}, None)),
    )
    if depth == 0:
        return leaves
    inner = pairs(depth - 1)
    return st.one_of(
        leaves,
        st.lists(inner, min_size=1, max_size=3).map(_tuple),
        st.lists(inner, min_size=1, max_size=3).map(_object),
        st.tuples(inner, inner).map(
            lambda two: ({"anyOf": [two[0][0], two[1][0]], "description": "D"}, two[1][1])
        ),
        inner.map(lambda one: ({"oneOf": [{"not": {}}, one[0]]}, one[1])),
        inner.map(lambda one: ({"allOf": [one[0], {"title": "All"}]}, one[1])),
        inner.map(lambda one: ({"$ref": "#/$defs/one", "$defs": {"one": one[0]}}, one[1])),
    )


def _tuple(members: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    schema = {"type": "array", "prefixItems": [schema for schema, _ in members], "maxItems": len(members)}
    return schema, [value for _, value in members]


def _object(members: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    named = {f"p{at}": one for at, one in enumerate(members)}
    schema = {
        "type": "object",
        "properties": {name: schema for name, (schema, _) in named.items()},
        "required": list(named),
        "additionalProperties": False,
    }
    return schema, {name: value for name, (_, value) in named.items()}


def with_null_as_type(schema: Any) -> Any:
    """Gemini's `nullable` in words that a validator knows."""
    if isinstance(schema, list):
        return [with_null_as_type(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: with_null_as_type(one) for name, one in schema.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


def rooted(schema: Any) -> Any:
    """References in generated schemas lead to the nearest definitions; written out, they lead there from the root."""
    if isinstance(schema, list):
        return [rooted(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema and "$defs" in schema:
        return rooted(schema["$defs"]["one"])
    return {name: rooted(one) for name, one in schema.items()}


@over_targets
@given(pair=pairs())
def test_a_value_that_the_schema_accepts_is_accepted_by_the_lowered_one(
    target: str, pair: tuple[Any, Any]
) -> None:
    schema, value = rooted(pair[0]), pair[1]
    jsonschema.validate(value, schema)
    jsonschema.validate(value, with_null_as_type(lowered(schema, target)))


@over_targets
@pytest.mark.parametrize("keyword", sorted(KEYWORDS))
def test_every_row_of_the_table_is_what_happens(keyword: str, target: str) -> None:
    """Each keyword stands alone in a schema of a type it speaks of, with a value that says something."""
    row = KEYWORDS[keyword]
    verdict = row.verdicts[TARGETS.index(target)]
    kind = row.of[0] if row.of else "string"
    value = VALUES.get(keyword, 3)
    plain: dict[str, Any] = {"type": kind} | ({"properties": {"a": {}}} if kind == "object" else {})
    schema = ({} if keyword in ("anyOf", "oneOf") else plain) | {keyword: value}
    result = lower({"type": "object", "properties": {"p": schema}, "required": ["p"]}, target)
    out = json.loads(result.schema)["properties"]["p"]
    match verdict:
        case "kept":
            assert keyword not in result.moved
            assert keyword in out
        case "moved":
            assert keyword in result.moved
            assert row.says.split("{}")[0] in out["description"]
            assert keyword not in out
        case "dropped":
            assert keyword not in result.moved
            assert keyword not in out
        case "rewritten":
            assert row.how
            if keyword not in AS_IT_WAS:
                assert out != lowered(plain, target)


# Rewritten words that leave no trace in these schemas: they matter elsewhere, or agree with what stands there.
AS_IT_WAS = {"$defs", "definitions", "type", "additionalItems", "additionalProperties", "required"}
VALUES: dict[str, Any] = {
    "type": "string", "title": "T", "description": "D", "nullable": True, "enum": ["a"], "const": "a",
    "examples": ["a"], "deprecated": True, "readOnly": True, "writeOnly": True, "uniqueItems": True,
    "$ref": "http://x.example", "$dynamicRef": "#x", "$recursiveRef": "#", "$defs": {}, "definitions": {},
    "allOf": [{"title": "All"}], "anyOf": [{"type": "string"}, {"type": "integer"}],
    "oneOf": [{"type": "string"}, {"type": "integer"}], "not": {"type": "null"}, "if": {"minLength": 1},
    "then": {"minLength": 2}, "else": {"minLength": 3}, "pattern": "a", "format": "own",
    "contentEncoding": "base64", "contentMediaType": "text/plain", "contentSchema": {"type": "null"},
    "items": {"type": "string"}, "prefixItems": [{"type": "string"}], "additionalItems": {"type": "string"},
    "unevaluatedItems": False, "contains": {"type": "string"}, "properties": {"a": {"type": "string"}},
    "required": ["a"], "propertyOrdering": ["a"], "additionalProperties": {"type": "string"},
    "unevaluatedProperties": False, "patternProperties": {"^x": {"type": "string"}},
    "propertyNames": {"pattern": "a"}, "dependentRequired": {"a": ["b"]}, "dependentSchemas": {"a": {"minLength": 1}},
    "dependencies": {"a": ["b"]}, "discriminator": {"propertyName": "a"}, "xml": {"name": "x"},
    "externalDocs": {"url": "http://x.example"},
}  # fmt: skip


def test_a_reference_that_opens_twice_as_many_each_time_stays_small() -> None:
    levels = {
        f"d{at}": {"type": "object", "properties": {side: {"$ref": f"#/$defs/d{at + 1}"} for side in "lr"}}
        for at in range(60)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": levels | {"d60": {"type": "string"}}}
    for target in TARGETS:
        out = lowered(schema, target)
        assert sum(1 for _ in nodes(out)) <= 5 * INLINED_MAX  # Whatever is cut takes up to six to say.
        assert_sayable(out, target)


def test_a_recursive_schema_is_shown_twice_and_then_named() -> None:
    tree = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    for target, cut in (("gemini", {}), ("anthropic", {"additionalProperties": False})):
        node = lowered(tree, target)
        for _ in range(2):
            node = node["properties"]["kids"]["items"]
            assert node["type"] == "object"
            assert "properties" in node
        last = node["properties"]["kids"]["items"]
        assert last == {"type": "object", "description": "Continues as the schema it stands in.", **cut}
    strict = lowered(tree, "openai_strict")
    assert strict["properties"]["kids"]["items"] == {"$ref": "#"}


def test_a_definition_that_refers_to_itself_stays_one_for_openai_alone() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}
    schema = {
        "type": "object",
        "properties": {"head": {"$ref": "#/$defs/Node"}, "unused": {"$ref": "#/$defs/Gone"}},
        "required": ["head", "unused"],
        "$defs": {"Node": node | {"required": ["next"]}, "Other": {"type": "string"}},
    }
    out = lowered(schema, "openai_strict")
    assert out["properties"]["head"] == {"$ref": "#/$defs/Node"}
    assert list(out["$defs"]) == ["Node"]
    assert out["$defs"]["Node"]["properties"]["next"]["anyOf"] == [{"$ref": "#/$defs/Node"}, {"type": "null"}]
    assert "As the schema #/$defs/Gone." in out["properties"]["unused"]["description"]
    assert "$defs" not in lowered(schema, "anthropic")


@pytest.mark.parametrize("opened", ["[", '{"properties":{"a":', '{"anyOf":[', '{"allOf":[', '{"not":'])
@over_targets
def test_depth_is_bounded(opened: str, target: str) -> None:
    closed = "".join({"[": "]", "{": "}"}[sign] for sign in reversed(opened) if sign in "[{")
    for levels in (45, 400, 100_000):
        text = opened * levels + "{}" + closed * levels
        assert_sayable(json.loads(lower_schema(text.encode(), target).schema), target)


def test_the_upper_levels_of_a_deep_schema_are_kept() -> None:
    schema: Any = {"type": "string"}
    for _ in range(400):
        schema = {"type": "object", "properties": {"a": schema}}
    out, levels = lowered(schema, "gemini"), 0
    while "properties" in out:
        out, levels = out["properties"]["a"], levels + 1
    assert levels == DEPTH_MAX + 1
    assert out == {"type": "object", "description": "Continues as the schema it stands in."}


def test_a_large_schema_is_not_brought_in_as_often_as_somebody_likes() -> None:
    large = {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(1_000)}}
    never = {f"n{at}": {"not": {"$ref": "#/$defs/large"}} for at in range(1_000)}
    schema = {"type": "object", "properties": never, "$defs": {"large": large}}
    words = [one["description"] for one in lowered(schema, "gemini")["properties"].values()]
    assert words[0].startswith('Never: {"type":"object","properties":{"p0":')
    assert words[-1] == 'Never: {"$ref":"#/$defs/large"}.'


def test_what_must_hold_twice_is_said_once() -> None:
    schema = {
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {
            "a": {"type": "string", "maxLength": 3},
            "b": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]},
        },
    }
    assert lowered(schema, "gemini") == {"type": "string", "maxLength": 3}


@over_targets
def test_a_value_that_is_moved_is_cut_where_nobody_would_read_on(target: str) -> None:
    out = lowered({"type": "string", "default": "x" * 10_000}, target)
    assert out["description"] == f"Default: {'x' * SENTENCE_MAX}…."


def test_what_gemini_refuses_is_said_in_its_own_words() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "name": {"type": ["string", "null"], "format": "uri", "description": "Who."},
            "size": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9.5, "exclusiveMaximum": True},
            "kind": {"const": "box"},
            "code": {"type": "integer", "enum": [1, 2]},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
            "any": {},
            "either": {"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        },
        "required": ["name", "missing"],
        "additionalProperties": False,
    }
    result = lower(schema, "gemini")
    pair = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    assert json.loads(result.schema) == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "nullable": True, "description": "Who.\nFormat: uri."},
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "kind": {"type": "string", "enum": ["box"]},
            "code": {"type": "integer", "description": "One of: [1,2]."},
            "pair": {
                "type": "array",
                "items": pair,
                "description": 'Items by position: [{"type":"string"},{"type":"integer"}].',
            },
            "any": {
                "anyOf": [
                    *({"type": kind} for kind in ("string", "number", "boolean", "object")),
                    {"type": "array", "items": {"type": "string"}},
                ],
                "nullable": True,
            },
            "either": pair | {"nullable": True},
        },
        "required": ["name"],
        "description": 'Also required: ["missing"].',
    }
    assert result.moved == ("format", "enum", "prefixItems", "required")


def test_openai_wants_every_property_and_null_stands_for_one_that_is_left_out() -> None:
    schema = {
        "type": "object",
        "properties": {
            "must": {"type": "string"},
            "may": {"type": "string", "enum": ["a"]},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "map": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Price"}},
        },
        "required": ["must"],
        "$defs": {"Price": {"type": "number"}},
    }
    out = lowered(schema, "openai_strict")
    assert out["required"] == ["must", "may", "either", "map"]
    assert out["properties"]["may"] == {"type": ["string", "null"], "enum": ["a", None]}
    assert out["properties"]["either"]["anyOf"][-1] == {"type": "null"}
    assert out["properties"]["map"]["description"] == 'Further properties: {"type":"number"}.'


def test_a_schema_of_geminis_own_spelling_is_understood() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "ARRAY", "minItems": "2", "nullable": True}}}
    out = lowered(schema, "openai_strict")
    assert out["type"] == "object"
    assert (out["properties"]["a"]["type"], out["properties"]["a"]["minItems"]) == (["array", "null"], 2)


def test_schemas_that_all_must_hold_become_one() -> None:
    schema = {
        "description": "The nearer counts.",
        "allOf": [
            {"$ref": "#/$defs/Base"},
            {"properties": {"a": {"maxLength": 3}, "b": {"type": "integer"}}, "required": ["b"]},
            {"type": "object", "minProperties": 1},
        ],
        "$defs": {
            "Base": {
                "type": "object",
                "description": "Farther away.",
                "properties": {"a": {"type": "string", "maxLength": 9}},
                "required": ["a"],
                "minProperties": 2,
            }
        },
    }
    assert lowered(schema, "gemini") == {
        "type": "object",
        "description": "The nearer counts.",
        "properties": {"a": {"type": "string", "maxLength": 3}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "minProperties": 2,
    }


def test_a_choice_beside_properties_is_said_in_words() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    out = lower(schema, "gemini")
    assert out.moved == ("anyOf",)
    assert json.loads(out.schema)["description"] == 'Also any of: [{"required":["a"]},{"required":["b"]}].'
