"""OpenAI's OpenAPI document as a judge of answers; found where FAREBOX_OPENAPI says, else beside the repository.

Without the document the official SDK's own types judge alone: they are made from the same document.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

VARIABLE = "FAREBOX_OPENAPI"
ROOT = Path(__file__).parents[2]
_SCHEMAS = "/components/schemas/"


def find_document() -> Path | None:
    """The document, if it is here."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else ROOT.parent / "shared" / "specs" / "openai-openapi.yaml"
    assert named is None or path.is_file(), f"{VARIABLE} names {named}, which is no file"
    return path if path.is_file() else None


class Document:
    """The document's schemas, each made into a validator when it is first asked for."""

    def __init__(self, path: Path) -> None:
        # The C parser of PyYAML takes two seconds for the three megabytes, the other a minute.
        whole = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self._components = _modern(whole["components"])
        self._validators: dict[str, jsonschema.Draft202012Validator] = {}

    def check(self, name: str, value: Any) -> None:
        """An AssertionError says every way in which a value is not of a schema."""
        errors = sorted(self._validator(name).iter_errors(value), key=lambda error: list(error.absolute_path))
        assert not errors, f"{name}: " + "\n".join(_told(error) for error in errors[:5])

    def check_event(self, value: Any) -> None:
        """The same for one event of a streamed Response, by the schema of its type."""
        names = self._events()
        assert value["type"] in names, f"the document knows no event {value['type']!r}"
        self.check(names[value["type"]], value)

    def _validator(self, name: str) -> jsonschema.Draft202012Validator:
        found = self._validators.get(name)
        if found is None:
            schema = {"$ref": f"#{_SCHEMAS}{name}", "components": self._components}
            found = self._validators[name] = jsonschema.Draft202012Validator(schema)
        return found

    def _events(self) -> dict[str, str]:
        """Type of an event → its schema's name."""
        schemas = self._components["schemas"]
        names = [one["$ref"].rpartition("/")[2] for one in schemas["ResponseStreamEvent"]["anyOf"]]
        return {schemas[name]["properties"]["type"]["enum"][0]: name for name in names}


@cache
def read_document() -> Document | None:
    """The document, read once a process."""
    path = find_document()
    return Document(path) if path else None


def _modern(value: Any) -> Any:
    """The document says 3.1 and still writes `nullable`, which is 3.0's: a null beside the schema means the same."""
    if isinstance(value, list):
        return [_modern(one) for one in value]
    if not isinstance(value, dict):
        return value
    modern = {name: _modern(inner) for name, inner in value.items() if name != "nullable"}
    return {"anyOf": [modern, {"type": "null"}]} if value.get("nullable") is True else modern


def _told(error: jsonschema.ValidationError) -> str:
    place = ".".join(str(step) for step in error.absolute_path)
    inner = [f"{'.'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in error.context or ()]
    return f"{place}: {error.message[:300]} {inner[:4]}"
