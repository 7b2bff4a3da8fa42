"""A report as one HTML page that needs nothing else: figures inside, no scripts, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from predictd.report.glossary import MEANINGS
from predictd.report.scores import Table
from predictd.report.svg import inlined

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0.2em; overflow-wrap: anywhere; }
h2 { font-size: 1.2em; margin-top: 2.2em; padding-top: 0.6em; border-top: 1px solid #ddd; }
p { max-width: 48em; }
div.figure, div.scroll { overflow-x: auto; }
div.figure { margin: 0.8em 0; }
div.figure > svg { width: var(--width); max-width: 100%; height: auto; display: block; }
svg { stroke-linejoin: round; stroke-linecap: butt; }
div.scroll { max-height: 34em; overflow-y: auto; border: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15em 0.7em; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: #f3f3f3; font-weight: 600; }
th[title] { text-decoration: underline dotted; cursor: help; }
th.text, td.text { text-align: left; } tr:nth-child(even) td { background: #fafafa; }
td.long { white-space: normal; min-width: 12em; max-width: 22em; overflow-wrap: anywhere; }
table.facts { font-size: 14px; }
table.facts th, table.facts td { text-align: left; white-space: normal; vertical-align: top; }
table.facts th, table.facts td { padding: 0.2em 0.8em 0.2em 0; }
table.facts th { position: static; background: none; white-space: nowrap; }
table.facts td { overflow-wrap: anywhere; background: none; }
summary { cursor: pointer; margin: 0.5em 0; }
p.narrow { display: none; color: #555; }
nav { margin-top: 1em; }
nav a { display: inline-block; margin-right: 1.2em; }
@media (max-width: 700px) {
  body { margin: 1em auto; }
  p.narrow { display: block; }
  div.figure > svg { max-width: none; width: min(var(--width), 680px); }
  table.facts th { white-space: normal; }
  table.facts tr { display: block; margin: 0.6em 0; }
  table.facts th, table.facts td { display: block; padding: 0; }
}
"""
# Characters of a cell from which on it may take several lines.
_LONG = 28


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes
    ----------
    name
        Of its anchor, and of what its figure refers to inside.
    title, text
        Heading; paragraphs of plain text.
    figure
        Content of an SVG file, or None.
    caption
        What the figure shows, for those who cannot see it.
    facts
        Rows of running text, each with what it is about first.
    tables
        With their captions.
    details
        A caption, and such rows that are shown to those who open it.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    figure: bytes | None = None
    caption: str = ""
    facts: Sequence[Sequence[str]] = ()
    tables: Sequence[tuple[str, Table]] = ()
    details: tuple[str, Sequence[Sequence[str]]] | None = None


def page(title: str, introduction: Sequence[str], sections: Sequence[Section]) -> str:
    """A whole page; all text is escaped."""
    links = " ".join(f'<a href="#{escape(s.name)}">{escape(s.title)}</a>' for s in sections)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing is fetched, whatever a name in a table says. Figures of many bins hold them as images inside.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(text)}</p>" for text in introduction),
        f"<nav>{links}</nav>",
        '<p class="narrow">Wide figures and tables can be moved sideways.</p>',
        *(_section(section) for section in sections),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(section: Section) -> str:
    parts = [f'<h2 id="{escape(section.name)}">{escape(section.title)}</h2>']
    parts += [f"<p>{escape(text)}</p>" for text in section.text]
    if section.figure is not None:
        parts.append(f'<div class="figure">{inlined(section.figure, section.name, section.caption)}</div>')
    if section.facts:
        parts.append(_facts(section.facts))
    if section.details is not None:
        caption, rows = section.details
        parts.append(_details(caption, _facts(rows), opened=False))
    parts += [_details(caption, _table(table), opened=True) for caption, table in section.tables]
    return "\n".join(parts)


def _details(caption: str, content: str, *, opened: bool) -> str:
    return f"<details{' open' if opened else ''}><summary>{escape(caption)}</summary>{content}</details>"


def _facts(rows: Sequence[Sequence[str]]) -> str:
    body = "\n".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f'<table class="facts"><tbody>\n{body}\n</tbody></table>'


def _table(table: Table) -> str:
    textual = [any(isinstance(row[i], str) for row in table.rows) for i in range(len(table.columns))]
    kinds = [' class="text"' if text else "" for text in textual]
    head = "".join(
        f"<th{kind}{_meaning(name)}>{escape(name)}</th>"
        for kind, name in zip(kinds, table.columns, strict=True)
    )
    rows = ("<tr>" + "".join(map(_cell, kinds, row)) + "</tr>" for row in table.rows)
    body = "\n".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _meaning(name: str) -> str:
    """What a column means, where the pointer rests on it."""
    return f' title="{escape(MEANINGS[name].text)}"' if name in MEANINGS else ""


def _cell(kind: str, cell: str | float) -> str:
    if isinstance(cell, str):
        return f'<td class="text{" long" if len(cell) > _LONG else ""}">{escape(cell)}</td>'
    # A nan is what is not known or not defined.
    text = "–" if cell != cell else (f"{cell:d}" if isinstance(cell, int) else f"{cell:.4g}")
    return f"<td{kind}>{text}</td>"
