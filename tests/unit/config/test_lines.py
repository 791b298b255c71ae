"""Lines of a TOML text: every key path that tomllib reads is found, on the line that says it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.config.lines import KeyPath, key_lines, write_path

AWKWARD = '''\
# [not.a.table]
top = "a # no comment, [no] {table}"

[ server . "tls.x" ]   # header with blanks
a.b."c d" = 1
long = """
[fake]
x = 1 \\"""
""""" # two quotes of the text, three that close
raw = \'\'\'
[[fake]]
\'\'\'
[server]
list = [ # comment ]
  1, [2,
  3], {x = "]", "y" = {z = 1979-05-27 07:32:00Z}},
]
empty = {}
none = []
[[models]]
id = 'a]b'
routes = [ { provider = "p" },
           { provider = "q", "\\u00e9" = 0.5 } ]
[models.cost]
input = "1"
[[models]]
id = "two"
[[models.routes]]
provider = "p"
[[models.routes]]
provider = "q"
[models.routes.cost]
input = "2"
'''


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key path of what tomllib read."""
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for step, member in members:
        yield (*path, step)
        yield from paths(member, (*path, step))


def test_every_path_that_tomllib_reads_has_its_line_and_no_other_has() -> None:
    assert set(key_lines(AWKWARD)) == set(paths(tomllib.loads(AWKWARD)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("server",), 4),
        (("server", "tls.x"), 4),
        (("server", "tls.x", "a", "b", "c d"), 5),
        (("server", "tls.x", "long"), 6),
        (("server", "tls.x", "raw"), 10),
        (("server", "list"), 14),
        (("server", "list", 0), 15),
        (("server", "list", 1, 1), 16),
        (("server", "list", 2, "y", "z"), 16),
        (("server", "none"), 19),
        (("models",), 20),
        (("models", 0), 20),
        (("models", 0, "routes", 0, "provider"), 22),
        (("models", 0, "routes", 1, "é"), 23),
        (("models", 0, "cost", "input"), 25),
        (("models", 1), 26),
        (("models", 1, "routes", 1, "provider"), 31),
        (("models", 1, "routes", 1, "cost", "input"), 33),
    ],
)
def test_a_path_has_the_line_that_opens_it(path: KeyPath, line: int) -> None:
    assert key_lines(AWKWARD)[path] == line


def test_line_ends_of_any_system_count_the_same() -> None:
    assert key_lines(AWKWARD.replace("\n", "\r\n")) == key_lines(AWKWARD)


def test_a_last_line_without_an_end_is_a_line() -> None:
    assert key_lines("a = 1\nb = 2")[("b",)] == 2
    assert key_lines("") == {}


KEYS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.integers(-9, 9) | st.booleans() | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def quoted(text: str) -> str:
    """A basic string with everything escaped that could be."""
    return '"' + "".join(f"\\U{ord(sign):08x}" if not sign.isalnum() else sign for sign in text) + '"'


def written(value: Any, gap: str) -> str:
    """A value as TOML, lists broken over lines by `gap`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{gap}" + f",{gap}".join(written(member, gap) for member in value) + f"{gap}]"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{quoted(key)} = {written(member, gap)}" for key, member in value.items()) + "}"
        )
    return str(value)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sampled_from(["", " ", "\n", "  # ] } \n", "\n\n\t"]))
def test_any_document_has_a_line_for_each_of_its_paths(document: dict[str, Any], gap: str) -> None:
    text = "".join(f"{quoted(key)} = {written(value, gap)}\n" for key, value in document.items())
    lines = key_lines(text)
    assert set(lines) == set(paths(tomllib.loads(text)))
    tops = [lines[key,] for key in document]
    assert tops == sorted(set(tops))


def test_a_path_is_written_as_people_write_it() -> None:
    assert write_path(("models", 0, "routes", 1, "provider")) == "models[0].routes[1].provider"
    assert write_path(("server", "hosts", "api.example")) == "server.hosts.'api.example'"
    assert write_path(()) == ""
