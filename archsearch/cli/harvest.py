"""`harvest`: fills the activation store, so that studies find it full."""

from __future__ import annotations

import json
from argparse import Namespace

from rich.console import Console

from archsearch.activations.data import Activations
from archsearch.activations.source import open_activations
from archsearch.activations.splits import SPLITS
from archsearch.activations.store import default_cache
from archsearch.cli.inputs import machine_of, read_activations
from archsearch.reporting.live import watch
from archsearch.search.records import Status


def harvest(args: Namespace) -> int:
    """Opens a source, harvesting what is not in the store yet, and says what is there."""
    source = read_activations(args.space or args.activations)
    opened = open_with_progress(source, machine_of(args.device).device)
    told = {
        "source": source.source,
        "names": list(opened.names),
        "d_model": opened.d_model,
        "rows": {split: opened.rows(split) for split in SPLITS},
        "fingerprint": opened.fingerprint,
        "cache": str(default_cache()),
    }
    if args.json:
        print(json.dumps(told, indent=1))
        return 0
    rows = ", ".join(f"{count} {split}" for split, count in told["rows"].items())
    print(f"{source.source}: {', '.join(opened.names)}, width {opened.d_model}; rows: {rows}")
    print(f"fingerprint {opened.fingerprint}; stores are kept in {default_cache()}")
    return 0


def open_with_progress(source: object, device: str) -> Activations:
    """Returns opened activations; progress goes to the standard error stream, so that output stays clean."""
    with watch(Console(stderr=True)) as observe:

        def report(doing: str, done: int, total: int) -> None:
            observe(Status(doing, 0, 0, done / total if total else 0.0))

        return open_activations(source, device=device, report=report)  # pyright: ignore[reportArgumentType]
