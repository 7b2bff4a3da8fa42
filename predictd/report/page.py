"""A report as one HTML page that needs nothing else: figures inside, no scripts, no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from predictd.report.scores import Table

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0.2em; } h2 { font-size: 1.2em; margin-top: 2em; }
p { max-width: 48em; } p.note { color: #555; }
img { max-width: 100%; height: auto; display: block; margin: 0.6em 0; }
div.scroll { overflow-x: auto; max-height: 34em; overflow-y: auto; border: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15em 0.7em; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: #f3f3f3; font-weight: 600; }
th.text, td.text { text-align: left; } tr:nth-child(even) td { background: #fafafa; }
summary { cursor: pointer; margin: 0.5em 0; }
nav a { margin-right: 1em; }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes
    ----------
    name
        Of its anchor.
    title, text
        Heading; paragraphs of plain text.
    figure
        Content of an SVG file, or None.
    caption
        What the figure shows, for those who cannot see it.
    tables
        With their captions.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    figure: bytes | None = None
    caption: str = ""
    tables: Sequence[tuple[str, Table]] = field(default_factory=list)


def page(title: str, introduction: Sequence[str], sections: Sequence[Section]) -> str:
    """A whole page; all text is escaped."""
    links = " ".join(f'<a href="#{escape(s.name)}">{escape(s.title)}</a>' for s in sections)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing is fetched, whatever a name in a table says.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(text)}</p>" for text in introduction),
        f"<nav>{links}</nav>",
        *(_section(section) for section in sections),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(section: Section) -> str:
    parts = [f'<h2 id="{escape(section.name)}">{escape(section.title)}</h2>']
    parts += [f"<p>{escape(text)}</p>" for text in section.text]
    if section.figure is not None:
        data = base64.b64encode(section.figure).decode("ascii")
        parts.append(f'<img alt="{escape(section.caption)}" src="data:image/svg+xml;base64,{data}">')
    for caption, table in section.tables:
        parts.append(f"<details open><summary>{escape(caption)}</summary>{_table(table)}</details>")
    return "\n".join(parts)


def _table(table: Table) -> str:
    textual = [any(isinstance(row[i], str) for row in table.rows) for i in range(len(table.columns))]
    kinds = [' class="text"' if text else "" for text in textual]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, table.columns, strict=True))
    rows = (
        "<tr>"
        + "".join(f"<td{kind}>{_cell(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in table.rows
    )
    body = "\n".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _cell(cell: str | float) -> str:
    if isinstance(cell, str):
        return escape(cell)
    # A nan is what is not known or not defined.
    return "–" if cell != cell else (f"{cell:d}" if isinstance(cell, int) else f"{cell:.4g}")
