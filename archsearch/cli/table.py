"""`results`: a study as one flat table, for a program to read."""

from __future__ import annotations

import sys
from argparse import Namespace

from archsearch.cli.inputs import study_folder
from archsearch.cli.results import check_out
from archsearch.errors import InvalidInput, StudyError
from archsearch.reporting.live import counted
from archsearch.reporting.results import write_whole
from archsearch.reporting.sheet import as_csv, as_json, save_parquet, sheet
from archsearch.reporting.table import tally
from archsearch.search.ledger import read_study

ENDINGS = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".pq": "parquet"}


def results(args: Namespace) -> int:
    """Writes a study's trials to a file, or to the standard output.

    Raises:
        InvalidInput: the file cannot be there, or Parquet was to go to the standard output.
        StudyError: there is no trial to write.
    """
    form = args.format or (ENDINGS.get(args.out.suffix.lower()) if args.out else None) or "csv"
    if args.out is not None:
        check_out(args.out)
    elif form == "parquet":
        raise InvalidInput(["--format parquet writes a file, no text; name one with --out"])
    record = read_study(study_folder(args.study))
    table = sheet(record, args.front, args.settings)
    if not table.rows:
        raise StudyError(f"{record.name}: {'the front is empty' if args.front else 'there is no trial'} ({tally(record)})")
    if form == "parquet" and args.out is not None:
        save_parquet(table, args.out)
    else:
        text = as_csv(table) if form == "csv" else as_json(table) + "\n"
        if args.out is None:
            sys.stdout.write(text)
            return 0
        write_whole(args.out, lambda partial: partial.write_text(text, encoding="utf-8"))
    points = sum("cut_to" in row for row in table.rows)
    counts = [counted(len(table.rows) - points, "trial"), *([counted(points, "point")] if points else [])]
    print(f"{args.out}: {', '.join(counts)}, {counted(len(table.columns), 'column')}")
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the study."""
    return read_study(study_folder(args.study)).command
