"""The catalogue of blocks, indexed by kind: those of this package, of installed distributions, and a user's own."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, get_args, get_origin

from torch import nn

from archsearch.blocks._block import Block, StepBlock
from archsearch.blocks._discovery import Found, Source, below, installed, named, shown
from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.block import BlockSpec, LossSpec, StepSpec
from archsearch.spec.grammar import Grammar, grammar

_BASE = re.compile(r"archsearch\.blocks\.\w+\._base")
"""Modules that hold the contracts of slots."""


@dataclass(frozen=True)
class Catalogue:
    """Blocks by kind, and the grammar grown from them.

    `foreign` tells of every kind from outside this package where it came `from`, and the `sha256` of the file that defines it.
    """

    blocks: dict[str, type[Block]]
    foreign: dict[str, dict[str, str]] = field(default_factory=dict)

    def __getitem__(self, kind: str) -> type[Block]:
        """Returns the block named `kind`.

        Raises:
            InvalidInput: no block bears that name; says the nearest one.
        """
        if kind not in self.blocks:
            raise InvalidInput([f"unknown kind {kind!r}; {nearest(kind, list(self.blocks))}"])
        return self.blocks[kind]

    @cached_property
    def slots(self) -> dict[str, dict[str, type[BlockSpec]]]:
        """Settings classes by slot and kind, sorted by kind so that nothing depends on the order of discovery."""
        found: dict[str, dict[str, type[BlockSpec]]] = {}
        for kind in sorted(self.blocks):
            found.setdefault(self.blocks[kind].slot, {})[kind] = self.blocks[kind].Spec
        return found

    @cached_property
    def grammar(self) -> Grammar:
        """The grammar of specs over this catalogue."""
        defaults = {block.slot: block.default_kind for block in self.blocks.values() if block.default_kind}
        return grammar(self.slots, defaults)

    @cached_property
    def sparsity(self) -> dict[str, str]:
        """Name of the setting that moves sparsity, by kind, for every kind that has one."""
        return {kind: block.sparsity for kind, block in self.blocks.items() if block.sparsity}

    @staticmethod
    def of(found: Iterable[type[Block]]) -> Catalogue:
        """Indexes blocks by kind; two blocks of one kind raise and name both."""
        index: dict[str, type[Block]] = {}
        for block in found:
            kind = block.kind()
            if kind in index and index[kind] is not block:
                raise TypeError(f"kind {kind!r} is defined twice: by {_name(index[kind])} and by {_name(block)}")
            index[kind] = block
        return Catalogue(index)


_own: tuple[Found, ...] = ()
"""Blocks this process was told to use."""


def catalogue() -> Catalogue:
    """Returns the catalogue of every block: built in, installed, and those named with `use_blocks`.

    Raises:
        InvalidInput: an installed module is broken, or two blocks bear one name.
    """
    return _joined((*installed(), *_own))


@cache
def built_in() -> Catalogue:
    """Returns the catalogue of the blocks in this package alone."""
    return Catalogue.of(below("archsearch.blocks"))


def use_blocks(*sources: Source) -> None:
    """Adds blocks to the catalogue of this process: modules (`my_package.my_blocks`), files (`./my_blocks.py`), or classes.

    A module or class named again takes the place of its earlier self, so that a cell of a notebook may be run again.

    Raises:
        InvalidInput: a source is broken, or a block does not fit in; the catalogue is as before.
    """
    global _own
    found: list[Found] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            found += named(source)
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    latest = {_name(one.block): one for one in (*_own, *found)}
    _joined((*installed(), *latest.values()))
    _own = tuple(latest.values())


@contextmanager
def own_blocks(*sources: Source) -> Iterator[None]:
    """Adds blocks to the catalogue while the context lasts.

    Raises:
        InvalidInput: as `use_blocks`.
    """
    global _own
    before = _own
    use_blocks(*sources)
    try:
        yield
    finally:
        _own = before


@cache
def _joined(found: tuple[Found, ...]) -> Catalogue:
    base = built_in()
    blocks, foreign = dict(base.blocks), {}
    problems: list[Problem] = []
    for one in found:
        what = _misfit(one.block, base) or _taken(one.block, blocks, foreign)
        if what:
            file, line = _lines(one.block)
            problems.append(Problem(what + one.remedy, "" if file == one.origin else one.origin, file, line))
        elif one.block.kind() not in blocks:
            blocks[one.block.kind()] = one.block
            foreign[one.block.kind()] = {"from": one.origin, "sha256": _digest(one.block)}
    if problems:
        raise InvalidInput(problems)
    return Catalogue(blocks, foreign)


def _misfit(block: type[Block], base: Catalogue) -> str:
    """Says why a block from outside cannot stand in any slot; empty where it can."""
    who, kind = block.__qualname__, block.Spec.model_fields["kind"]
    contracts = {parent.slot: parent for other in base.blocks.values() for parent in other.__mro__ if _BASE.fullmatch(parent.__module__)}
    contract = next((parent for parent in block.__mro__ if parent in contracts.values()), None)
    if contract is None or block.slot != contract.slot:
        names = ", ".join(f"{slot}: {parent.__name__}" for slot, parent in sorted(contracts.items()))
        return f"{who}: must derive from the contract of its slot, and keep it ({names}); got slot {block.slot!r}"
    if block.default_kind != contract.default_kind:
        return f"{who}: must not set `default_kind`: specs that name no {block.slot} would change their meaning"
    if get_origin(kind.annotation) is not Literal or get_args(kind.annotation) != (kind.default,):
        return f"{who}.Spec: `kind` must be a Literal with itself as default"
    peers = list(base.slots[block.slot].values())
    wanted = next(spec for spec in (LossSpec, StepSpec, BlockSpec) if all(issubclass(peer, spec) for peer in peers))
    if not issubclass(block.Spec, wanted):
        return f"{who}.Spec: must derive from {wanted.__name__} (archsearch.spec.block), as in every {block.slot}"
    if block.sparsity and block.sparsity not in block.Spec.model_fields:
        return f"{who}: `sparsity` must name a setting; got {block.sparsity!r}"
    if issubclass(block, StepBlock) and block.forward is nn.Module.forward:
        return f"{who}: must define `forward`"
    return ""


def _taken(block: type[Block], blocks: dict[str, type[Block]], foreign: dict[str, dict[str, str]]) -> str:
    """Says who bears a block's name already; empty where nobody does, or where it is the block itself."""
    other = blocks.get(block.kind(), block)
    if other is block:
        return ""
    where = foreign.get(block.kind(), {}).get("from", "archsearch itself")
    return f"{block.__qualname__}: kind {block.kind()!r} is defined already: by {other.__qualname__} of {where}; give it another name"


def _name(block: type[Block]) -> str:
    return f"{block.__module__}.{block.__qualname__}"


def _lines(block: type[Block]) -> tuple[str, int | None]:
    """Returns file and line of a class, where they are known: in a notebook they may not be."""
    try:
        return shown(inspect.getsourcefile(block) or ""), inspect.getsourcelines(block)[1]
    except (OSError, TypeError):
        return "", None


def _digest(block: type[Block]) -> str:
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(block) or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""
