"""Explaining a refusal: msgspec's sentences in words for an operator, at a key path."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import get_args

from farebox.config.lines import KeyPath
from farebox.config.settings import File
from farebox.config.shape import kind_at, members

_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_NEAR = 0.7  # "prot" is near to "port", and nothing is near to a word of another meaning.


def no_such(name: str, names: list[str], what: str = "setting") -> str:
    """Say that a name is unknown, with the nearest that is known."""
    near = get_close_matches(name, names, n=1, cutoff=_NEAR)
    return f"no such {what}" + (f' (did you mean "{near[0]}"?)' if near else "")


def explain(problem: str) -> tuple[KeyPath, str]:
    """Where a document is refused and why, from msgspec's sentence."""
    sentence, _, place = problem.rpartition(" - at `$") if " - at `$" in problem else (problem, "", "")
    path = _path(place)
    kind = kind_at(File, path)
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", sentence, re.DOTALL):
        return (*path, found[1]), no_such(found[1], list(members(kind)))
    if found := re.fullmatch(r"Object missing required field `(.*)`", sentence):
        return (*path, found[1]), "is required"
    if sentence.startswith("Invalid enum value"):
        return path, "write one of " + ", ".join(f'"{value}"' for value in get_args(kind))
    if found := re.fullmatch(r"Expected `([^`]*)`, got `(.*)`", sentence):
        wanted, got = (_WORDS.get(name.split(" | ")[0], f"a {name}") for name in found.groups())
        return path, f"expected {wanted}, got {got.removesuffix(' in quotes')}"
    if found := re.fullmatch(r"Expected `[^`]*` ([<>]=?) (.*?)(?:\.0)?", sentence):
        return path, f"must be {_BOUNDS[found[1]]} {found[2]}"
    if sentence == "Expected `str` of length >= 1":
        return path, "must not be empty"
    if found := re.fullmatch(r"Expected `str` of length ([<>]=?) (\d+)", sentence):
        return path, f"must have {_BOUNDS[found[1]]} {found[2]} characters"
    return path, sentence


def _path(place: str) -> KeyPath:
    """`.models[0].id` as a key path; keys of the operator's choice have values with readers, and never come here."""
    return tuple(int(index) if index else name for name, index in _STEP.findall(place))
