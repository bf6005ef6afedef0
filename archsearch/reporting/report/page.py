"""A study as one HTML file that opens from disk without a network: text, tables, drawings, and a script that draws the plots."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from plotly.offline import get_plotlyjs

from archsearch.reporting.live import counted, duration, rate
from archsearch.reporting.report.data import Report
from archsearch.reporting.report.embed import payload
from archsearch.reporting.report.markup import Html, details, joined, prose, script_json, tag
from archsearch.reporting.report.palette import variables
from archsearch.reporting.report.sections import SECTIONS
from archsearch.reporting.report.verdict import caution, confirmed_sentences, found_sentences
from archsearch.reporting.results import write_whole

STYLES = ("page.css", "drawing.css")
SCRIPTS = ("colours.js", "figures.js", "panel.js", "page.js")

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""What the page may do: run what is in it, and fetch nothing."""


def save_report(report: Report, path: Path) -> Path:
    """Writes the page, whole or not at all, and returns its path."""
    return write_whole(path, lambda partial: partial.write_text(page(report), encoding="utf-8"))


def page(report: Report) -> str:
    """Returns the whole page."""
    title = f"{report.record.name} - archsearch"
    head = joined(
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("title", title),
        tag("style", Html(variables() + "".join(map(asset, STYLES)))),
    )
    body = joined(
        tag("a", "Skip to the findings", href="#findings", class_="skip"),
        tag("header", *_header(report)),
        tag("main", *_main(report)),
        _panel(),
        Html(f'<script id="study-data" type="application/json">{script_json(payload(report))}</script>\n'),
        tag("script", Html(_harmless(get_plotlyjs()))),
        tag("script", Html("(() => {\n" + _harmless("\n".join(map(asset, SCRIPTS))) + "\n})();")),
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def asset(name: str) -> str:
    """Returns the text of a file that is part of every page."""
    return (resources.files("archsearch.reporting.report") / "assets" / name).read_text(encoding="utf-8")


def _harmless(script: str) -> str:
    """Returns a script in which no string can end the element it stands in."""
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE).replace("<!--", "<\\!--")


def _header(report: Report) -> list[Html]:
    record = report.record
    low, high = (f"{edge:g}" for edge in record.band)
    tokens = report.volume.tokens[-1] if report.volume.tokens else 0
    facts = [
        counted(len(record.trials), "SAE"),
        f"{rate(tokens)} tokens",
        f"{duration(record.seconds)}",
        f"L0 {low} to {high}",
        f"ended: {record.stopped}" if record.stopped else "not ended yet",
    ]
    question = record.question or "No question was written down."
    return [tag("h1", record.name), tag("p", question, class_="question"), tag("p", " | ".join(facts), class_="facts")]


def _main(report: Report) -> list[Html]:
    shown = [(section, content) for section in SECTIONS if (content := section.content(report))]
    links = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section, _ in shown]
    parts = [_verdict(report), tag("nav", tag("ul", *links), aria_label="Contents")]
    for section, content in shown:
        heading = tag("h2", section.title, id=section.name)
        parts.append(tag("section", heading, content, aria_labelledby=section.name))
    return parts


def _verdict(report: Report) -> Html:
    found = tag("ul", *[tag("li", sentence) for sentence in found_sentences(report)])
    if told := confirmed_sentences(report):  # then the search's own word is worth less, and stands back
        items = tag("ul", *[tag("li", sentence) for sentence in told])
        found = joined(tag("h3", tag("a", "The confirmation", href="#confirmation")), items, details("What the search showed", found))
    inner = [
        tag("h2", "What the study found", id="findings", tabindex="-1"),
        found,
        tag("p", prose(caution(report)), class_="caution"),
    ]
    return tag("section", *inner, class_="verdict", aria_labelledby="findings")


def _panel() -> Html:
    close = tag("button", "Close", type="button", data_close="", class_="close")
    head = tag("div", tag("h2", "Trial", id="panel-title"), close, class_="panel-head")
    return tag("dialog", head, tag("div", id="panel-body"), id="panel", aria_labelledby="panel-title")
