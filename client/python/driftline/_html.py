"""The little HTML that notebooks show."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_CELL = "text-align:left;padding:2px 12px 2px 0"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table of texts, escaped."""
    lines = ["<table>", "<tr>", *(f'<th style="{_CELL}">{_text(h)}</th>' for h in head), "</tr>"]
    for row in rows:
        cells = "".join(f'<td style="{_CELL}">{_text(cell)}</td>' for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return "".join([*lines, "</table>"])


def bold(text: object) -> str:
    """Returns a line that stands out."""
    return f"<p><b>{_text(text)}</b></p>"


def preformatted(text: str) -> str:
    """Returns a text whose spaces and lines stay."""
    style = "font-family:monospace;line-height:1.35;white-space:pre;overflow-x:auto"
    return f'<pre style="{style}">{_text(text)}</pre>'


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return html.escape("" if value is None else str(value))
