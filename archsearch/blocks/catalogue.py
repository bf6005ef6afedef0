"""The catalogue of blocks: found by walking the slots' folders, indexed by kind."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from archsearch import blocks
from archsearch.blocks._block import Block
from archsearch.errors import InvalidInput, nearest
from archsearch.spec.block import BlockSpec
from archsearch.spec.grammar import Grammar, grammar


@dataclass(frozen=True)
class Catalogue:
    """Blocks by kind, and the grammar grown from them."""

    blocks: dict[str, type[Block]]

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


def _name(block: type[Block]) -> str:
    return f"{block.__module__}.{block.__qualname__}"


@cache
def catalogue() -> Catalogue:
    """Returns the catalogue of every block in this package."""
    found: list[type[Block]] = []
    for info in pkgutil.walk_packages(blocks.__path__, prefix="archsearch.blocks."):
        module = importlib.import_module(info.name)
        found += [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Block) and not value.abstract and value.__module__ == info.name
        ]
    return Catalogue.of(found)
