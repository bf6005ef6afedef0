"""HTML out of plain text: everything is escaped unless it is HTML already."""

from __future__ import annotations

import html
import json
from typing import Any

from archsearch.reporting.report.tables import Table


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Returns a value as HTML, escaped unless it is HTML already."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def tag(name: str, *inner: object, **attributes: object) -> Html:
    """Returns an element; an attribute's trailing underscore is dropped, others become dashes, and one that is None is left out."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items() if value is not None)
    return Html(f"<{name}{written}>{joined(*inner)}</{name}>")


def joined(*parts: object) -> Html:
    """Returns parts one after another, each escaped unless it is HTML already."""
    return Html("".join(map(text, parts)))


def prose(sentence: str) -> Html:
    """Returns a sentence as HTML, what stands in backticks as code."""
    parts = sentence.split("`")
    return joined(*[tag("code", part) if index % 2 and index < len(parts) - 1 else part for index, part in enumerate(parts)])


def script_json(data: Any) -> Html:
    """Returns plain data as JSON that may stand inside a script element: nothing in it can end one, or open a comment."""
    written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return Html(written)


def html_table(table: Table) -> Html:
    """Returns a table that scrolls by itself where it is too wide; a row about a trial begins with a button that opens it."""
    looks = [("words" if table.long == column else None) if column in table.words else "number" for column in range(len(table.heads))]
    heads = joined(*[tag("th", head, scope="col", class_=look) for head, look in zip(table.heads, looks, strict=True)])
    rows = []
    for row in table.rows:
        inner = [tag("td", cell, class_=look) for cell, look in zip(row.cells, looks, strict=True)]
        if row.trial is not None:
            button = tag("button", row.cells[0], type="button", data_trial=row.trial, aria_label=f"Open trial {row.trial}")
            inner[0] = tag("td", button, class_="number")
        rows.append(tag("tr", *inner, data_row=row.trial))
    whole = tag("table", tag("thead", tag("tr", heads)), tag("tbody", *rows), aria_label=table.caption)
    # The caption stays where it is while the table is scrolled.
    scrolled = tag("div", whole, class_="scroll", role="region", tabindex="0", aria_label=table.caption)
    return tag("figure", tag("figcaption", table.caption), scrolled, class_="table")


def details(summary: str, *inner: object) -> Html:
    """Returns something folded away behind its summary."""
    return tag("details", tag("summary", summary), *inner)


def commands(*lines: str) -> Html:
    """Returns command lines to copy."""
    return tag("pre", tag("code", "\n".join(lines)), tabindex="0", aria_label="Commands")
