"""How much the choices of a study mattered, as plain data and as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archsearch.evaluation.verdicts import band_words
from archsearch.reporting.front import plain
from archsearch.reporting.live import counted
from archsearch.search.importance import BandImportance, Importance, Share, importance
from archsearch.search.records import StudyRecord

FORMAT = "archsearch-importance-1"
CHANCE = 0.05
HEADS = ("choice", "share", "90% interval", "options", "beyond chance")

NOTE = f"""Share of the spread of log FVU at equal L0 that goes with a choice, by itself; beyond chance: shuffled choices explain as much
in at most {CHANCE:.0%} of cases (p adjusted for the choices of the band). It describes the trials there are, which a sampler chose, not
causes; `archsearch ablate` tries them."""


def importance_json(record: StudyRecord, by_settings: bool = False) -> dict[str, Any]:
    """Returns how much each choice of a study mattered, over its whole band of L0 and by octaves; plain JSON values only."""
    found = importance(record, by_settings)
    return plain({"format": FORMAT, "study": record.name, **_told(found)})


def _told(found: Importance) -> dict[str, Any]:
    return {"by": found.by, "whole": _band(found.whole), "bands": [_band(band) for band in found.bands]}


def _band(found: BandImportance) -> dict[str, Any]:
    choices = [
        {"names": list(one.names), "share": one.share, "low": one.low, "high": one.high, "p": one.p, "beyond_chance": _beyond(one)}
        | {"options": one.options}
        for one in found.shares
    ]
    return {"band": list(found.band), "trials": found.trials, "asks": found.asks, "why_not": found.why, "choices": choices}


def _beyond(share: Share) -> bool:
    return share.p <= CHANCE


def print_importance(told: dict[str, Any], console: Console) -> None:
    """Prints what `importance_json` tells: a table a band, or why there is none."""
    for band in (told["whole"], *told["bands"]):
        head = f"{told['study']} at {band_words(tuple(band['band']))}, {counted(band['trials'], 'trial')} of {counted(band['asks'], 'ask')}"
        if band["why_not"]:
            console.print(Text(f"{head}: {band['why_not']}"), soft_wrap=True)
            continue
        table = Table(title=Text(head), title_justify="left", box=SIMPLE, pad_edge=False)
        for index, name in enumerate(HEADS):
            table.add_column(name, justify="right" if index else "left", overflow="fold", no_wrap=bool(index))
        for choice in band["choices"]:
            table.add_row(*map(Text, _row(choice)))
        console.print(table)
    console.print(Text(" ".join(NOTE.split())), soft_wrap=True)


def _row(choice: dict[str, Any]) -> tuple[str, ...]:
    first, *others = choice["names"]
    name = f"{first} (with {', '.join(others)})" if others else first
    verdict = f"yes (p {choice['p']:.2g})" if choice["beyond_chance"] else f"no (p {choice['p']:.2g})"
    return name, f"{choice['share']:.0%}", f"{choice['low']:.0%} to {choice['high']:.0%}", str(choice["options"]), verdict
