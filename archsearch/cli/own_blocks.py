"""`--blocks`: a user's own blocks join the catalogue for one command, and a kind nobody knows is answered with it.

Files execute nothing. What a study or an exported file was made with is told, for the user to name again; it is never imported by itself.
"""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Callable
from itertools import pairwise

from archsearch.blocks.catalogue import own_blocks
from archsearch.errors import InvalidInput, Problem

OPTION = "--blocks"

Recorded = Callable[[Namespace], str]
"""Returns the command line that made what a command reads, empty where none is recorded."""


def run(command: Callable[[Namespace], int], options: Namespace, recorded: Recorded | None = None) -> int:
    """Runs a command with the blocks its options name.

    Raises:
        InvalidInput: as the command; where it met an unknown kind, with a last line that says how to make it known.
    """
    with own_blocks(*options.blocks):
        try:
            return command(options)
        except InvalidInput as error:
            advice = _advice(error, options, recorded)
            if not advice:
                raise
            raise InvalidInput([*error.problems, advice]) from error


def _advice(error: InvalidInput, options: Namespace, recorded: Recorded | None) -> str:
    unknown = [problem for problem in error.problems if _of_kind(problem)]
    if not unknown:
        return ""
    missing = [module for module in modules_in(recorded(options) if recorded else "") if module not in options.blocks]
    if missing:
        again = shlex.join([word for module in missing for word in (OPTION, module)])
        return f"this was made with {again}: name it again (what a file records is never imported by itself)"
    if all("did you mean" in problem.what for problem in unknown):
        return ""
    return f"if it is a block of your own, name the module or .py file that defines it: {OPTION} MODULE"


def _of_kind(problem: Problem) -> bool:
    # A slot with a single built-in block has no choice of kinds, so there the value itself is refused.
    return problem.what.startswith("unknown kind ") or problem.path.endswith(".kind")


def modules_in(command: str) -> list[str]:
    """Returns what a recorded command line names with `--blocks`."""
    try:
        words = shlex.split(command)
    except ValueError:  # whoever wrote it, it is no command line
        return []
    apart = [after for word, after in pairwise(words) if word == OPTION]
    joined = [word.split("=", 1)[1] for word in words if word.startswith(f"{OPTION}=")]
    return list(dict.fromkeys([*apart, *joined]))
