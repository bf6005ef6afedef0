"""Every command's options and its example: what `--help` needs, and nothing heavier."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from archsearch.errors import nearest

GROUPS = ("Search", "Judge", "One SAE", "Files and blocks", "Activations")

SAMPLERS = ("tpe", "gp", "random", "nsga2", "evolution")
EXECUTORS = ("auto", "looped", "stacked")
PRECISIONS = ("auto", "float32", "bfloat16", "float64")


class Parser(argparse.ArgumentParser):
    """A parser that says the nearest name of an option it does not know, and errors in one line."""

    def parse_strictly(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses; an unknown option is told before a missing one, since it is most often that one misspelt."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        options = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
        for argument in options:
            name = argument.split("=", 1)[0]
            if name.startswith("--") and name not in known:
                self.error(f"unknown option {name!r}; {nearest(name, known)}")
        return self.parse_args(arguments)

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2 and one line."""
        self.exit(2, f"{self.prog}: {message} (see `{self.prog} --help`)\n")


@dataclass(frozen=True)
class Command:
    """One command: its group in the help, its line there, the module that runs it, how to call it and what it takes."""

    group: str
    summary: str
    module: str
    example: str
    options: Callable[[Parser], None]


def parser_of(name: str) -> Parser:
    """Returns the parser of a command."""
    command = COMMANDS[name]
    parser = Parser(
        prog=f"archsearch {name}",
        description=f"{command.summary[:1].upper()}{command.summary[1:]}.",
        epilog=f"example:\n  {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.options(parser)
    return parser


def _count(text: str) -> int:
    try:
        value = int(text.replace("_", ""))
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above zero; got {text!r}")
    return value


def _natural(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, zero or more; got {text!r}")
    return value


_SPANS = {"h": 1.0, "m": 1 / 60, "s": 1 / 3600}


def _hours(text: str) -> float:
    """Returns a span of time in hours: `2h`, `90m`, `1h30m`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    hours = sum(float(number) * _SPANS[unit] for number, unit in parts)
    if not hours or "".join(map("".join, parts)) != text:
        raise argparse.ArgumentTypeError(f"must be a span of time such as 2h, 90m or 1h30m; got {text!r}")
    return hours


def _machine(parser: Parser) -> None:
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:N; auto: cuda if there is one (default: auto)")
    parser.add_argument("--executor", choices=EXECUTORS, default="auto", help="auto: stacked on cuda, looped on the cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto: bfloat16 where the hardware has it")


def _json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")


def _own(parser: Parser) -> None:
    text = "a module (my_package.my_blocks) or a .py file whose blocks join the catalogue; may be given several times"
    parser.add_argument("--blocks", action="append", default=[], metavar="MODULE", help=text)


def _study(parser: Parser) -> None:
    parser.add_argument("--space", type=Path, required=True, metavar="FILE", help="the space to search (YAML or JSON)")
    parser.add_argument("--trials", type=_count, metavar="N", help="SAEs to train besides the baselines (default: the space's)")
    text = "end after this wall clock, of all sessions together, if trials are left: 2h, 90m, 1h30m (default: the space's)"
    parser.add_argument("--budget", type=_hours, metavar="TIME", help=text)
    parser.add_argument("--tokens", type=_count, metavar="N", help="activation rows each SAE is trained on (default: the space's)")
    parser.add_argument("--seed", type=_natural, metavar="N", help="seed of the sampler (default: the space's)")
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="auto",
        help="what proposes trials; gp learns from whole curves, points among them (auto: tpe, or what the study was created with)",
    )
    text = "begin a new study from an earlier one, a folder or a name under ./studies/: its front first, its trials as evidence"
    parser.add_argument("--warm-start", metavar="STUDY", help=text)
    text = "structures in training at a time; fixed when the study is created (default: enough for every core, and one more)"
    parser.add_argument("--asks", type=_count, metavar="N", help=text)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the study's folder (default: studies/NAME)")
    parser.add_argument("--storage", metavar="URL", help="database (default: sqlite, study.db in the study's folder)")
    _own(parser)
    _machine(parser)


def _name(parser: Parser) -> None:
    parser.add_argument("study", metavar="STUDY", help="a study's folder, or its name under ./studies/")


def _status(parser: Parser) -> None:
    _name(parser)
    _json(parser)


def _export(parser: Parser) -> None:
    _name(parser)
    which = parser.add_mutually_exclusive_group()
    text = "the N front members furthest below the best baseline at their L0 (default: 1)"
    which.add_argument("--best", type=_count, metavar="N", help=text)
    which.add_argument("--trial", type=_natural, metavar="N", help="the trial of this number")
    which.add_argument("--band", type=float, nargs=2, metavar=("LO", "HI"), help="front members with effective L0 from LO to HI")
    parser.add_argument("--cut", type=float, metavar="L0", help="of --trial N, the point the study cut it to: one of its `points`")
    parser.add_argument("--out", type=Path, default=Path("best.json"), metavar="FILE", help="file to write (default: best.json)")
    text = "write the trained SAEs too, gates turned into thresholds: DIR/TRIAL/spec.json and sae.safetensors"
    parser.add_argument("--fold", type=Path, metavar="DIR", help=text)
    _own(parser)


def _results(parser: Parser) -> None:
    _name(parser)
    text = "csv, parquet or json (default: by the ending of --out, else csv)"
    parser.add_argument("--format", choices=("csv", "parquet", "json"), help=text)
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: the standard output)")
    parser.add_argument("--front", action="store_true", help="only the trials on the front")
    text = "a column too for every setting in which the specs differ (spec.graph.gate.kind, ...), baselines' included"
    parser.add_argument("--settings", action="store_true", help=text)
    _own(parser)


def _dashboard(parser: Parser) -> None:
    _name(parser)
    parser.add_argument("--port", type=_natural, default=8080, metavar="N", help="port on 127.0.0.1 (default: 8080; 0: any free)")


def _levels(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(set(values)) < max(len(values), 2) or not all(0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"must be two or more different numbers above zero, such as 8,16,32; got {text!r}")
    return tuple(sorted(values))


def _compare(parser: Parser) -> None:
    text = (
        "an SAE spec (YAML or JSON), the name of a recipe, or a file `archsearch export` wrote (its first spec); the first is the reference"
    )
    parser.add_argument("specs", nargs="+", metavar="SPEC", help=text)
    text = "effective L0s each is brought to, between which curves are drawn (default: 8,16,32)"
    parser.add_argument("--l0", type=_levels, default=(8.0, 16.0, 32.0), metavar="L0,L0", help=text)
    parser.add_argument("--seeds", type=_count, default=3, metavar="N", help="seeds of first weights and order of the data (default: 3)")
    text = "activation rows each SAE is trained on (default: the specs', which must agree)"
    parser.add_argument("--tokens", type=_count, metavar="N", help=text)
    parser.add_argument("--width", type=_count, metavar="N", help="latents of every SAE (default: each spec's)")
    parser.add_argument("--batch", type=_count, metavar="N", help="rows of a step, for every SAE (default: each spec's)")
    text = "a source such as bundled, or a file with one, or a space (default: bundled)"
    parser.add_argument("--activations", default="bundled", metavar="FILE", help=text)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: compare/NAME-NAME)")
    _own(parser)
    _machine(parser)
    _json(parser)


def _confirm(parser: Parser) -> None:
    _name(parser)
    text = "the N structures of the front furthest below the best baseline at their L0 (default: 3)"
    parser.add_argument("--best", type=_count, default=3, metavar="N", help=text)
    parser.add_argument("--seeds", type=_count, default=5, metavar="N", help="seeds the study never used, two at least (default: 5)")
    text = "activation rows each SAE is trained on (default: the study's)"
    parser.add_argument("--tokens", type=_count, metavar="N", help=text)
    text = "go to other activations: a source such as bundled, or a file with one (results in STUDY/confirm-NAME)"
    parser.add_argument("--activations", metavar="FILE", help=text)
    parser.add_argument("--width", type=_count, metavar="N", help="go to another number of latents (results in STUDY/confirm-widthN)")
    _own(parser)
    _machine(parser)
    _json(parser)


def _diff(parser: Parser) -> None:
    text = "STUDY:TRIAL, an SAE spec (a file, or a folder with spec.json), or the name of a recipe; or a study or a space"
    parser.add_argument("here", metavar="A", help=text)
    parser.add_argument("there", metavar="B", help="the same, to set beside it")
    text = "width of the activations the two are built for (default: the study's, else 128)"
    parser.add_argument("--d-model", type=_count, metavar="N", help=text)
    _own(parser)
    _json(parser)


def _ablate(parser: Parser) -> None:
    _name(parser)
    parser.add_argument("--trial", type=_natural, required=True, metavar="N", help="the trial whose choices are put back")
    parser.add_argument("--seeds", type=_count, default=2, metavar="N", help="seeds the study never used (default: 2)")
    text = "effective L0s each is brought to, between which curves are drawn (default: the octave around the trial's)"
    parser.add_argument("--l0", type=_levels, metavar="L0,L0", help=text)
    text = "put back every block and setting that differs from the best baseline's, in place of the holes of the space"
    parser.add_argument("--settings", action="store_true", help=text)
    _own(parser)
    _machine(parser)
    _json(parser)


def _importance(parser: Parser) -> None:
    _name(parser)
    text = "by the settings in which the specs differ, in place of the holes of the space"
    parser.add_argument("--settings", action="store_true", help=text)
    _own(parser)
    _json(parser)


def _report(parser: Parser) -> None:
    _name(parser)
    text = "html: one page that opens without a network; markdown: report.md with figures beside it (default: html)"
    parser.add_argument("--format", choices=("html", "markdown"), default="html", help=text)
    text = "the page's file, or the folder for Markdown (default: STUDY/report.html, STUDY/report/)"
    parser.add_argument("--out", type=Path, metavar="PATH", help=text)
    _own(parser)


def _train(parser: Parser) -> None:
    text = "an SAE spec (YAML or JSON), or a file `archsearch export` wrote (its first spec)"
    parser.add_argument("--spec", type=Path, required=True, metavar="FILE", help=text)
    text = "a source such as bundled, or a file with one, or a space (default: bundled)"
    parser.add_argument("--activations", default="bundled", metavar="FILE", help=text)
    parser.add_argument("--tokens", type=_count, metavar="N", help="activation rows to train on (default: the spec's)")
    parser.add_argument("--seed", type=_natural, metavar="N", help="seed of initialisation and events (default: the spec's)")
    text = "measure too what the encoder leaves behind: gradient pursuit on the same dictionary at the same L0"
    parser.add_argument("--pursuit", action="store_true", help=text)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: trained/NAME OF THE FILE)")
    _own(parser)
    _machine(parser)
    _json(parser)


def _check(parser: Parser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a space or an SAE spec (YAML or JSON)")
    text = "time short probes on random rows; print tokens, disk, memory and time before anything is harvested"
    parser.add_argument("--estimate", action="store_true", help=text)
    parser.add_argument("--d-model", type=_count, metavar="N", help="width of the activations an SAE spec is built for (default: 128)")
    _own(parser)
    _machine(parser)
    _json(parser)


def _blocks(parser: Parser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", help="show every setting and port of this block")
    _own(parser)
    _json(parser)


def _schema(parser: Parser) -> None:
    parser.add_argument("which", nargs="?", choices=("space", "sae"), default="space", help="of which file (default: space)")
    _own(parser)


def _harvest(parser: Parser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--space", metavar="FILE", help="harvest what this space reads")
    which.add_argument("--activations", metavar="FILE", help="a source such as bundled, or a file with one")
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:N; auto: cuda if there is one (default: auto)")
    _json(parser)


def _command(group: int, module: str, options: Callable[[Parser], None], summary: str, example: str) -> Command:
    return Command(GROUPS[group], summary, f"archsearch.cli.{module}", f"archsearch {example}", options)


COMMANDS = {
    "study": _command(0, "study", _study, "search a space; the same command again resumes", "study --space spaces/gated.yaml --trials 48"),
    "status": _command(0, "results", _status, "show where a study stands, and its front", "status gated"),
    "export": _command(0, "results", _export, "write specs of a study to a file", "export gated --band 16 32 --out best.json"),
    "results": _command(0, "table", _results, "write a study's trials as CSV, JSON or Parquet", "results gated --front --out front.csv"),
    "dashboard": _command(0, "dashboard", _dashboard, "browse a study in Optuna's dashboard, read-only", "dashboard gated --port 8081"),
    "compare": _command(1, "compare", _compare, "compare SAEs at the same L0, over seeds", "compare topk gated --l0 8,16,32"),
    "confirm": _command(1, "confirm", _confirm, "retrain a study's best with fresh seeds; judge on test rows", "confirm gated --seeds 5"),
    "diff": _command(1, "diff", _diff, "say what tells two SAEs, or two spaces, apart", "diff gated:17 topk"),
    "ablate": _command(1, "ablate", _ablate, "put a trial's choices back one by one; say what each is worth", "ablate gated --trial 17"),
    "importance": _command(1, "importance", _importance, "say how much each choice of a study mattered", "importance gated"),
    "report": _command(1, "report", _report, "write a page, or Markdown, of all a study found", "report gated --format markdown"),
    "train": _command(2, "train", _train, "train one SAE and measure it", "train --spec best.json --tokens 4_000_000"),
    "check": _command(3, "check", _check, "check a space or an SAE spec; estimate its cost", "check spaces/gated.yaml --estimate"),
    "blocks": _command(3, "catalogue", _blocks, "list the blocks, or show one", "blocks gated"),
    "schema": _command(3, "catalogue", _schema, "print the JSON Schema of a file, for editors", "schema space > space.json"),
    "harvest": _command(4, "harvest", _harvest, "fill the activation store", "harvest --space spaces/gated.yaml"),
}  # fmt: skip
