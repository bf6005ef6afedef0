"""Importance as plain data and as tables."""

from __future__ import annotations

import json

from rich.console import Console

from archsearch.reporting.importance import importance_json, print_importance
from tests.search.test_importance import planted


def test_tables_say_what_the_data_say() -> None:
    told = importance_json(planted(16))
    json.dumps(told, allow_nan=False)
    assert told["whole"]["choices"][0]["names"] == ["gate"] and told["whole"]["choices"][0]["beyond_chance"]
    console = Console(width=140)
    with console.capture() as captured:
        print_importance(told, console)
    lines = captured.get().splitlines()
    gate = next(line for line in lines if line.strip().startswith("gate "))
    assert f"{told['whole']['choices'][0]['share']:.0%}" in gate and "yes (p " in gate
