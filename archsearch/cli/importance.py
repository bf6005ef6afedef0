"""`importance`: how much each choice of a study mattered, by bands of L0."""

from __future__ import annotations

import json
from argparse import Namespace

from rich.console import Console

from archsearch.cli.inputs import study_folder
from archsearch.errors import StudyError
from archsearch.reporting.importance import importance_json, print_importance
from archsearch.reporting.table import tally
from archsearch.search.ledger import read_study


def importance(args: Namespace) -> int:
    """Prints how much each choice mattered.

    Raises:
        StudyError: no trial of the search has finished.
    """
    record = read_study(study_folder(args.study))
    told = importance_json(record, args.settings)
    if not told["whole"]["trials"]:
        raise StudyError(f"{record.name}: no trial of the search has finished inside the band ({tally(record)})")
    if args.json:
        print(json.dumps(told, indent=1))
    else:
        print_importance(told, Console())
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the study."""
    return read_study(study_folder(args.study)).command
