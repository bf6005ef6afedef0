"""`confirm`: trains a study's best again with fresh seeds and says whether they beat the baselines on test rows."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from archsearch.cli.inputs import read_activations, study_folder
from archsearch.reporting.confirmation import conclusions, print_confirmation
from archsearch.reporting.front import plain
from archsearch.reporting.live import watch
from archsearch.reporting.results import write_json
from archsearch.search.confirmation import Options, confirm_study
from archsearch.search.ledger import read_study

RESULT = "confirm.json"


def confirm(args: Namespace) -> int:
    """Confirms a study, writes `confirm.json` and says what came out."""
    folder = study_folder(args.study)
    source = None if args.activations is None else read_activations(args.activations)
    options = Options(
        best=args.best,
        seeds=args.seeds,
        tokens=args.tokens,
        width=args.width,
        activations=source,
        label=_label(args.activations or ""),
        device=args.device,
        executor=args.executor,
        precision=args.precision,
    )
    with watch(Console(stderr=True)) as observe:
        out, found = confirm_study(folder, options, observe)
    told: dict[str, Any] = plain(found)
    told["summary"] = conclusions(told)
    path = write_json(out / RESULT, told)
    if args.json:
        print(json.dumps(told, indent=1))
        return 0
    console = Console()
    print_confirmation(told, console)
    console.print(Text(str(path)), soft_wrap=True)
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the study."""
    return read_study(study_folder(args.study)).command


def _label(text: str) -> str:
    """Returns what another source is called in the name of the folder: its file's name without the ending."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in Path(text).stem)
