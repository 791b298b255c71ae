"""What every provider checks alike: its own key, the members it knows, and JSON Schemas that are schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from tests.grid.facts import RefusedError, Schema
from tests.support.faulty import Recorded

KEY = "sk-grid-upstream-0123456789"


def read_body(request: Recorded, path: str, header: str, value: str) -> dict[str, Any]:
    """The body of a request that came to the right path with the right key, as JSON."""
    if (request.method, request.path) != ("POST", path):
        raise RefusedError(f"Unknown request URL: {request.method} {request.path}.", 404)
    if request.headers.get(header) != value:
        raise RefusedError(f"Incorrect credentials in {header}.", 401)
    if request.headers.get("content-type") != "application/json":
        raise RefusedError("Unsupported content type.", 415)
    wire = json.loads(request.body)
    assert isinstance(wire, dict)
    return wire


def know(wire: dict[str, Any], known: str, where: str = "", *, needed: str = "") -> None:
    """Refuse members that are unknown, and the lack of those that are needed; both lists are words."""
    for name in wire:
        if name not in known.split() and name not in needed.split():
            raise RefusedError(f"Unknown parameter: '{where}{name}'.")
    for name in needed.split():
        if name not in wire:
            raise RefusedError(f"Missing required parameter: '{where}{name}'.")


def check_schema(schema: Schema, where: str) -> None:
    """Refuse what is no JSON Schema of an object."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise RefusedError(f"Invalid schema for {where}: {error.message}.") from error
    if schema.get("type") != "object":
        raise RefusedError(f"Invalid schema for {where}: it must be of type object.")


def check_strict(schema: Schema, where: str) -> None:
    """OpenAI's strict mode: every object is closed, and every member of it required."""
    for inner in schemas_in(schema):
        if inner.get("type") == "object":
            if inner.get("additionalProperties") is not False:
                raise RefusedError(f"Invalid schema for {where}: 'additionalProperties' must be false.")
            if set(inner.get("required", ())) != set(inner.get("properties", {})):
                raise RefusedError(f"Invalid schema for {where}: 'required' must name every property.")


def check_keywords(schema: Schema, known: str, where: str) -> None:
    """Refuse keywords that are none of this provider's, whose list is words."""
    for inner in schemas_in(schema):
        for name in inner:
            if name not in known.split():
                raise RefusedError(f"Invalid schema for {where}: unknown keyword '{name}'.")


def schemas_in(schema: Schema) -> Iterator[Schema]:
    """A schema and all schemas inside it."""
    yield schema
    for value in schema.get("properties", {}).values():
        yield from schemas_in(value)
    for inner in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from schemas_in(inner)
