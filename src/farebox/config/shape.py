"""The shape of settings: which keys a table has, of which type; and the way through a document along it."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from farebox.config.lines import KeyPath
from farebox.config.origin import Origins
from farebox.config.values import Reader


def members(struct: Any) -> dict[str, Any]:
    """A struct's members, by the names they have in a file, with their annotated types."""
    hints = get_type_hints(struct, include_extras=True)
    names = zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True)
    return {written: hints[name] for written, name in names}


def is_struct(kind: Any) -> bool:
    """Whether a type is a table with keys of ours, not of the operator's."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def find_reader(kind: Any) -> Reader | None:
    """The reader that a type carries."""
    found = (mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Reader))
    return next(found, None)


def kind_at(kind: Any, path: KeyPath) -> Any:
    """The type of what stands at a path below a type."""
    for step in path:
        kind = given(members(kind)[step] if is_struct(kind) and isinstance(step, str) else get_args(kind)[0])
    return kind


def given(kind: Any) -> Any:
    """The type of a member that is given: every union of settings is "or not given", None last."""
    return get_args(kind)[0] if get_origin(kind) in {Union, UnionType} else kind


def read_texts(value: Any, kind: Any, path: KeyPath, origins: Origins) -> Any:
    """A part of a document with every text that has a reader read; the rest is left for msgspec to judge."""
    kind = given(kind)
    reader = find_reader(kind)
    if reader is not None:
        return _read(value, reader, path, origins)
    if isinstance(value, list) and get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return [read_texts(member, inner, (*path, index), origins) for index, member in enumerate(value)]
    if isinstance(value, dict) and get_origin(kind) is dict:
        inner = get_args(kind)[1]
        return {key: read_texts(member, inner, (*path, key), origins) for key, member in value.items()}
    if isinstance(value, dict) and is_struct(kind):
        known = members(kind)
        return {
            key: read_texts(member, known[key], (*path, key), origins) if key in known else member
            for key, member in value.items()
        }
    return value


def _read(value: object, reader: Reader, path: KeyPath, origins: Origins) -> object:
    if not isinstance(value, str):
        origins.refuse(path, reader.unquoted)
    try:
        return reader.read(value)
    except ValueError as problem:
        origins.refuse(path, str(problem))
