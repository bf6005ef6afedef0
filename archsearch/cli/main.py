"""The dispatcher: finds the command by name, reads its options, imports its module, and words whatever goes wrong.

Commands are imported here, when they run, and nowhere else, so that every `--help` answers without torch.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata

from archsearch.cli.failures import explain
from archsearch.cli.options import COMMANDS, GROUPS, parser_of
from archsearch.errors import nearest

USAGE = "archsearch COMMAND [options]"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0 fine, 1 something failed, 2 wrong usage or input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as ended:  # argparse ends so after `--help` and wrong usage
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:
        # Whoever read the output has left (`archsearch blocks | head`). Python must not try to flush to them at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (Exception, KeyboardInterrupt) as error:
        return _failed(error)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        if len(arguments) > 1 and arguments[1] in COMMANDS:
            parser_of(arguments[1]).print_help()
        else:
            print(overview())
        return 0
    name = arguments[0]
    if name == "--version":
        print(f"archsearch {_version()}")
        return 0
    if name not in COMMANDS:
        what = "option" if name.startswith("-") else "command"
        print(f"archsearch: unknown {what} {name!r}; {nearest(name, list(COMMANDS))}", file=sys.stderr)
        return 2
    options = parser_of(name).parse_strictly(arguments[1:])
    module = importlib.import_module(COMMANDS[name].module)
    command = getattr(module, name)
    if not hasattr(options, "blocks"):
        return command(options)
    return importlib.import_module("archsearch.cli.own_blocks").run(command, options, getattr(module, "recorded", None))


def overview() -> str:
    """Returns the help: commands by group, one line each."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"usage: {USAGE}", "", "Declarative architecture search for sparse autoencoders.", ""]
    for group in GROUPS:
        lines.append(f"{group}:")
        lines += [f"  {name:<{width}}{command.summary}" for name, command in COMMANDS.items() if command.group == group]
        lines.append("")
    lines.append("example:\n  archsearch study --space spaces/gated.yaml\n")
    lines.append("`archsearch COMMAND --help` shows a command's options; `archsearch --version` the version.")
    return "\n".join(lines)


def _version() -> str:
    try:
        return metadata.version("archsearch")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _failed(error: BaseException) -> int:
    """Prints what went wrong, in words unless asked for more, and returns the exit code."""
    if os.environ.get("ARCHSEARCH_DEBUG", "0") not in ("", "0"):
        importlib.import_module("traceback").print_exception(error)
    message, code = explain(error)
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
