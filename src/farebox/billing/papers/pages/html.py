"""A sheet as one page of HTML: everything escaped, its style inside, no script, fit to be printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from farebox.billing.papers.pages.sheet import Column, Fact, Party, Sheet, Table

_STYLE = """
:root{color-scheme:light}
body{font:14px/1.45 system-ui,"Segoe UI",Roboto,"Noto Sans",sans-serif;color:#1a1a1a;background:#fff;
max-width:52rem;margin:2.5rem auto;padding:0 1.25rem}
header{display:flex;justify-content:space-between;align-items:baseline;gap:1rem;border-bottom:2px solid #1a1a1a;
padding-bottom:.6rem;margin-bottom:1.4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0}header p{font-size:1.1rem;margin:0;color:#555}
h2{font-size:1rem;margin:1.8rem 0 .4rem}
.sides{display:grid;grid-template-columns:1fr 1fr 1fr;gap:1.5rem}
.sides h2{font-size:.75rem;text-transform:uppercase;letter-spacing:.05em;color:#666;margin:0 0 .25rem}
.sides p{margin:0;overflow-wrap:anywhere}.sides p.name{font-weight:600}
dl{margin:0;display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;align-content:start}
dt{color:#666}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;margin-top:.3rem}
th{font-size:.8rem;color:#555;font-weight:600;border-bottom:1px solid #999;vertical-align:bottom}
th,td{padding:.3rem .6rem .3rem 0;text-align:left}td{border-bottom:1px solid #e4e4e4;overflow-wrap:anywhere}
th.n,td.n{text-align:right;padding:.3rem 0 .3rem .6rem;font-variant-numeric:tabular-nums;overflow-wrap:normal;
white-space:nowrap}
tr.strong td{font-weight:600;border-top:1px solid #999}
.totals{margin:1rem 0 0 auto;width:max-content;min-width:18rem;grid-template-columns:1fr max-content;gap:.25rem 2rem}
.totals dd{text-align:right;font-variant-numeric:tabular-nums}.totals .strong{font-size:1.15rem;font-weight:700;
color:#1a1a1a;border-top:2px solid #1a1a1a;padding-top:.35rem}
footer{margin-top:2rem;color:#555;font-size:.85rem}footer p{margin:.25rem 0}
@media (max-width:40rem){.sides{grid-template-columns:1fr}}
@media print{body{margin:0;padding:0;max-width:none;font-size:10pt}thead{display:table-header-group}
tr,.totals,.sides{break-inside:avoid}h2{break-after:avoid}.wide{overflow:visible}}
@page{margin:16mm}
"""


def to_html(sheet: Sheet) -> bytes:
    """The page."""
    title = escape(f"{sheet.title} {sheet.subtitle}")
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">',
        f"<style>{_STYLE}</style></head><body>",
        f"<header><h1>{escape(sheet.title)}</h1><p>{escape(sheet.subtitle)}</p></header>",
        '<div class="sides">',
        *map(_party, sheet.parties),
        "<div>",
        _facts(sheet.facts, ""),
        "</div></div>",
        *(part for table in sheet.tables for part in _table(table)),
        _facts(sheet.totals, ' class="totals"'),
        "<footer>",
        *(f"<p>{escape(note)}</p>" for note in sheet.notes),
        "</footer></body></html>\n",
    ]
    return "".join(parts).encode()


def _party(party: Party) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in party.lines)
    return f'<div><h2>{escape(party.heading)}</h2><p class="name">{escape(party.name)}</p>{lines}</div>'


def _facts(facts: Iterable[Fact], attributes: str) -> str:
    rows = []
    for fact in facts:
        strong = ' class="strong"' if fact.strong else ""
        rows.append(f"<dt{strong}>{escape(fact.label)}</dt><dd{strong}>{escape(fact.text)}</dd>")
    return f"<dl{attributes}>{''.join(rows)}</dl>"


def _table(table: Table) -> Iterator[str]:
    if table.heading:
        yield f"<h2>{escape(table.heading)}</h2>"
    yield '<div class="wide"><table><thead><tr>'
    for column in table.columns:
        yield f'<th scope="col"{_class(column)}>{escape(column.heading)}</th>'
    yield "</tr></thead><tbody>"
    plain = len(table.rows) - table.strong
    for number, row in enumerate(table.rows):
        yield "<tr>" if number < plain else '<tr class="strong">'
        for column, text in zip(table.columns, row, strict=True):
            yield f"<td{_class(column)}>{escape(text)}</td>"
        yield "</tr>"
    yield "</tbody></table></div>"


def _class(column: Column) -> str:
    return ' class="n"' if column.number else ""
