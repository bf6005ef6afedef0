"""`study`: searches a space, shows it while it runs, and writes what came out."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from rich.console import Console
from rich.text import Text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from archsearch.cli.inputs import output_folder, study_folder
from archsearch.errors import ArchsearchError, Interrupted, InvalidInput, StudyError
from archsearch.reporting.live import Observe, duration, watch
from archsearch.reporting.progress import noted
from archsearch.reporting.results import write_results
from archsearch.reporting.table import print_front, remarks, tally
from archsearch.search.ledger import read_study
from archsearch.search.records import Status
from archsearch.search.study import Options, folder_of, name_of, run_study
from archsearch.search.warm_start import said_at_start


def study(args: Namespace) -> int:
    """Runs a study to its end and reports it.

    Raises:
        InvalidInput: the space or an option is not legal.
        StudyError: not one trial could be finished.
    """
    console = Console()
    options = Options(
        out=args.out,
        trials=args.trials,
        hours=args.budget,
        tokens=args.tokens,
        seed=args.seed,
        asks=args.asks,
        device=args.device,
        executor=args.executor,
        precision=args.precision,
        storage=args.storage,
        sampler=args.sampler,
        warm_start=_earlier(args),
    )
    output_folder(args.out or Path("studies"))
    if args.storage is not None:
        _check_storage(args.storage)
    folder = folder_of(args.space, args.out)
    announced = _Announced(folder, name_of(args.space), console)
    try:
        with watch(console) as observe:
            record = run_study(args.space, options, noted(folder, announced.before(observe)))
    except Interrupted:
        _so_far(args, console)
        raise
    announced.say()  # a study that was finished before trains nothing
    print_front(record, console)
    for line in remarks(record):
        console.print(Text(line), soft_wrap=True)
    written = write_results(record, folder)
    console.print(Text(f"{tally(record)}, in {duration(record.seconds)}; ended: {record.stopped}"), soft_wrap=True)
    console.print(Text(f"{folder}: {', '.join(path.name for path in written)}"), soft_wrap=True)
    if not any(trial.state == "complete" for trial in record.trials):
        reasons = dict.fromkeys(trial.message for trial in record.trials if trial.message)
        raise StudyError("no trial could be finished:\n" + "\n".join(f"  {reason}" for reason in reasons))
    return 0


class _Announced:
    """An observer that says once, as SAEs begin to train, what a study has taken over from an earlier one."""

    def __init__(self, folder: Path, name: str, console: Console):
        self.folder, self.name, self.console, self.done = folder, name, console, False

    def before(self, observe: Observe) -> Observe:
        """Returns `observe` with that said before it."""

        def tell(status: Status) -> None:
            if status.doing.startswith("training"):
                self.say()
            observe(status)

        return tell

    def say(self) -> None:
        """Says it, unless that is done."""
        if not self.done:
            self.done = True
            for line in said_at_start(self.folder, self.name):
                self.console.print(Text(line), soft_wrap=True)


def _earlier(args: Namespace) -> str | None:
    """Returns the folder of the study to begin from; as it was given where the study is begun, when it may be gone."""
    if args.warm_start is None:
        return None
    try:
        return str(study_folder(args.warm_start))
    except InvalidInput:
        if not recorded(args):
            raise
        return args.warm_start


def recorded(args: Namespace) -> str:
    """Returns the command line the study was begun with, empty where there is none yet."""
    try:
        return read_study(folder_of(args.space, args.out)).command
    except ArchsearchError:
        return ""


def _check_storage(url: str) -> None:
    """Refuses a storage that no study can be kept in.

    Raises:
        InvalidInput: it is no URL, or of a database that is not supported.
    """
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError:
        backend = ""
    if backend != "sqlite":
        known = f"; {backend!r} is not supported" if backend else ""
        raise InvalidInput([f"--storage must be a URL sqlite:///PATH; got {url!r}{known}"])


def _so_far(args: Namespace, console: Console) -> None:
    """Reports what a stopped study has found."""
    folder = folder_of(args.space, args.out)
    try:
        record = read_study(folder)
    except StudyError:
        return  # stopped before the first trial was written
    if any(trial.state == "complete" for trial in record.trials):
        print_front(record, console)
        write_results(record, folder)
