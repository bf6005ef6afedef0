"""`report`: one page, or Markdown with figures, of all a study found."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from archsearch.cli.inputs import output_folder, study_folder
from archsearch.errors import InvalidInput
from archsearch.reporting.live import counted
from archsearch.reporting.report.data import gather
from archsearch.reporting.report.markdown import save_markdown
from archsearch.reporting.report.page import save_report
from archsearch.reporting.report.settings import read_settings
from archsearch.search.ledger import read_study

PAGE, FOLDER = "report.html", "report"


def report(args: Namespace) -> int:
    """Writes the report of a study and says where."""
    folder = study_folder(args.study)
    out = _out(args.format, args.out or folder / (PAGE if args.format == "html" else FOLDER))
    record = read_study(folder)
    found = gather(record, folder, read_settings(folder, record.name))
    path = save_report(found, out) if args.format == "html" else save_markdown(found, out)
    size = f"{path.stat().st_size / 1e6:.1f} MB, opens without a network" if args.format == "html" else "figures beside it"
    print(f"{path}: {counted(len(record.trials), 'trial')}, {counted(len(found.front), 'front member')} ({size})")
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the study."""
    return read_study(study_folder(args.study)).command


def _out(format: str, path: Path) -> Path:
    """Returns where to write: a file for a page, a folder for Markdown.

    Raises:
        InvalidInput: it cannot be there.
    """
    if format == "markdown":
        return output_folder(path)
    if path.is_dir():
        raise InvalidInput([f"--out must be a file for --format html; got {str(path)!r}, which is a folder"])
    if not path.parent.is_dir():
        raise InvalidInput([f"--out must be a file in a folder that exists; got {str(path)!r}, and there is no {str(path.parent)!r}"])
    return path
