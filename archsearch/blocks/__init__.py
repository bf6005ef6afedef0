"""The catalogue: every file in a slot's folder is a block; discovery imports them all or fails."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Catalogue": "archsearch.blocks.catalogue",
        "Block": "archsearch.blocks._block",
        "StepBlock": "archsearch.blocks._block",
        "Signal": "archsearch.blocks.signals",
        "Sizes": "archsearch.blocks.signals",
    },
)
