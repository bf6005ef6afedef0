"""Names of hook points, and what can be said of them without opening a model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from archsearch.errors import Problem

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_NEAR = 4  # names shown

NO_ROWS = ("attn.hook_attn_scores", "attn.hook_pattern")
"""Hook points of a block that hold a table of positions, not one vector for each token."""


def unknown_hook(hook: str, hooks: Collection[str]) -> str:
    """Returns a closing clause with the nearest of `hooks`, and a few others."""
    others = [name for name in hooks if name != hook]
    block = _BLOCK.fullmatch(hook)
    alike = [name for name in others if block and name.endswith(f".{block[2]}")]  # the same point of another block comes first
    close = list(dict.fromkeys([*alike, *difflib.get_close_matches(hook, others, n=_NEAR, cutoff=0.6)]))[:_NEAR] or sorted(others)[:_NEAR]
    said = f"did you mean {close[0]!r}?" if alike or difflib.get_close_matches(hook, close[:1]) else f"for instance {close[0]!r}"
    rest = f" ({len(hooks)} in all, such as {', '.join(close[1:])})" if close[1:] else ""
    return said + rest


def hook_problems(hooks: tuple[str, ...], blocks: int, model: str) -> list[Problem]:
    """Returns a problem for each hook point that no model of so many blocks can have, or that holds no rows."""
    problems = []
    for hook in hooks:
        found = _BLOCK.fullmatch(hook)
        if found and int(found[1]) >= blocks:
            last = f"blocks.{blocks - 1}.{found[2]}"
            problems.append(
                Problem(f"{model} has no hook point {hook!r}: it has {blocks} blocks, counted from 0; the last is {last!r}", "hook")
            )
        elif found and found[2] in NO_ROWS:
            problems.append(Problem(f"a hook point must carry one vector for each token; {hook!r} carries a table of positions", "hook"))
    return problems
