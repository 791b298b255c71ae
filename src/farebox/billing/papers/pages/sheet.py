"""A sheet: the texts of a document in their order, without a look. HTML and PDF are made of the same one."""

from __future__ import annotations

import msgspec


class Party(msgspec.Struct, frozen=True):
    """Who sells or buys."""

    heading: str
    name: str
    lines: tuple[str, ...]


class Fact(msgspec.Struct, frozen=True):
    """One labelled text. `strong` is what the document is about."""

    label: str
    text: str
    strong: bool = False


class Column(msgspec.Struct, frozen=True):
    """A column; numbers stand to the right. `share` is its part of the width."""

    heading: str
    share: int
    number: bool = True


class Table(msgspec.Struct, frozen=True):
    """Rows under a heading; the last `strong` ones stand out."""

    heading: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: int = 0


class Sheet(msgspec.Struct, frozen=True):
    """A document. `name` is safe as the name of a file."""

    name: str
    title: str
    subtitle: str
    parties: tuple[Party, ...]
    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]
    totals: tuple[Fact, ...]
    notes: tuple[str, ...]
